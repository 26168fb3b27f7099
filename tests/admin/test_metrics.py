"""What a scrape tells after some pulls, and that its page in docs/ tells of the same."""

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.admin.families import DECLARED
from tests.admin.exposition import Scrape, parsed
from tests.cast import FaultUpstream
from tests.process import PROXY
from tests.scenarios.house import APP, NAME, MiB, blob_path, manifest_path
from tests.scenarios.process import Site, site
from tests.scenarios.shelf import put_image

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
OF_THE_LIBRARY = {
    *("process_virtual_memory_bytes", "process_resident_memory_bytes", "process_start_time_seconds"),
    *("process_cpu_seconds", "process_open_fds", "process_max_fds", "python_info"),
}
QUOTA = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"}


@pytest.fixture
async def entrepot(tmp_path: Path, upstream: FaultUpstream) -> AsyncIterator[Site]:
    async with site(tmp_path, upstream.url, {"tags": {"ttl": "1d"}}) as running:
        yield running
        await running.stop()


async def scrape(entrepot: Site) -> tuple[str, Scrape]:
    reply = await entrepot.ask_admin("/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return reply.body.decode(), parsed(reply.body.decode())


async def settled(entrepot: Site) -> None:
    """Until every fill that began has ended."""
    while True:
        _, found = await scrape(entrepot)
        if found.value("entrepot_fill_seconds_count") == found.value("entrepot_fill_results_total", result="started"):
            return


async def test_a_scrape_counts_times_and_sizes_of_what_was_pulled(entrepot: Site, upstream: FaultUpstream) -> None:
    image = put_image(upstream, "v1", b"x" * MiB)
    sizes = []
    for _ in range(3):
        replies = [await entrepot.get(path) for path in (manifest_path("v1"), *map(blob_path, image.parts))]
        assert {reply.status for reply in replies} == {200}
        sizes = [len(reply.body) for reply in replies]
        await settled(entrepot)
    upstream.page(f"/v2/{APP}/manifests/quota", (await entrepot.get(manifest_path("v1"))).body, QUOTA)
    assert (await entrepot.get(manifest_path("quota"))).status == 200
    assert (await entrepot.get(manifest_path("gone"))).status == 404
    text, found = await scrape(entrepot)

    names = {each.name for each in DECLARED}
    assert {f"entrepot_{name}" for name in names} | OF_THE_LIBRARY == set(found.kinds)
    assert all(found.helps.values())
    for each in DECLARED:
        assert found.kinds[f"entrepot_{each.name}"] == each.kind

    for series in ("entrepot_request_seconds", "entrepot_request_first_byte_seconds"):
        for kind in ("manifest", "blob"):
            for outcome in found.label_values("entrepot_requests_total", "outcome"):
                asked = found.value("entrepot_requests_total", kind=kind, outcome=outcome)
                assert found.value(f"{series}_count", kind=kind, outcome=outcome) == asked
                assert found.value(f"{series}_bucket", kind=kind, outcome=outcome, le="+Inf") == asked
    assert found.value("entrepot_requests_total", kind="manifest", outcome="hit") == 3
    assert found.value("entrepot_request_seconds_sum", kind="blob", outcome="miss") > 0
    assert found.value("entrepot_request_first_byte_seconds_sum") <= found.value("entrepot_request_seconds_sum")

    assert found.value("entrepot_fill_seconds_count", result="completed") == 2
    assert found.value("entrepot_fill_size_bytes_count") == 2
    assert found.value("entrepot_fill_size_bytes_sum") == sum(sizes[1:])
    assert found.value("entrepot_fill_size_bytes_bucket", le="16384.0") == 1
    asked = found.value("entrepot_upstream_requests_total", upstream=NAME)
    assert found.value("entrepot_upstream_first_byte_seconds_count", upstream=NAME) == asked
    assert found.value("entrepot_upstream_quota", upstream=NAME) == 100
    assert found.value("entrepot_upstream_quota_left", upstream=NAME) == 76
    assert found.value("entrepot_upstream_closed_off", upstream=NAME) == 0
    assert found.label_values("entrepot_evictions_total", "cause") == {"budget", "share", "disk"}
    assert found.value("process_open_fds") > 3

    hits = found.value("entrepot_requests_total", kind="blob", outcome="hit")
    misses = found.value("entrepot_requests_total", kind="blob", outcome="miss")
    assert (hits, misses) == (4, 2), "the hit ratio follows"
    assert found.value("entrepot_client_bytes_total") > 2 * found.value("entrepot_upstream_bytes_total")
    promtool(text)


def promtool(text: str) -> None:
    """Prometheus' own advice, where it is at hand: names and units."""
    if (tool := shutil.which("promtool")) is None:
        return
    told = subprocess.run([tool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    advice = [line for line in told.stderr.splitlines() if line.startswith("entrepot_")]
    assert {line.partition(" ")[0] for line in advice} <= {"entrepot_loop_lag_seconds"}, "which dashboards know so"


def test_the_page_is_what_the_command_prints() -> None:
    printed = subprocess.run([*PROXY, "metrics"], capture_output=True, text=True, check=True)
    assert PAGE.read_text() == printed.stdout, "write it anew: entrepot metrics > docs/metrics.md"
    listed = json.loads(subprocess.run([*PROXY, "metrics", "--json"], capture_output=True, check=True).stdout)
    assert [each["name"] for each in listed] == [each.exported for each in DECLARED]


def test_the_queries_of_the_page_use_what_there_is() -> None:
    used = set(re.findall(r"entrepot_[a-z_]+", PAGE.read_text()))
    known = {each.exported for each in DECLARED}
    histograms = {each.exported for each in DECLARED if each.kind == "histogram"}
    known |= {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}
    assert used <= known
