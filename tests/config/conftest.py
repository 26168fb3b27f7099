from pathlib import Path

import pytest

from tests.config.cast import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file into a folder of its own and gives its path."""

    def write(content: str | bytes) -> Path:
        file = tmp_path / "entrepot.yaml"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return write
