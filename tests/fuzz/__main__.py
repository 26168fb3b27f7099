"""Everything that reads what strangers send, fed at random for as long as there is time.

    python -m tests.fuzz [answers requests manifests names] [--minutes 10] [--seed N]

Each round has the seed that it prints; the same seed feeds the same. The pipeline runs one small round.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path

EXAMPLES = 1000  # of each test, in a round
_HERE = Path(__file__).parent
_WHAT = sorted(path.stem.removeprefix("test_") for path in _HERE.glob("test_*.py"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[[], *_WHAT], help=f"of {', '.join(_WHAT)}; all where none is named")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    given = parser.parse_args()
    sys.exit(max(fed(what, given.minutes * 60, given.seed) for what in given.what or _WHAT))


def fed(what: str, seconds: float, seed: int) -> int:
    """Rounds until the time is over or one fails; the exit code of the last."""
    end, rounds, code = time.monotonic() + seconds, 0, 0
    while code == 0 and time.monotonic() < end:
        print(f"{what}: seed {seed + rounds}", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-n0", "--timeout=0", f"--hypothesis-seed={seed + rounds}"]
        environ = {**os.environ, "ENTREPOT_TEST_EXAMPLES": str(EXAMPLES)}
        code = subprocess.run([*command, str(_HERE / f"test_{what}.py")], env=environ, check=False).returncode
        rounds += 1
    print(f"{what}: {rounds} rounds of {EXAMPLES} examples a test, {'as it should be' if code == 0 else 'FAILED'}")
    return code


if __name__ == "__main__":
    main()
