"""Every home for bytes."""

import threading

import pytest

from proxy.core.errors import ContentMissing, StoreFailed
from proxy.core.names import Digest
from proxy.storage.contract import BlobStore
from tests.storage.kit import put, take

ABSENT = Digest.of(b"absent")


@pytest.mark.parametrize("content", [b"", b"x", b"layer" * 300_000])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_committed_bytes_are_read_back(store: BlobStore, content: bytes, algorithm: str) -> None:
    digest = put(store, content, algorithm)
    assert take(store.open(digest)) == content
    assert store.verify(digest)


def test_an_absent_digest_is_missing(store: BlobStore) -> None:
    with pytest.raises(ContentMissing):
        store.open(ABSENT)
    with pytest.raises(ContentMissing):
        store.verify(ABSENT)
    store.remove(ABSENT)
    store.quarantine(ABSENT)


def test_a_reader_reads_any_span_and_less_only_at_the_end(store: BlobStore) -> None:
    reader = store.open(put(store, b"0123456789"))
    assert (reader.read(0, 4), reader.read(8, 100), reader.read(10, 1), reader.size) == (b"0123", b"89", b"", 10)
    reader.close()
    reader.close()
    with pytest.raises(StoreFailed):
        reader.read(0, 1)


def test_spans_come_in_any_order(store: BlobStore) -> None:
    ingest = store.begin()
    ingest.write(6, memoryview(bytearray(b"6789")))
    ingest.write(0, b"01")
    ingest.write(2, b"2345")
    digest = Digest.of(b"0123456789")
    ingest.commit(digest, 10)
    assert take(store.open(digest)) == b"0123456789"


def test_spans_come_from_several_threads(store: BlobStore) -> None:
    ingest, content = store.begin(), bytes(range(256)) * 64
    gate = threading.Barrier(4)

    def writer(number: int) -> None:
        gate.wait()
        for at in range(number * 128, len(content), 4 * 128):
            ingest.write(at, content[at : at + 128])

    threads = [threading.Thread(target=writer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    digest = Digest.of(content)
    ingest.commit(digest, len(content))
    assert store.verify(digest)


def test_nothing_is_visible_before_commit(store: BlobStore) -> None:
    ingest = store.begin()
    ingest.write(0, b"bytes")
    with pytest.raises(ContentMissing):
        store.open(Digest.of(b"bytes"))
    assert not any(store.shards())
    ingest.abort()


@pytest.mark.parametrize("size", [4, 6])
def test_a_commit_of_another_size_fails_and_leaves_nothing(store: BlobStore, size: int) -> None:
    ingest = store.begin()
    ingest.write(0, b"bytes")
    with pytest.raises(StoreFailed):
        ingest.commit(Digest.of(b"bytes"), size)
    assert not any(store.shards())
    with pytest.raises(ContentMissing):
        ingest.open()


def test_a_commit_with_a_gap_fails(store: BlobStore) -> None:
    ingest = store.begin()
    ingest.write(3, b"es")
    with pytest.raises(StoreFailed):
        ingest.commit(Digest.of(b"bytes"), 5)
    assert not any(store.shards())


def test_a_reader_of_arriving_bytes_survives_commit(store: BlobStore) -> None:
    ingest = store.begin()
    ingest.write(0, b"first ")
    reader = ingest.open()
    assert reader.read(0, 100) == b"first "
    ingest.write(6, b"second")
    ingest.commit(Digest.of(b"first second"), 12)
    assert take(reader) == b"first second" == take(ingest.open())


def test_a_reader_of_arriving_bytes_survives_abort(store: BlobStore) -> None:
    ingest = store.begin()
    ingest.write(0, b"first")
    reader = ingest.open()
    ingest.abort()
    assert take(reader) == b"first"
    with pytest.raises(ContentMissing):
        ingest.open()


def test_only_the_first_end_counts(store: BlobStore) -> None:
    aborted = store.begin()
    aborted.write(0, b"gone")
    aborted.abort()
    aborted.abort()
    aborted.commit(Digest.of(b"gone"), 4)
    with pytest.raises(ContentMissing):
        store.open(Digest.of(b"gone"))
    committed = store.begin()
    committed.write(0, b"here")
    committed.commit(Digest.of(b"here"), 4)
    committed.abort()
    committed.commit(ABSENT, 4)
    assert take(store.open(Digest.of(b"here"))) == b"here"
    for ended in (aborted, committed):
        with pytest.raises(StoreFailed):
            ended.write(0, b"late")


def test_a_second_commit_of_a_digest_replaces_the_first(store: BlobStore) -> None:
    assert put(store, b"twice") == put(store, b"twice")
    assert [held for portion in store.shards() for held in portion] == [(Digest.of(b"twice"), 5)]


@pytest.mark.parametrize("taken_by", ["remove", "quarantine"])
def test_what_is_taken_away_is_missing_but_open_readers_go_on(store: BlobStore, taken_by: str) -> None:
    digest = put(store, b"content")
    reader = store.open(digest)
    getattr(store, taken_by)(digest)
    with pytest.raises(ContentMissing):
        store.open(digest)
    assert take(reader) == b"content"
    assert put(store, b"content") == digest
    assert take(store.open(digest)) == b"content"


def test_a_sweep_spares_what_arrives(store: BlobStore) -> None:
    ingest = store.begin()
    ingest.write(0, b"arriving")
    assert store.sweep() == 0
    ingest.commit(Digest.of(b"arriving"), 8)
    assert store.verify(Digest.of(b"arriving"))


def test_portions_hold_everything_in_order_by_their_first_two_digits(store: BlobStore) -> None:
    held = {put(store, b"%d" % number, algorithm) for number in range(40) for algorithm in ("sha256", "sha512")}
    portions = list(store.shards())
    assert len(portions) % 256 == 0
    assert {digest for portion in portions for digest, _ in portion} == held
    for number, portion in enumerate(portions):
        assert portion == sorted(portion)
        assert {digest.encoded[:2] for digest, _ in portion} <= {f"{number % 256:02x}"}
        assert len({digest.algorithm for digest, _ in portion}) <= 1


def test_free_space_is_part_of_all_space(store: BlobStore) -> None:
    free, total = store.free_space()
    assert 0 < free <= total
