"""The OCI distribution-spec conformance suite, built from its source at a pinned version."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.process import run

MODULE = "github.com/opencontainers/distribution-spec/conformance"
VERSION = "v0.0.0-20260831232431-97274622c111"
UPSTREAM_SOURCE = Path(__file__).parent / "upstream"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "entrepot-tests" / VERSION
READ_ONLY = {
    "OCI_API_PUSH": "false",
    "OCI_API_BLOBS_DELETE": "false",
    "OCI_API_MANIFESTS_DELETE": "false",
    "OCI_API_TAGS_DELETE": "false",
}
_LINE = re.compile(r" *OCI Conformance Test/(.+): (Pass|FAIL|Skip|Disabled|Error)")


def go() -> str | None:
    """The Go tool, also where its installer puts it without touching PATH."""
    return shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


def build(tool: str) -> Path:
    """The folder with the suite (``conformance``) and the registry to put behind the proxy (``upstream``)."""
    if not (CACHE / "conformance").exists():
        run([tool, "install", f"{MODULE}@{VERSION}"], {"GOBIN": str(CACHE)}, patience=300)
    # The Go tool itself knows when this one is up to date.
    run([tool, "-C", str(UPSTREAM_SOURCE), "build", "-o", str(CACHE / "upstream"), "."], patience=300)
    return CACHE


def check(binary: Path, registry: str, results: Path, settings: Mapping[str, str]) -> dict[str, set[str]]:
    """Runs the suite against ``registry``: the outcomes of each check, by name.

    Read from its report on standard output. Its files and its exit status say less: with nothing pushed, this version
    fails when it writes results.yaml.
    """
    results.mkdir()
    place = {"OCI_REGISTRY": registry, "OCI_TLS": "disabled", "OCI_VERSION": "1.1", "OCI_RESULTS_DIR": str(results)}
    done = subprocess.run(
        [binary],
        env={**os.environ, **place, **settings},
        cwd=results,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    (results / "output.txt").write_text(done.stdout + done.stderr)
    outcomes: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        if match := _LINE.fullmatch(line):
            outcomes.setdefault(match[1], set()).add(match[2])
    return outcomes
