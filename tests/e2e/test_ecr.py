"""Real clients pull through Entrepot from a registry that answers as ECR does, with tokens from an AWS API."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cast.aws import REGION, PrivateRegistry, aws_credentials, make_bucket, moto, password_of
from tests.e2e import clients
from tests.e2e.clients import Pull, Reference
from tests.e2e.stock import APP, GREETING, Stock, greeting
from tests.process import Entrepot, get, proxying, run

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.timeout(300)]

NAME = f"123456789012.dkr.ecr.{REGION}.amazonaws.com"
IMAGE = Reference(NAME, APP.repository, APP.tag)


@pytest.fixture
def behind() -> Iterator[ExitStack]:
    """What stands behind Entrepot; closing it takes ECR and AWS away."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def aws(behind: ExitStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    aws_credentials(monkeypatch, tmp_path, "canary-secret-key")
    return behind.enter_context(moto(tmp_path))


@pytest.fixture
def ecr(behind: ExitStack, aws: str, images: Stock, tmp_path: Path) -> PrivateRegistry:
    make_bucket(aws, "layers")
    registry = PrivateRegistry(tmp_path, aws, "layers")
    behind.enter_context(registry.running())
    push(registry, images, IMAGE)
    return registry


def push(registry: PrivateRegistry, images: Stock, image: Reference) -> None:
    """The stock's image under another name."""
    source = f"oci:{images.layout.folder}:{APP.repository.replace('/', '-')}-{APP.tag}"
    target = f"docker://127.0.0.1:{registry.port}/{image.repository}:{image.tag}"
    copy = ["skopeo", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false"]
    run([*copy, "--dest-creds", f"AWS:{password_of()}", source, target])


@pytest.fixture
def proxy(aws: str, ecr: PrivateRegistry, tmp_path: Path) -> Iterator[Entrepot]:
    auth = {"type": "ecr", "region": REGION, "endpoint_url": aws}
    with proxying(tmp_path / "entrepot", {NAME: {"url": ecr.url, "auth": auth}}) as entrepot:
        yield entrepot


@pytest.mark.parametrize(
    "pull",
    [clients.docker_by_path, clients.containerd, clients.podman, clients.skopeo_by_path, clients.skopeo_by_mirror],
    ids=lambda pull: pull.__name__,
)
def test_a_client_without_credentials_pulls_from_ecr_and_again_when_ecr_and_aws_are_gone(
    pull: Pull, behind: ExitStack, ecr: PrivateRegistry, proxy: Entrepot, new_store: Callable[[], Path]
) -> None:
    assert pull(new_store(), proxy.address, IMAGE, GREETING) == greeting(APP)
    behind.close()
    with pytest.raises(OSError, match="refused"):
        get(ecr.port, "/v2/")
    assert pull(new_store(), proxy.address, IMAGE, GREETING) == greeting(APP)
    log = proxy.log.read_text()
    assert password_of() not in log
    assert "canary-secret-key" not in log
    assert "X-Amz-Signature" not in log


def test_a_token_that_is_refused_for_a_while_is_taken_again_without_a_restart(
    ecr: PrivateRegistry, images: Stock, proxy: Entrepot, new_store: Callable[[], Path]
) -> None:
    other = Reference(NAME, "team/other", "v1")
    push(ecr, images, other)
    assert clients.skopeo_by_path(new_store(), proxy.address, IMAGE, GREETING) == greeting(APP)
    ecr.accept("nobody-knows")
    refused = proxy.get(f"/v2/{NAME}/{other.repository}/manifests/{other.tag}")
    assert (refused.status, b"DENIED" in refused.body) == (403, True)
    ecr.accept(password_of())
    assert clients.skopeo_by_path(new_store(), proxy.address, other, GREETING) == greeting(APP)


def test_a_profile_that_does_not_exist_is_named_in_the_log(aws: str, ecr: PrivateRegistry, tmp_path: Path) -> None:
    nobody = {"type": "ecr", "region": REGION, "endpoint_url": aws, "profile": "nobody"}
    with proxying(tmp_path / "entrepot", {NAME: {"url": ecr.url, "auth": nobody}}) as entrepot:
        answer = entrepot.get(f"/v2/{NAME}/{APP.repository}/manifests/{APP.tag}")
    assert answer.status >= 500
    assert b"nobody" not in answer.body
    assert "nobody" in entrepot.log.read_text()
