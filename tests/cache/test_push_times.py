"""How old an image is: by upstream's word where there is one, else since it was first cached."""

import pytest

from proxy.cache.lifecycle import image_of, no_push_times
from proxy.core.names import Digest, Repository
from proxy.storage.contract import Content, HeldImage

HERE = Repository("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "team/app")
DIGEST = Digest.of(b"{}")
HELD = HeldImage(Content(DIGEST, 2, "application/vnd.oci.image.manifest.v1+json", 500.0, 600.0), 500.0, (), (), 2)


@pytest.mark.parametrize(
    ("pushed", "expected"),
    [({DIGEST: 100.0}, 100.0), ({Digest.of(b"other"): 100.0}, 500.0), ({}, 500.0)],
    ids=["upstream knows it", "upstream knows others", "upstream does not tell"],
)
def test_the_time_of_a_push(pushed: dict[str, float], expected: float) -> None:
    assert image_of(HERE, HELD, pushed).pushed_at == expected


async def test_a_registry_that_does_not_tell_knows_no_times() -> None:
    assert await no_push_times(HERE) == {}
