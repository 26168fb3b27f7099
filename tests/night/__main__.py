"""What takes a night: many more stories than the pipeline has time for.

    python -m tests.night [--stories 20000] [--seed N]

The seed is printed first; the same seed tells the same stories.
"""

import argparse
import os
import random
import sys
from pathlib import Path

import pytest

_STORIES = Path(__file__).parents[1] / "cache/test_retention_stateful.py"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.night", description=__doc__)
    parser.add_argument("--stories", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    given = parser.parse_args()
    print(f"{given.stories} stories of seed {given.seed}", flush=True)
    os.environ["ENTREPOT_TEST_STORIES"] = str(given.stories)
    sys.exit(pytest.main(["-q", "-n0", f"--hypothesis-seed={given.seed}", str(_STORIES)]))


if __name__ == "__main__":
    main()
