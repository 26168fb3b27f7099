"""The rig's own arithmetic: verdicts, wrk's output, the paced and counting upstream, the digest pass."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench.clients import WrongAnswer, check, pull, pull_together, rate_from
from tests.bench.contestants import OURS
from tests.bench.measure import Row, Spread, Target, percentile
from tests.bench.origin import Origin
from tests.bench.report import MET, MISSED, NOT_MEASURED, judge, picture
from tests.cast.served import served

BLOB = bytes(range(256)) * 1024
DIGEST = hashlib.sha256(BLOB).hexdigest()
PATH = f"/v2/some/name/blobs/sha256:{DIGEST}"


@contextmanager
def origin(folder: Path) -> Iterator[Origin]:
    file = folder / "docker/registry/v2/blobs/sha256" / DIGEST[:2] / DIGEST / "data"
    file.parent.mkdir(parents=True)
    file.write_bytes(BLOB)
    server = Origin(0, folder, per_connection=0, total=0)
    with served(server):
        yield server


def row(ours: list[float], peer: float, target: Target) -> Row:
    return Row("work", "metric", {OURS: Spread.of(ours), "nginx": Spread.of([peer])}, [target])


@pytest.mark.parametrize(
    ("ours", "peer", "target", "verdict"),
    [
        ([2.0], 1.0, Target("≥", 2.0, "nginx"), MET),
        ([1.9], 1.0, Target("≥", 2.0, "nginx"), MISSED),
        ([0.4], 1.0, Target("≤", 0.4, "nginx"), MET),
        ([0.5], 1.0, Target("≤", 0.4, "nginx"), MISSED),
        ([0.5], 1.0, Target("≤", 0.4, "nginx").eased(), MET),
        ([1.9], 1.0, Target("≥", 2.0, "nginx").eased(), MET),
        ([1.0, 1.0, 2.0], 1.0, Target("=", 1), MISSED),
        ([1.0, 1.0, 1.0], 1.0, Target("=", 1).eased(), MET),
        ([9.0, 1.0, 1.0], 1.0, Target("≤", 1.0), MET),
        ([1.0], 1.0, Target("≤", 1.0, "distribution"), NOT_MEASURED),
    ],
)
def test_a_target_is_met_by_the_median_and_an_exact_one_by_every_round(
    ours: list[float], peer: float, target: Target, verdict: str
) -> None:
    assert judge(row(ours, peer, target), target).verdict == verdict


def test_without_our_own_value_nothing_is_met() -> None:
    target = Target("≥", 1.0, "nginx")
    assert judge(Row("work", "metric", {"nginx": Spread.of([1.0])}, [target]), target).verdict == NOT_MEASURED


def test_the_picture_has_a_bar_for_each_contestant_and_survives_an_empty_row() -> None:
    rows = [row([1.0], 2.0, Target("≥", 1.0)), Row("work < 2", "metric", {})]
    bars = list(ElementTree.fromstring(picture(rows)).iter("{http://www.w3.org/2000/svg}rect"))
    assert [bar.get("width") for bar in bars] == ["180.0", "360.0"]


def test_wrk_output_gives_requests_and_seconds() -> None:
    rate = rate_from("  3000 requests in 2.00s, 1.00MB read\nRequests/sec:   1500.00\n")
    assert rate == (3000, 2.0)


@pytest.mark.parametrize(
    "line", ["Non-2xx or 3xx responses: 1", "Socket errors: connect 0, read 1, write 0, timeout 0"]
)
def test_an_error_that_wrk_met_is_no_measurement(line: str) -> None:
    with pytest.raises(WrongAnswer):
        rate_from(f"  3000 requests in 2.00s, 1.00MB read\n  {line}\nRequests/sec:   1500.00\n")


def test_the_99th_percentile_of_a_hundred_is_the_last() -> None:
    assert percentile([float(value) for value in range(100, 0, -1)], 0.99) == 100.0


def test_a_pull_is_compared_counted_and_discarded(tmp_path: Path) -> None:
    with origin(tmp_path) as server:
        assert check(server.server_port, PATH, f"sha256:{DIGEST}") == len(BLOB)
        pull(server.server_port, PATH, len(BLOB), times=2)
        assert pull_together(server.server_port, PATH, len(BLOB), clients=3) > 0
        counted = server.counts()
    assert counted == {"transfers": {f"sha256:{DIGEST}": 6}, "bytes": {f"sha256:{DIGEST}": 6 * len(BLOB)}}


def test_other_bytes_or_another_length_are_a_wrong_answer(tmp_path: Path) -> None:
    with origin(tmp_path) as server:
        with pytest.raises(WrongAnswer, match="for sha256:other"):
            check(server.server_port, PATH, "sha256:other")
        with pytest.raises(WrongAnswer, match="status and length"):
            pull(server.server_port, PATH, len(BLOB) - 1)
        with pytest.raises(WrongAnswer, match="3 of 3 clients failed"):
            pull_together(server.server_port, PATH, len(BLOB) - 1, clients=3)
