"""How far one request travels: the files and functions of ``proxy/`` that run for it in a ``serve`` that has just
started, those of the idle process left out.

    python -m tests.trace [--show cold-blob]
"""

import argparse
import subprocess
import sys
import tempfile

LIMITS = {"cold-blob": (32, 190), "blob-hit": (15, 65), "cold-tag": (28, 140)}
"""Files and functions, at most. In this order: the hit is one of what the cold blob left."""


def measure() -> dict[str, list[str]]:
    """By scene, ``FILE:LINE FUNCTION``. Raises CalledProcessError where a scene fails."""
    with tempfile.TemporaryDirectory() as folder:
        return {scene: _play(scene, folder) for scene in LIMITS}


def _play(scene: str, folder: str) -> list[str]:
    command = [sys.executable, "-m", "tests.trace.scene", scene, folder]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout.splitlines()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.trace", description=__doc__)
    parser.add_argument("--show", choices=sorted(LIMITS), help="name every function of one scene")
    shown = parser.parse_args().show
    over = False
    for scene, functions in measure().items():
        files = {function.partition(":")[0] for function in functions}
        over = over or len(files) > LIMITS[scene][0] or len(functions) > LIMITS[scene][1]
        print(f"{scene}: {len(files)} files (at most {LIMITS[scene][0]}), ", end="")
        print(f"{len(functions)} functions (at most {LIMITS[scene][1]})")
        if scene == shown:
            print("\n".join(f"  {function}" for function in functions))
    sys.exit(over)


if __name__ == "__main__":
    main()
