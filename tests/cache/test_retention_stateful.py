"""Any order of pulls, moved tags, expiries, evictions, pins, reads, fills, damages, crashes and restarts, over the real
homes.

After each step: catalog and disk and budget agree, the hard limit is kept, nothing is left in parts that a kept image
needs, nothing that is pinned or being read is gone, and finishing, evicting or scrubbing again changes nothing.
``python -m tests.night`` tells thousands of such stories.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.cache.stories.rules import Story

STORIES = int(os.environ.get("ENTREPOT_TEST_STORIES", "25"))

TestStory = pytest.mark.timeout(60 + STORIES * 5)(Story.TestCase)
TestStory.settings = settings(
    max_examples=STORIES,
    stateful_step_count=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
