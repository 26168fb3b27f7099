"""What strangers send, at random: how many examples a run makes of each kind."""

import os

from hypothesis import settings

examples = settings(max_examples=int(os.environ.get("ENTREPOT_TEST_EXAMPLES", "100")), deadline=None)
