"""deploy/environment makes a .venv that is whole, whenever it was interrupted before, and says what stands in the way.

The project is a small one without a network: pip takes its one dependency from a folder, and its build can be held up.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "entrepot"
version = "1.0"
"""
BACKEND = """\
import os
from wheels import wheel

def build_editable(folder, config_settings=None, metadata_directory=None):
    if os.path.exists("gate"):
        open("reached", "w").close()
        open("gate").read()
    return wheel(folder, "entrepot", {"entrepot.pth": os.getcwd()}, "Requires-Dist: leaf\\n")
"""
WHEELS = """\
import os
import zipfile

def wheel(folder, name, files, needs=""):
    about = f"{name}-1.0.dist-info"
    written = f"{name}-1.0-py3-none-any.whl"
    files = files | {
        f"{about}/METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n{needs}",
        f"{about}/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{file},,\\n" for file in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(os.path.join(folder, written), "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return written
"""


@pytest.fixture
def project() -> Iterator[Path]:
    """Where others may look in, as in a checkout."""
    folder = Path(tempfile.mkdtemp(prefix="entrepot-environment-"))
    folder.chmod(0o755)
    (folder / "deploy").mkdir()
    shutil.copy(DEPLOY / "environment", folder / "deploy")
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "wheels.py").write_text(WHEELS)
    (folder / "links").mkdir()
    subprocess.run(
        ["python3", "-c", "from wheels import wheel; wheel('links', 'leaf', {'leaf.py': ''})"], cwd=folder, check=True
    )
    assert zipfile.is_zipfile(folder / "links" / "leaf-1.0-py3-none-any.whl")
    yield folder
    shutil.rmtree(folder)


def begin(project: Path, user: int | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["bash", "-euc", ". deploy/environment; make_environment ."],
        cwd=project,
        env={"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "links", "HOME": str(project)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        user=user,
    )


def make(project: Path) -> str:
    """What it said."""
    making = begin(project)
    said = making.communicate(timeout=100)[1]
    assert making.returncode == 0, said
    return said


def is_whole(project: Path) -> bool:
    done = subprocess.run([project / ".venv/bin/python", "-c", "import leaf, pip, backend"], cwd="/", check=False)
    return done.returncode == 0


def killed_when(project: Path, reached: Callable[[], bool]) -> None:
    """With everything that it started, as by a terminal that goes away or a machine that does."""
    making = begin(project)
    while not reached():
        assert making.poll() is None, "it ended before it could be interrupted"
        time.sleep(0.002)
    os.killpg(making.pid, signal.SIGKILL)
    making.communicate()


def test_one_that_was_killed_while_python_was_copied_is_made_anew(project: Path) -> None:
    killed_when(project, (project / ".venv/bin/python3").is_symlink)
    assert not is_whole(project)
    assert "is not whole: it is made anew" in make(project)
    assert is_whole(project)


def test_one_that_was_killed_while_pip_worked_is_made_anew_and_then_left_alone(project: Path) -> None:
    os.mkfifo(project / "gate")
    killed_when(project, (project / "reached").exists)
    (project / "gate").unlink()
    said = make(project)
    assert "is not whole: it is made anew" in said
    assert "installing . and what it needs" in said
    assert is_whole(project)
    assert make(project) == ""


def test_one_that_lost_a_package_or_its_pip_is_made_anew_and_a_new_project_file_only_installs(project: Path) -> None:
    make(project)
    (packages,) = (project / ".venv/lib").glob("python*/site-packages")
    shutil.rmtree(packages / "leaf-1.0.dist-info")
    (packages / "leaf.py").unlink()
    assert "made anew" in make(project)
    assert is_whole(project)
    shutil.rmtree(packages / "pip" / "_internal")
    assert "made anew" in make(project)
    assert is_whole(project)
    (project / "pyproject.toml").write_text(f"{PYPROJECT}# changed\n")
    said = make(project)
    assert "installing" in said
    assert "made anew" not in said


def test_two_at_a_time_wait_for_each_other(project: Path) -> None:
    os.mkfifo(project / "gate")
    first = begin(project)
    with open(project / "gate", "w") as gate:  # opens when the first one's build has come to it
        second = begin(project)
        assert second.stderr is not None
        assert "waiting for another process" in second.stderr.readline()
        (project / "gate").unlink()
        gate.write("go on")
    assert first.communicate(timeout=100)[1].count("made anew") == 0
    assert second.communicate(timeout=100)[1] == ""
    assert first.returncode == second.returncode == 0
    assert is_whole(project)


def test_a_checkout_that_cannot_be_written_to_is_told_with_a_way_round(project: Path) -> None:
    project.chmod(0o555)
    making = begin(project, user=65534 if os.geteuid() == 0 else None)
    said = making.communicate(timeout=100)[1]
    assert making.returncode == 1
    assert "cannot be written to by" in said
    assert f"~/entrepot/bin/pip install '{project}'" in said
    project.chmod(0o755)
