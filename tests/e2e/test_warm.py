"""What was warmed is pulled by real clients after its registry is gone."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cast.registry import Registry
from tests.e2e import clients
from tests.e2e.clients import Pull
from tests.e2e.images import MACHINE
from tests.e2e.stock import APP, GREETING, NEXT_APP, Stock, greeting
from tests.process import Entrepot

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

REPOSITORY = f"{APP.registry}/{APP.repository}"


@pytest.mark.parametrize("pull", [clients.skopeo_by_path, clients.containerd], ids=lambda pull: pull.__name__)
def test_images_of_one_platform_are_there_with_their_signatures_when_the_registry_is_not(
    pull: Pull, images: Stock, upstream: Registry, proxy: Entrepot, new_store: Callable[[], Path]
) -> None:
    said = proxy.command("warm", f"{REPOSITORY}:v*", "--platform", f"linux/{MACHINE}")
    assert said.returncode == 0, said.stdout + said.stderr
    assert {line.split()[0] for line in said.stdout.splitlines()[:2]} == {str(APP), str(NEXT_APP)}
    upstream.stop()
    assert set(upstream.blob_transfers().values()) == {1}
    for image in (APP, NEXT_APP):
        assert pull(new_store(), proxy.address, image, GREETING) == greeting(image)
    base = f"/v2/{REPOSITORY}/manifests"
    assert proxy.get(f"{base}/{images.signature['digest']}").status == 200
    assert proxy.get(f"{base}/{images.referrers_tag}").status == 200
    listed = json.loads(images.layout.read(images.app["digest"]))["manifests"]
    [foreign] = [each["digest"] for each in listed if each["digest"] != images.app_image["digest"]]
    assert proxy.get(f"{base}/{foreign}").status != 200
