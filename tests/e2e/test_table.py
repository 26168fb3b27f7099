"""The table of what users read, for the client that is fastest."""

from pathlib import Path

import pytest

from tests.e2e.table import SCENES, WAYS, Stage, scenes

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_who_is_refused_reads_why_and_nothing_of_where_it_was_asked(clients_installed: None, tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    [skopeo] = [way for way in WAYS if way.name.startswith("skopeo")]
    with stage.open.running(), stage.closed.running():
        stage.fill()
        read = dict(zip(SCENES, scenes(skopeo, stage, tmp_path / "skopeo"), strict=True))
    for scene in ("cold", "warm", "moved tag", "upstream down, held"):
        assert read.pop(scene) == "pulled"
    assert "registry.test does not have library/app:v9" in read["unknown tag"]
    assert "private.test refused library/app:v1 to this cache: it was asked without credentials" in read["denied"]
    assert "v1 is not held here; try again later" in read["upstream down, not held"]
    assert "upstream:5000" not in "".join(read.values())
