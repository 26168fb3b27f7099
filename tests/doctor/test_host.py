"""The machine's part of an examination."""

import resource
from pathlib import Path

import pytest

from proxy.doctor import host
from proxy.doctor.host import Host, held_below, host_steps
from proxy.doctor.steps import Verdict


def test_a_disk_too_small_for_the_cache_says_what_would_fit(tmp_path: Path) -> None:
    disk, _ = host_steps(Host(tmp_path, cache_bytes=1 << 60))
    assert disk.verdict is Verdict.FAILED
    assert "lower cache.max_size to" in disk.fix


def test_what_the_cache_holds_already_needs_no_free_space(tmp_path: Path) -> None:
    disk, _ = host_steps(Host(tmp_path, cache_bytes=1 << 60, held_bytes=1 << 60))
    assert disk.verdict is Verdict.OK


def test_few_file_descriptors_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(host, "DESCRIPTORS_NEEDED", soft + 1)
    _, descriptors = host_steps(Host(tmp_path, 1))
    assert descriptors.verdict is Verdict.FAILED
    monkeypatch.setattr(host, "DESCRIPTORS_NEEDED", soft)
    assert host_steps(Host(tmp_path, 1))[1].verdict is Verdict.OK


def test_a_cache_folder_is_summed_up_where_nothing_runs_to_tell(tmp_path: Path) -> None:
    (tmp_path / "blobs" / "sha256").mkdir(parents=True)
    (tmp_path / "blobs" / "sha256" / "ab").write_bytes(b"x" * 1000)
    (tmp_path / "catalog").write_bytes(b"y" * 24)
    assert held_below(tmp_path) == 1024
    assert held_below(tmp_path / "not there") == 0
