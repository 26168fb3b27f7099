"""The OCI conformance suite, read-only, against Entrepot: it pulls what the suite itself has pushed to the upstream."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conformance.suite import READ_ONLY, build, check, go
from tests.e2e.images import INDEX, MANIFEST
from tests.ports import free_port
from tests.process import get, listens, proxying, running

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(600)]

REPOSITORY = "conformance/repo1"
PULL_CHECKS = {
    "ping",
    "empty/tag list",
    "empty/referrers",
    "read-only/tag-list",
    "read-only/head/manifest-head-by-tag",
    "read-only/head/manifest-head-by-digest",
    "read-only/head/blob-head",
    "read-only/pull/manifest-by-tag",
    "read-only/pull/manifest-by-digest",
    "read-only/pull/blob-get",
    "read-only/referrers",
    "missing-manifest/by-digest",
    "missing-manifest/by-tag",
    "invalid-digest-format/manifest-get",
}


@pytest.fixture(scope="module")
def binaries() -> Path:
    tool = go()
    if tool is None:
        pytest.skip("needs the Go tool, 1.24 or later (https://go.dev/dl, or apt-get install golang-go)")
    return build(tool)


@pytest.fixture
def upstream(binaries: Path, tmp_path: Path) -> Iterator[int]:
    """The port of a registry that has everything the suite can push."""
    port = free_port()
    argv = [str(binaries / "upstream"), f"127.0.0.1:{port}"]
    with running(argv, tmp_path / "upstream.log", lambda: listens(port)):
        keep = {key: value for key, value in READ_ONLY.items() if key != "OCI_API_PUSH"}
        check(binaries / "conformance", f"127.0.0.1:{port}", tmp_path / "pushed", keep)
        yield port


def test_every_pull_check_passes_through_the_proxy(binaries: Path, upstream: int, tmp_path: Path) -> None:
    pushed = _pushed(upstream)
    assert len(pushed["OCI_RO_DATA_TAGS"].split()) > 8
    with proxying(tmp_path / "entrepot", {"registry.test": {"url": f"http://127.0.0.1:{upstream}"}}) as proxy:
        settings = {**READ_ONLY, **pushed, "OCI_REPO1": f"registry.test/{REPOSITORY}"}
        outcomes = check(binaries / "conformance", proxy.address, tmp_path / "pulled", settings)
    lines = (tmp_path / "pulled" / "output.txt").read_text().splitlines()
    shown = "\n".join(line for line in lines if "failed test" in line)
    assert not {name for name, seen in outcomes.items() if seen & {"FAIL", "Error"}}, shown
    assert {name for name, seen in outcomes.items() if seen == {"Pass"}} >= PULL_CHECKS, shown


def _pushed(port: int) -> Mapping[str, str]:
    """Everything in the upstream's repository, in the words of the suite's read-only settings."""
    base = f"/v2/{REPOSITORY}"
    tags = json.loads(get(port, f"{base}/tags/list").body)["tags"]
    manifests: set[str] = set()
    blobs: set[str] = set()
    subjects: set[str] = set()
    waiting = list(tags)
    while waiting:
        answer = get(port, f"{base}/manifests/{waiting.pop()}", {"Accept": f"{INDEX}, {MANIFEST}"})
        if answer.status != 200 or answer.headers["docker-content-digest"] in manifests:
            continue
        manifests.add(answer.headers["docker-content-digest"])
        manifest = json.loads(answer.body)
        waiting += [child["digest"] for child in manifest.get("manifests", [])]
        blobs |= {layer["digest"] for layer in [manifest.get("config"), *manifest.get("layers", [])] if layer}
        subjects |= {manifest["subject"]["digest"]} if "subject" in manifest else set()
    held = {blob for blob in blobs if get(port, f"{base}/blobs/{blob}").status == 200}
    assert held and manifests and subjects
    return {
        "OCI_RO_DATA_TAGS": " ".join(tags),
        "OCI_RO_DATA_MANIFESTS": " ".join(sorted(manifests)),
        "OCI_RO_DATA_BLOBS": " ".join(sorted(held)),
        "OCI_RO_DATA_REFERRERS": " ".join(sorted(subjects)),
    }
