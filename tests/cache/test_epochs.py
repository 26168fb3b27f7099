"""What tells that something found out earlier may no longer hold."""

from proxy.cache.epochs import Epochs
from proxy.core.names import Digest, Repository, Tag

KEYS = [Digest.of(b"a"), (Repository("docker.io", "library/a"), Tag("v1")), None]


def test_a_change_is_never_missed_however_keys_share_their_places() -> None:
    epochs = Epochs()
    keys = [*KEYS, *(Digest.of(b"%d" % number) for number in range(40_000))]
    before = [epochs.of(key) for key in keys]
    for key in keys:
        epochs.advance(key)
    assert all(epochs.of(key) > old for key, old in zip(keys, before, strict=True))


def test_what_did_not_change_mostly_stays() -> None:
    epochs = Epochs()
    for number in range(100):
        epochs.advance(Digest.of(b"%d" % number))
    others = [Digest.of(b"other %d" % number) for number in range(1000)]
    assert sum(epochs.of(other) == 0 for other in others) > 950


def test_the_sum_of_two_epochs_tells_of_either() -> None:
    epochs = Epochs()
    digest, tag, _ = KEYS
    seen = {epochs.of(digest) + epochs.of(tag)}
    for key in (digest, tag, digest):
        epochs.advance(key)
        seen.add(epochs.of(digest) + epochs.of(tag))
    assert len(seen) == 4
