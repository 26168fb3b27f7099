"""Who has signed a bundle, and what is taken of one that nobody did."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles.cast import Parcel, member
from tests.bundles.conftest import UPSTREAMS, Site
from tests.process import proxying


def key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """As OpenSSL makes one: private and public."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: key_pair(folder, name) for name in ("ours", "theirs")}


@pytest.fixture(scope="module")
def strict(keys: dict[str, tuple[Path, Path]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Takes nothing that we have not signed."""
    wanted = {"keys": [str(keys["ours"][1])], "require_signature": True}
    with proxying(tmp_path_factory.mktemp("strict"), UPSTREAMS, offline=True, **{"import": wanted}) as entrepot:
        yield Site(entrepot)


@pytest.fixture
def parcel(near: Site, mine: str, tmp_path: Path) -> Parcel:
    made = Parcel()
    made.tag(f"docker.io/{mine}/app:v1", made.image(mine.encode() * 100))
    near.does("import", made.folder(tmp_path / "made"))
    return made


def signed(near: Site, mine: str, to: Path, key: Path | None) -> Path:
    near.does("export", f"docker.io/{mine}/*", "--to", to, *(("--sign", key) if key is not None else ()))
    return to


def test_what_is_signed_by_a_key_of_the_configuration_is_taken(
    near: Site, strict: Site, parcel: Parcel, mine: str, keys: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    bundle = signed(near, mine, tmp_path / "b.tar", keys["ours"][0])
    strict.does("import", bundle, "--key", keys["ours"][1])
    assert strict.manifest(f"{mine}/app", "v1").status == 200


@pytest.mark.parametrize("who", ["theirs", "nobody"])
def test_what_others_have_signed_or_nobody_is_not(
    who: str, near: Site, strict: Site, parcel: Parcel, mine: str, keys: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    bundle = signed(near, mine, tmp_path / "b.tar", keys[who][0] if who in keys else None)
    why = "its signature is of no key that is trusted here" if who in keys else "it is not signed"
    for words in ((), ("--key", keys["ours"][1]), ("--dry-run",)):
        said = strict("import", bundle, *words)
        assert (said.status, why in said.out) == (1, True), said.out
    near_said = near("import", bundle, "--key", keys["ours"][1])
    assert (near_said.status, why in near_said.out) == (1, True), "the command's own key counts without a configuration"
    assert strict.manifest(f"{mine}/app", "v1").status != 200


def test_a_list_that_was_changed_is_not_the_one_that_was_signed(
    near: Site, strict: Site, parcel: Parcel, mine: str, keys: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    folder = signed(near, mine, tmp_path / "b", keys["ours"][0])
    listed = folder / "entrepot.json"
    listed.write_text(listed.read_text().replace(f"{mine}/app:v1", f"{mine}/app:v2"))
    said = strict("import", folder)
    assert (said.status, "no key that is trusted here" in said.out) == (1, True)
    assert strict.manifest(f"{mine}/app", "v2").status != 200


def test_a_foreign_image_beside_a_signed_list_is_not_taken(
    near: Site, strict: Site, parcel: Parcel, mine: str, keys: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    folder = signed(near, mine, tmp_path / "b", keys["ours"][0])
    evil = Parcel()
    evil.tag(f"docker.io/{mine}/evil:v1", evil.image(b"evil"))
    for name, content in evil.files():
        if name != "entrepot.json":
            (folder / name).write_bytes(content)
    strict.does("import", folder)
    assert strict.manifest(f"{mine}/app", "v1").status == 200
    assert strict.manifest(f"{mine}/evil", "v1").status != 200
    assert strict("import", evil.folder(tmp_path / "evil")).status == 1


def test_a_signature_is_one_that_openssl_checks(
    near: Site, parcel: Parcel, mine: str, keys: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    folder = signed(near, mine, tmp_path / "b", keys["ours"][0])
    signature = tmp_path / "s"
    signature.write_bytes(base64.b64decode((folder / "entrepot.json.sig").read_bytes()))
    check: list[str | Path] = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-rawin",
        "-pubin",
        "-inkey",
        keys["ours"][1],
        "-sigfile",
        signature,
    ]
    subprocess.run([*check, "-in", folder / "entrepot.json"], check=True, capture_output=True)


def test_a_signature_that_is_none_is_no_traceback(near: Site, strict: Site, mine: str, tmp_path: Path) -> None:
    made = Parcel()
    made.tag(f"docker.io/{mine}/app:v1", made.image(b"x"))
    listed = json.dumps({"format": "entrepot bundle 1", "created": 0, "images": [], "contents": {}}).encode()
    bundle = tmp_path / "b.tar"
    bundle.write_bytes(made.tar(member("entrepot.json", listed), member("entrepot.json.sig", b"\xff\x00not base64")))
    assert strict("import", bundle).status == 1
    assert near("import", bundle).status == 1


def test_wrong_keys_are_told(near: Site, keys: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    assert near("export", "--all", "--to", tmp_path / "x.tar", "--sign", keys["ours"][1]).status == 2
    (tmp_path / "b").mkdir()
    assert near("import", tmp_path / "b", "--key", keys["ours"][0]).status == 2
