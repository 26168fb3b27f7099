"""Registries that are built from their source, once, into a folder outside the checkout.

Measured on two busy cores, with nothing downloaded before: crane 71 s, distribution 3 262 s. So distribution 3 is
``heavy``: left out unless it is asked for with ``-m heavy``.
"""

import os
from pathlib import Path

import pytest

from tests.conformance.suite import go
from tests.process import run

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "entrepot-tests" / "bin"
CRANE = ("github.com/google/go-containerregistry/cmd/crane", "v0.22.1")
DISTRIBUTION_3 = ("github.com/distribution/distribution/v3/cmd/registry", "v3.1.2")


def built(command: tuple[str, str]) -> Path:
    """The program, which is built where it is not there yet. Skips without a Go tool."""
    module, version = command
    name = module.rpartition("/")[2]
    program = CACHE / f"{name}@{version}" / name
    if not program.exists():
        tool = go()
        if tool is None:
            pytest.skip("needs the Go tool, 1.24 or later (https://go.dev/dl, or apt-get install golang-go)")
        environment = {"GOBIN": str(program.parent)}
        run(["nice", tool, "install", f"{module}@{version}"], environment, patience=900)
    return program
