"""Files of a node on disk: what is read, and that nothing is touched that is not ours."""

import os
from pathlib import Path

import pytest

from proxy.clients.disk import Deed, Done, WriteRefused, read_certificates, read_node, remove, write
from proxy.clients.kinds import SETUPS
from proxy.clients.setups import CA_FILE, ClientFile
from tests.cast.authority import Authority
from tests.clients.cast import CA, GHCR, HUB, PLAIN, SECURE, asked, wish

CERTS = "etc/containerd/certs.d"
HOSTS = f"{CERTS}/docker.io/hosts.toml"
DAEMON = "etc/docker/daemon.json"
FILE = ClientFile(HOSTS, "server = 1\n")


def done(deeds: list[Deed]) -> dict[str, Done]:
    return {deed.path: deed.done for deed in deeds}


def test_what_is_written_is_for_all_to_read_and_written_once(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert done(write(tmp_path, [FILE])) == {HOSTS: Done.WRITTEN}
    finally:
        os.umask(before)
    assert (tmp_path / HOSTS).stat().st_mode & 0o777 == 0o644
    assert (tmp_path / HOSTS).read_text().endswith("\nserver = 1\n")
    assert done(write(tmp_path, [FILE])) == {HOSTS: Done.UNCHANGED}
    assert done(write(tmp_path, [FILE._replace(text="server = 2\n")])) == {HOSTS: Done.WRITTEN}
    assert os.listdir((tmp_path / HOSTS).parent) == ["hosts.toml"]


@pytest.mark.parametrize("kind", ["containerd", "docker"])
def test_a_file_of_somebody_else_is_not_touched_nor_any_other_then(kind: str, tmp_path: Path) -> None:
    files = [ClientFile("etc/other/file", "new\n"), *SETUPS[kind](wish(HUB)).files]
    place = tmp_path / files[1].path
    place.parent.mkdir(parents=True)
    for foreign in ("{}", '{"labels": ["mine=1"]}', "server = 1\n"):
        place.write_text(foreign)
        with pytest.raises(WriteRefused, match="not written by this command"):
            write(tmp_path, files)
        assert place.read_text() == foreign
    assert not (tmp_path / "etc/other").exists()


@pytest.mark.parametrize("kind", ["containerd", "docker"])
def test_a_file_that_was_changed_by_hand_is_not_touched(kind: str, tmp_path: Path) -> None:
    files = SETUPS[kind](wish(HUB)).files
    write(tmp_path, files)
    place = tmp_path / files[0].path
    place.write_text(place.read_text().replace("10.0.0.5", "10.0.0.6"))
    with pytest.raises(WriteRefused, match="changed by hand"):
        write(tmp_path, files)
    assert "10.0.0.6" in place.read_text()


def test_a_link_is_not_followed_to_be_written(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    other.mkdir()
    (root / CERTS).mkdir(parents=True)
    (root / CERTS / "docker.io").symlink_to(other)
    with pytest.raises(WriteRefused, match="leads out"):
        write(root, [FILE])
    (root / CERTS / "docker.io").unlink()
    (root / CERTS / "docker.io").mkdir()
    (root / HOSTS).symlink_to(other / "hosts.toml")
    with pytest.raises(WriteRefused, match="no plain file"):
        write(root, [FILE])
    assert not os.listdir(other)


def test_a_link_is_not_followed_to_be_removed(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    write(other, SETUPS["containerd"](wish(GHCR)).files)
    (root / CERTS).mkdir(parents=True)
    (root / CERTS / "ghcr.io").symlink_to(other / CERTS / "ghcr.io")
    assert done(write(root, SETUPS["containerd"](wish(HUB)).files)) == {HOSTS: Done.WRITTEN}
    assert (other / CERTS / "ghcr.io/hosts.toml").exists()


def test_what_a_cut_off_write_left_is_no_hindrance(tmp_path: Path) -> None:
    place = tmp_path / HOSTS
    place.parent.mkdir(parents=True)
    place.with_name(".hosts.toml.entrepot-new").write_text("half")
    write(tmp_path, [FILE])
    assert os.listdir(place.parent) == ["hosts.toml"]


def test_a_registry_that_is_no_upstream_any_more_loses_its_file_and_folder(tmp_path: Path) -> None:
    write(tmp_path, SETUPS["containerd"](wish(HUB, GHCR)).files)
    mine = tmp_path / CERTS / "mine.test/hosts.toml"
    mine.parent.mkdir()
    mine.write_text("server = 1\n")
    deeds = write(tmp_path, SETUPS["containerd"](wish(HUB)).files)
    assert done(deeds) == {HOSTS: Done.UNCHANGED, f"{CERTS}/ghcr.io/hosts.toml": Done.REMOVED}
    assert sorted(os.listdir(tmp_path / CERTS)) == ["docker.io", "mine.test"]


def test_a_file_that_was_changed_by_hand_stays_though_nothing_wants_it(tmp_path: Path) -> None:
    write(tmp_path, SETUPS["containerd"](wish(HUB, GHCR)).files)
    place = tmp_path / CERTS / "ghcr.io/hosts.toml"
    place.write_text(f"{place.read_text()}# mine\n")
    write(tmp_path, SETUPS["containerd"](wish(HUB)).files)
    assert place.exists()


def test_what_one_client_is_told_leaves_the_files_of_another(tmp_path: Path) -> None:
    for kind in ("containerd", "docker", "podman", "k3s", "rke2"):
        write(tmp_path, SETUPS[kind](wish(HUB)).files)
    for kind in ("containerd", "docker", "podman", "k3s", "rke2"):
        assert set(done(write(tmp_path, SETUPS[kind](wish(HUB)).files)).values()) == {Done.UNCHANGED}


def test_what_was_written_is_removed_for_one_client_and_nothing_else(tmp_path: Path) -> None:
    for kind in ("containerd", "k3s"):
        write(tmp_path, SETUPS[kind](wish(HUB, GHCR, proxy=SECURE, ca=CA)).files)
    changed, mine = (tmp_path / CERTS / name / "hosts.toml" for name in ("ghcr.io", "mine.test"))
    changed.write_text(f"{changed.read_text()}# mine\n")
    mine.parent.mkdir()
    mine.write_text("server = 1\n")
    assert done(remove(tmp_path, SETUPS["containerd"](wish(PLAIN)).files)) == {HOSTS: Done.REMOVED}
    assert sorted(os.listdir(tmp_path / CERTS)) == ["ghcr.io", "mine.test"]
    assert (tmp_path / CA_FILE).exists(), "another client may go by it"
    assert (tmp_path / "etc/rancher/k3s/registries.yaml").exists()
    assert remove(tmp_path, SETUPS["containerd"](wish(HUB)).files) == []


def test_a_node_is_read_with_the_folders_that_its_configuration_names(tmp_path: Path) -> None:
    (tmp_path / "etc/containerd").mkdir(parents=True)
    (tmp_path / "etc/containerd/config.toml").write_text(
        'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = "/opt/certs"\n'
    )
    (tmp_path / "opt/certs/docker.io").mkdir(parents=True)
    (tmp_path / "opt/certs/docker.io/hosts.toml").write_text('[host."http://10.0.0.5:5000"]\n')
    (tmp_path / "opt/certs/docker.io/client.key").write_text("secret")
    node = read_node(tmp_path)
    assert node.texts["opt/certs/docker.io/client.key"] == ""
    [chain] = asked(node, HUB)
    assert (chain.hops[0].is_proxy, chain.hops[0].place.path) == (True, "opt/certs/docker.io/hosts.toml")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"#" * (2 << 20)], ids=["no UTF-8", "too large"])
def test_a_file_that_cannot_be_used_is_told_and_not_passed_over(content: bytes, tmp_path: Path) -> None:
    (tmp_path / DAEMON).parent.mkdir(parents=True)
    (tmp_path / DAEMON).write_bytes(content)
    os.mkfifo(tmp_path / "etc/docker/pipe.json")
    (tmp_path / "etc/docker/loop").symlink_to(tmp_path / "etc")
    [chain] = asked(read_node(tmp_path), HUB)
    assert "cannot be read" in chain.troubles[0].what


def test_only_certificates_are_taken_for_certificates(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    for text in ("", "hello", "-----BEGIN PRIVATE KEY-----\n", "-----BEGIN CERTIFICATE-----\nMIIB\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match="it holds"):
            read_certificates(path)


def test_certificates_may_have_comments_beyond_ascii(tmp_path: Path) -> None:
    path = Authority(tmp_path).ca_file
    pem = f"# Főtanúsítvány\n{path.read_text()}"
    path.write_text(pem)
    assert read_certificates(path) == pem
