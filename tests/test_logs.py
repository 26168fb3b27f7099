"""The log's writer: everything in order, nobody waits for it, and what is lost is counted."""

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from proxy.logs import LogWriter

WHOLE_BATCHES_AND_A_REST = 1000


def numbered(batch: Sequence[int]) -> str:
    return "".join(f"{number}\n" for number in batch)


def long(batch: Sequence[int]) -> str:
    return "".join(f"{number:04000}\n" for number in batch)


@pytest.fixture
def pipe() -> Iterator[tuple[BinaryIO, int]]:
    """The end for whoever reads, and the descriptor to write to."""
    reading, writing = os.pipe()
    with open(reading, "rb") as reader:
        yield reader, writing


def test_all_that_is_written_is_out_in_order_when_the_writer_is_left(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as output, LogWriter(output.fileno(), numbered) as log:
        for number in range(WHOLE_BATCHES_AND_A_REST):
            log.write(number)
    written = (tmp_path / "log").read_text().split()
    assert written == [str(number) for number in range(WHOLE_BATCHES_AND_A_REST)]
    assert not log.dropped


def test_a_single_line_is_out_while_nothing_follows_it(pipe: tuple[BinaryIO, int]) -> None:
    reader, descriptor = pipe
    with LogWriter(descriptor, numbered) as log:
        for number in range(3):
            log.write(number)
            assert reader.readline() == b"%d\n" % number
    os.close(descriptor)


def test_what_several_threads_write_is_all_there_and_each_ones_in_order(tmp_path: Path) -> None:
    together = threading.Barrier(4)

    def write(log: LogWriter[int], first: int) -> None:
        together.wait()
        for number in range(first, first + WHOLE_BATCHES_AND_A_REST):
            log.write(number)

    with (tmp_path / "log").open("wb") as output, LogWriter(output.fileno(), numbered) as log:
        threads = [threading.Thread(target=write, args=(log, 10_000 * each)) for each in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    written = [int(line) for line in (tmp_path / "log").read_text().split()]
    assert len(written) == 4 * WHOLE_BATCHES_AND_A_REST
    for each in range(4):
        own = [number for number in written if number // 10_000 == each]
        assert own == sorted(set(own))


def test_whoever_writes_never_waits_for_a_reader_and_what_is_too_much_is_counted(pipe: tuple[BinaryIO, int]) -> None:
    reader, descriptor = pipe
    written, lines = 0, list[int]()
    with LogWriter(descriptor, long) as log:
        while not log.dropped:  # nobody reads, so a writer that waited would wait here for ever
            log.write(written)
            written += 1
        while len(lines) + log.dropped < written:
            lines.append(int(reader.readline()))
    os.close(descriptor)
    assert lines == list(range(len(lines)))
    assert 0 < log.dropped < written / 2


def test_lines_that_cannot_be_written_are_counted(pipe: tuple[BinaryIO, int]) -> None:
    reader, descriptor = pipe
    reader.close()
    with LogWriter(descriptor, numbered) as log:
        for number in range(WHOLE_BATCHES_AND_A_REST):
            log.write(number)
    os.close(descriptor)
    assert log.dropped == WHOLE_BATCHES_AND_A_REST


def test_a_line_that_is_logged_while_lines_are_made_comes_behind_them(tmp_path: Path) -> None:
    logs: list[LogWriter[int]] = []

    def noticing(batch: Sequence[int]) -> str:
        if 0 in batch:
            logs[0].write(-1)
        return numbered(batch)

    with (tmp_path / "log").open("wb") as output, LogWriter(output.fileno(), noticing) as log:
        logs.append(log)
        for number in range(WHOLE_BATCHES_AND_A_REST):
            log.write(number)
    written = (tmp_path / "log").read_text().split()
    assert sorted(map(int, written)) == list(range(-1, WHOLE_BATCHES_AND_A_REST))
    assert written.index("0") < written.index("-1")
