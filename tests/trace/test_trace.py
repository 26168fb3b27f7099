"""How far one request travels, held to what the house allows itself."""

from tests.trace.__main__ import LIMITS, measure

NOT_YET = {"cold-blob": (54, 235), "blob-hit": (27, 92), "cold-tag": (50, 195)}
"""Files and functions as they are, where that is still more than ``LIMITS``. They may only fall."""


def test_a_request_passes_few_rooms() -> None:
    for scene, functions in measure().items():
        files = {function.partition(":")[0] for function in functions}
        most_files, most_functions = map(max, LIMITS[scene], NOT_YET.get(scene, (0, 0)))
        assert len(files) <= most_files, (scene, len(files), functions)
        assert len(functions) <= most_functions, (scene, len(functions), functions)
