"""What strangers send, at random: how many examples a run makes of each kind."""

import os

EXAMPLES = int(os.environ.get("ENTREPOT_TEST_EXAMPLES", "100"))
