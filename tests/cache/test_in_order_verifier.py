"""Bytes in any order, hashed in order."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.verifier import InOrderVerifier
from proxy.core.errors import StoreFailed
from proxy.core.names import Digest, Hasher
from proxy.core.spans import Spans
from proxy.storage.disk import DiskStore

PROVERS = 2
CONTENT = hashlib.shake_256(b"content").digest(4000)


class Arriving:
    """A file that fills in any order, and the proof over it."""

    def __init__(self, store: DiskStore, provers: ThreadPoolExecutor) -> None:
        self.provers = provers
        self.ingest = store.begin()
        self.spans = Spans()
        self.returned: list[int] = []  # where the chunks began that were given back
        self.reader = self.ingest.open()
        self.verifier = InOrderVerifier(Hasher(Digest.of(CONTENT)), self.reader, self.spans, provers)

    def bring(self, start: int, end: int) -> None:
        chunk = memoryview(CONTENT)[start:end]
        self.ingest.write(start, chunk)
        self.verifier.take(start, chunk, partial(self.returned.append, start))
        self.spans.add(start, end)


@contextmanager
def arriving() -> Iterator[Arriving]:
    with (
        TemporaryDirectory() as folder,
        closing(DiskStore(Path(folder))) as store,
        ThreadPoolExecutor(PROVERS) as provers,
    ):
        arriving = Arriving(store, provers)
        try:
            yield arriving
        finally:
            arriving.reader.close()
            arriving.ingest.abort()


@given(cuts=st.sets(st.integers(1, len(CONTENT) - 1), max_size=12), order=st.randoms(use_true_random=False))
def test_in_any_order_the_hash_is_that_of_the_whole(cuts: set[int], order: Random) -> None:
    edges = [0, *sorted(cuts), len(CONTENT)]
    chunks = list(pairwise(edges))
    order.shuffle(chunks)
    with arriving() as file:
        for start, end in chunks:
            file.bring(start, end)
        file.verifier.finish()
        assert (file.verifier.hasher.count, file.verifier.hasher.agrees()) == (len(CONTENT), True)


def test_movers_at_the_same_time_leave_no_byte_out() -> None:
    parts = [range(start, min(start + 500, 4000), 7) for start in range(0, 4000, 500)]
    with arriving() as file, ThreadPoolExecutor(len(parts)) as movers:

        def mover(part: range) -> None:
            for start in part:
                file.bring(start, min(start + 7, part.stop))

        list(movers.map(mover, parts))
        file.verifier.finish()
        assert file.verifier.hasher.agrees()


def test_bytes_behind_a_gap_wait_for_it() -> None:
    with arriving() as file:
        file.bring(100, 200)
        file.verifier.finish()
        assert file.verifier.hasher.count == 0
        file.bring(0, 100)
        file.verifier.finish()
        assert file.verifier.hasher.count == 200


def test_every_chunk_is_given_back_once_however_it_came() -> None:
    with arriving() as file:
        for start in (100, 0, 50, 200, 0):
            file.bring(start, start + 100)
        file.verifier.finish()
        assert sorted(file.returned) == [0, 0, 50, 100, 200]
        assert (file.verifier.hasher.count, file.verifier.idle) == (300, True)


def test_once_stopped_the_reader_is_left_alone_and_chunks_are_given_back() -> None:
    with arriving() as file:
        file.bring(100, 200)
        file.verifier.stop()
        file.reader.close()
        file.bring(0, 100)
        file.verifier.finish()
        assert (file.verifier.hasher.count, file.returned) == (0, [100, 0])


def test_a_mover_hashes_itself_while_all_provers_are_busy() -> None:
    with arriving() as file:
        gate = threading.Event()
        for _ in range(PROVERS):
            file.provers.submit(gate.wait)
        try:
            file.bring(0, 100)
            assert file.returned == []
            file.verifier.help()
            assert (file.verifier.hasher.count, file.returned) == (100, [0])
            file.bring(100, len(CONTENT))
            file.verifier.finish()
            assert file.verifier.hasher.agrees()
        finally:
            gate.set()


def test_bytes_that_cannot_be_read_back_fail_the_proof() -> None:
    with arriving() as file:
        file.spans.add(0, 100)  # they never were written
        with pytest.raises(StoreFailed):
            file.verifier.finish()


class Unreadable:
    """A file of which nothing can be read back: only once ``gate`` is open is that found out."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked = threading.Event()
        self.size = len(CONTENT)
        self.proven_at = 0.0

    def fileno(self) -> int:
        raise AssertionError("nobody sends it")

    def read(self, offset: int, size: int) -> bytes:
        self.asked.set()
        self.gate.wait()
        raise StoreFailed("the disk does not read")

    def close(self) -> None:
        return


def test_what_waits_behind_bytes_that_cannot_be_read_back_is_given_back_and_never_hashed_before_them() -> None:
    reader, spans, returned = Unreadable(), Spans(), list[int]()
    with ThreadPoolExecutor(PROVERS) as provers:
        verifier = InOrderVerifier(Hasher(Digest.of(CONTENT)), reader, spans, provers)
        spans.add(100, 200)  # came before its turn
        verifier.take(0, memoryview(CONTENT)[:100], partial(returned.append, 0))
        spans.add(0, 100)
        reader.asked.wait()  # for what came before its turn
        verifier.take(200, memoryview(CONTENT)[200:300], partial(returned.append, 200))
        spans.add(200, 300)
        assert returned == [0]
        reader.gate.set()
        with pytest.raises(StoreFailed):
            verifier.finish()
        assert returned == [0, 200]
        assert verifier.hasher.count == 100
        assert verifier.hasher.so_far() == hashlib.sha256(CONTENT[:100]).digest()
