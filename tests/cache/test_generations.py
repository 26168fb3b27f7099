"""What tells that something found out earlier may no longer hold."""

from proxy.cache.generations import Generations
from proxy.core.names import Digest, Repository, Tag

KEYS = [Digest.of(b"a"), (Repository("docker.io", "library/a"), Tag("v1")), None]


def test_a_change_is_never_missed_however_keys_share_their_places() -> None:
    generations = Generations()
    keys = [*KEYS, *(Digest.of(b"%d" % number) for number in range(40_000))]
    before = [generations.of(key) for key in keys]
    for key in keys:
        generations.advance(key)
    assert all(generations.of(key) > old for key, old in zip(keys, before, strict=True))


def test_what_did_not_change_mostly_stays() -> None:
    generations = Generations()
    for number in range(100):
        generations.advance(Digest.of(b"%d" % number))
    others = [Digest.of(b"other %d" % number) for number in range(1000)]
    assert sum(generations.of(other) == 0 for other in others) > 950


def test_the_sum_of_two_epochs_tells_of_either() -> None:
    generations = Generations()
    digest, tag, _ = KEYS
    seen = {generations.of(digest) + generations.of(tag)}
    for key in (digest, tag, digest):
        generations.advance(key)
        seen.add(generations.of(digest) + generations.of(tag))
    assert len(seen) == 4
