"""How far one request travels, held to what the house allows itself."""

from tests.trace.__main__ import LIMITS, measure

NOT_YET = {"cold-blob": (52, 300), "blob-hit": (24, 105), "cold-tag": (50, 252)}
"""Files and functions as they are, where that is still more than ``LIMITS``. They may only fall."""

LANDMARKS = {
    "cold-blob": {
        "front/connection.py Connection.data_received",
        "front/handler.py Handler.__call__",
        "cache/fills.py Fills.open",
        "cache/intake.py Intake._move",
        "upstream/registry.py HttpRegistry.blob",
        "storage/ingest.py DiskIngest.commit",
        "front/access_log.py Line.fields",
    },
    "blob-hit": {
        "front/connection.py Connection.data_received",
        "front/handler.py Handler.__call__",
        "cache/holdings.py Holdings.find",
        "storage/shards.py Shards.open",
        "front/streams.py _push",
    },
    "cold-tag": {
        "front/connection.py Connection.data_received",
        "front/handler.py Handler.__call__",
        "cache/manifests.py Manifests.get",
        "upstream/registry.py HttpRegistry.manifest",
        "storage/ingest.py DiskIngest.commit",
        "storage/tags.py SqliteTags.set",
    },
}
"""Some of what no such request can do without, in the loop and in threads of all kinds."""


def test_a_request_passes_few_rooms() -> None:
    for scene, functions in measure().items():
        files = {function.partition(":")[0] for function in functions}
        most_files, most_functions = map(max, LIMITS[scene], NOT_YET.get(scene, (0, 0)))
        assert len(files) <= most_files, (scene, len(files), functions)
        assert len(functions) <= most_functions, (scene, len(functions), functions)
        seen = {_without_line(function) for function in functions}
        assert seen >= LANDMARKS[scene], (scene, LANDMARKS[scene] - seen)


def _without_line(function: str) -> str:
    file, _, rest = function.partition(":")
    return f"{file} {rest.partition(' ')[2]}"
