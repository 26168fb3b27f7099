"""A file is read again when it may hold something else, and only then."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.core.file_versions import FileVersion, Look
from proxy.tasks.file_looks import look_at

NOW = 1_700_000_000.0
OLD = FileVersion(1, 2, int((NOW - 10) * 1e9), int((NOW - 10) * 1e9), 100)


@pytest.mark.parametrize(
    "other",
    [
        OLD._replace(modified=OLD.modified + 1),
        OLD._replace(changed=OLD.changed + 1),
        OLD._replace(size=101),
        OLD._replace(inode=3),
        OLD._replace(device=2),
        2,  # it is gone
    ],
)
def test_what_looks_otherwise_may_hold_something_else(other: FileVersion | int) -> None:
    before = Look.of((("a", OLD),), NOW)
    assert Look.of((("a", OLD),), NOW).shows_what(before)
    assert not Look.of((("a", other),), NOW).shows_what(before)
    assert not Look.of((("b", OLD),), NOW).shows_what(before)
    assert not Look.of((("a", OLD),), NOW).shows_what(None)


@pytest.mark.parametrize("ago", [0.0, 1.9, -3600.0], ids=["this moment", "within a tick", "by a clock ahead of ours"])
def test_a_file_that_was_written_a_moment_ago_may_be_written_again_without_a_trace(ago: float) -> None:
    fresh = OLD._replace(modified=int((NOW - ago) * 1e9))
    before = Look.of((("a", fresh), ("b", OLD)), NOW)
    assert not Look.of((("a", fresh), ("b", OLD)), NOW + 60).shows_what(before)


def test_two_writes_within_one_tick_are_both_seen(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    seen, held = look_at([file]), file.read_text()
    stat = file.stat()
    file.write_text("two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as if the clock had stood still
    again = look_at([file])
    assert held != file.read_text()
    assert not again.shows_what(seen)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.write_text("three"),
        lambda file: (file.with_name("new").write_text("one"), file.with_name("new").replace(file)),
        lambda file: file.unlink(),
    ],
    ids=["written", "replaced", "gone"],
)
def test_a_real_change_shows(tmp_path: Path, change: Callable[[Path], object]) -> None:
    (tmp_path / "file").write_text("one")
    before = look_at([tmp_path / "file"])._replace(settled=True)
    assert look_at([tmp_path / "file"]).shows_what(before)
    change(tmp_path / "file")
    assert not look_at([tmp_path / "file"]).shows_what(before)


def test_what_cannot_be_opened_is_looked_at_too(tmp_path: Path) -> None:
    nothing = look_at([tmp_path / "missing"])
    assert nothing.settled
    assert look_at([tmp_path / "missing"]).shows_what(nothing)
    os.mkfifo(tmp_path / "pipe")
    assert look_at([tmp_path / "pipe"]).versions
