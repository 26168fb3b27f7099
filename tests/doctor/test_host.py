"""The machine's part of an examination."""

import resource
import subprocess
import sys
from pathlib import Path

from proxy.core.descriptors import descriptors_for
from proxy.doctor.host import Host, held_below, host_steps
from proxy.doctor.steps import Verdict


def test_a_disk_too_small_for_the_cache_says_what_would_fit(tmp_path: Path) -> None:
    disk, _ = host_steps(Host(tmp_path, cache_bytes=1 << 60))
    assert disk.verdict is Verdict.FAILED
    assert "lower cache.max_size to" in disk.fix


def test_what_the_cache_holds_already_needs_no_free_space(tmp_path: Path) -> None:
    disk, _ = host_steps(Host(tmp_path, cache_bytes=1 << 60, held_bytes=1 << 60))
    assert disk.verdict is Verdict.OK


def descriptors(folder: Path, limits: tuple[int, int], connections: int) -> tuple[str, str, str]:
    """As a process with these limits, soft and hard, sees its own."""
    look = (
        "import sys; from pathlib import Path; from proxy.doctor.host import *;"
        "step = host_steps(Host(Path(sys.argv[1]), 1, 0, int(sys.argv[2])))[1];"
        "print(step.verdict, step.detail, step.fix, sep='|')"
    )
    done = subprocess.run(
        [sys.executable, "-c", look, str(folder), str(connections)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits),
        capture_output=True,
        text=True,
        check=True,
    )
    verdict, detail, fix = done.stdout.strip().split("|")
    return verdict, detail, fix


def test_file_descriptors_are_judged_by_what_the_proxy_may_take_and_needs(tmp_path: Path) -> None:
    needed = descriptors_for(100)
    assert descriptors(tmp_path, (64, needed), 100)[0] == "ok"
    verdict, detail, fix = descriptors(tmp_path, (64, needed - 1), 100)
    assert (verdict, detail) == ("failed", f"at most {needed - 1}, and 100 connections may need {needed}")
    assert f"to {needed}" in fix


def test_a_cache_folder_is_summed_up_where_nothing_runs_to_tell(tmp_path: Path) -> None:
    (tmp_path / "blobs" / "sha256").mkdir(parents=True)
    (tmp_path / "blobs" / "sha256" / "ab").write_bytes(b"x" * 1000)
    (tmp_path / "catalog").write_bytes(b"y" * 24)
    assert held_below(tmp_path) == 1024
    assert held_below(tmp_path / "not there") == 0
