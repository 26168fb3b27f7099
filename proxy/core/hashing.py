"""Proof that bytes are those of a digest, gathered while they pass."""

import hashlib

from proxy.core.names import Digest
from proxy.core.steps import Steps

HELD_BACK = 64 << 10
"""Bytes at the end of an unproven blob that no client is sent: nobody completes a response that may be wrong."""

_STEP = 256 << 10  # bytes


def digest_of(content: bytes, algorithm: str) -> Steps[Digest]:
    """The digest of what may be long: where nothing speeds it up, a megabyte takes some milliseconds."""
    state, view = hashlib.new(algorithm), memoryview(content)
    for start in range(0, len(view), _STEP):
        if start:
            yield
        state.update(view[start : start + _STEP])
    return Digest(f"{algorithm}:{state.hexdigest()}")


class Hasher:
    """Counts and hashes bytes in order. Large updates release the interpreter lock."""

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        self.count = 0
        self._state = hashlib.new(digest.algorithm)

    def update(self, content: bytes | memoryview) -> None:
        self._state.update(content)
        self.count += len(content)

    def agrees(self) -> bool:
        return self._state.hexdigest() == self.digest.encoded

    def copy(self) -> "Hasher":
        """The same proof so far, to be carried on by somebody else."""
        twin = Hasher.__new__(Hasher)
        twin.digest, twin.count, twin._state = self.digest, self.count, self._state.copy()
        return twin
