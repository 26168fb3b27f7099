"""Registries that ask who is there: tokens that die in the middle of a pull, and passwords."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.cast.registry import Registry
from tests.cast.tokens import TokenServer
from tests.e2e import clients
from tests.e2e.stock import APP, GREETING, NAME, Stock, greeting
from tests.process import Entrepot, ProcessFailed, get, proxying

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

USER, PASSWORD = "puller", "open sesame"
HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with TokenServer(tmp_path).serving() as server:
        yield server


@pytest.fixture
def guarded(images: Stock, tokens: TokenServer, tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "guarded", images.storage, tokens.registry_settings).running() as registry:
        yield registry


@pytest.fixture
def proxy(guarded: Registry, tmp_path: Path) -> Iterator[Entrepot]:
    with proxying(tmp_path / "entrepot", {NAME: {"url": f"http://{guarded.address}"}}) as entrepot:
        yield entrepot


def test_one_token_serves_a_whole_pull(
    tokens: TokenServer, guarded: Registry, proxy: Entrepot, new_store: Callable[[], Path]
) -> None:
    assert get(guarded.port, "/v2/").status == 401
    assert clients.skopeo_by_path(new_store(), proxy.address, APP, GREETING) == greeting(APP)
    assert tokens.grants == [f"repository:{APP.repository}:pull"]


def test_a_token_that_dies_in_the_middle_of_a_pull_costs_one_refresh(
    images: Stock, tokens: TokenServer, guarded: Registry, proxy: Entrepot
) -> None:
    tokens.lifetimes = [2.0]
    at = f"/v2/{NAME}/{APP.repository}"
    manifest = proxy.get(f"{at}/manifests/{images.app_image['digest']}")
    assert manifest.status == 200
    _wait_until_refused(guarded, tokens.granted[0])
    refused = guarded.refusals()
    described = json.loads(manifest.body)
    blobs = [described["config"]["digest"], *(layer["digest"] for layer in described["layers"])]
    with ThreadPoolExecutor(len(blobs)) as pool:
        answers = list(pool.map(lambda digest: proxy.get(f"{at}/blobs/{digest}"), blobs))
    assert [answer.body for answer in answers] == [images.layout.read(digest) for digest in blobs]
    assert len(tokens.grants) == 2
    guarded.stop()
    assert guarded.refusals() > refused
    assert set(guarded.blob_transfers().values()) == {1}


def test_a_password_file_opens_a_registry_that_asks_for_basic_credentials(
    images: Stock, tmp_path: Path, new_store: Callable[[], Path]
) -> None:
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    auth = {"htpasswd": {"realm": "basic", "path": str(tmp_path / "htpasswd")}}
    with Registry(tmp_path / "guarded", images.storage, {"auth": auth}).running() as registry:
        assert get(registry.port, "/v2/").status == 401
        with _signed_in(tmp_path, registry.address, PASSWORD) as proxy:
            assert clients.skopeo_by_path(new_store(), proxy.address, APP, GREETING) == greeting(APP)
            assert PASSWORD not in proxy.log.read_text()


def test_a_wrong_password_is_a_refusal_and_is_not_shown(
    images: Stock, tmp_path: Path, new_store: Callable[[], Path]
) -> None:
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    auth = {"htpasswd": {"realm": "basic", "path": str(tmp_path / "htpasswd")}}
    with Registry(tmp_path / "guarded", images.storage, {"auth": auth}).running() as registry:
        with _signed_in(tmp_path, registry.address, "open barley") as proxy:
            with pytest.raises(ProcessFailed):
                clients.skopeo_by_path(new_store(), proxy.address, APP, GREETING)
            refusal = proxy.get(f"/v2/{NAME}/{APP.repository}/manifests/{APP.tag}")
            assert refusal.status == 403
            assert b"barley" not in refusal.body + proxy.log.read_bytes()
        assert registry.refusals() > 1  # the first is the challenge


def test_credentials_buy_a_token_at_the_realm_that_the_registry_names(images: Stock, tmp_path: Path) -> None:
    with (
        TokenServer(tmp_path, (USER, PASSWORD)).serving() as tokens,
        Registry(tmp_path / "guarded", images.storage, tokens.registry_settings).running() as registry,
        _signed_in(tmp_path, registry.address, PASSWORD, realms=[tokens.host]) as proxy,
    ):
        assert proxy.get(f"/v2/{NAME}/{APP.repository}/manifests/{APP.tag}").status == 200
        assert tokens.grants == [f"repository:{APP.repository}:pull"]


def _signed_in(folder: Path, registry: str, password: str, **more: object) -> AbstractContextManager[Entrepot]:
    (folder / "password").write_text(f"{password}\n")
    (folder / "password").chmod(0o600)
    auth = {"type": "basic", "username": USER, "password_file": str(folder / "password")}
    return proxying(folder / "entrepot", {NAME: {"url": f"http://{registry}", "auth": auth, **more}})


def _wait_until_refused(registry: Registry, token: str) -> None:
    deadline = time.monotonic() + 30
    while get(registry.port, f"/v2/{APP.repository}/tags/list", {"Authorization": f"Bearer {token}"}).status != 401:
        assert time.monotonic() < deadline, "the registry goes on accepting the token"
        time.sleep(0.1)
