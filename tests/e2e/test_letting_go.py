"""Content that a running Entrepot lets go by its commands, and real clients that pull what stays."""

import json
import os
import re
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cast.registry import Registry
from tests.e2e import clients
from tests.e2e.clients import Reference
from tests.e2e.images import Layout, noise
from tests.e2e.stock import APP, GREETING, NAME, NEXT_APP, Stock, greeting
from tests.process import Entrepot, get, proxying, run

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.timeout(300)]

NewStore = Callable[[], Path]


def keep_newest(count: int) -> dict[str, Any]:
    selection = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": count}
    rule = {"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}
    return {"rules": [{**rule, "description": "keep the newest images of each repository, expire all others"}]}


def said(proxy: Entrepot, *words: str) -> Any:
    done = proxy.command(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cache_bytes(proxy: Entrepot) -> int:
    return sum(path.stat().st_size for path in (proxy.cache / "blobs").glob("*/*/*"))


def test_of_two_images_that_share_a_layer_one_expires_and_the_other_pulls_without_the_upstream(
    images: Stock, upstream: Registry, tmp_path: Path, new_store: NewStore
) -> None:
    more = {"lifecycle": [{"repositories": [f"{NAME}/*"], "policy": keep_newest(1)}]}
    upstreams = {NAME: {"url": f"http://{upstream.address}"}}
    with proxying(tmp_path / "entrepot", upstreams, **more) as proxy:
        for image in (APP, NEXT_APP):
            assert clients.skopeo_by_path(new_store(), proxy.address, image, GREETING) == greeting(image)
        before = cache_bytes(proxy)
        preview = said(proxy, "lifecycle", "preview")
        assert [result["imageTags"] for result in preview["previewResults"]] == [["v1"]]
        assert cache_bytes(proxy) == before
        applied = said(proxy, "lifecycle", "apply")
        assert applied["summary"]["freedBytes"] == preview["summary"]["freedBytes"] == before - cache_bytes(proxy) > 0
        upstream.stop()
        assert clients.podman(new_store(), proxy.address, NEXT_APP, GREETING) == greeting(NEXT_APP)
        assert proxy.get(f"/v2/{NAME}/{APP.repository}/manifests/{APP.tag}").status >= 500
        upstream.start()
        assert clients.skopeo_by_path(new_store(), proxy.address, APP, GREETING) == greeting(APP)


def test_a_pull_by_digest_survives_as_long_as_no_policy_speaks_of_it(
    images: Stock, upstream: Registry, proxy: Entrepot, new_store: NewStore
) -> None:
    source = f"docker://{proxy.address}/{NAME}/{APP.repository}@{images.app_image['digest']}"
    copy = ["skopeo", "copy", "--src-tls-verify=false", "--preserve-digests", source]
    run([*copy, f"oci:{new_store() / 'out'}:x"])
    done = proxy.command("lifecycle", "apply")
    assert (done.returncode, done.stdout) == (0, "no lifecycle policies are configured: nothing goes but for space\n")
    upstream.stop()
    run([*copy, f"oci:{new_store() / 'out'}:x"])


def test_kept_indexes_of_three_platforms_pull_whole_without_the_upstream(
    clients_installed: None, tmp_path: Path, new_store: NewStore
) -> None:
    repository = "team/many"
    with Registry(tmp_path / "upstream", tmp_path / "storage").running() as registry:
        _push_indexes(Layout(tmp_path / "layout"), registry, repository, 8)
        more = {"lifecycle": [{"repositories": [f"{NAME}/team/*"], "policy": keep_newest(3)}]}
        upstreams = {NAME: {"url": f"http://{registry.address}"}}
        with proxying(tmp_path / "entrepot", upstreams, **more) as proxy:
            for number in range(8):
                _mirror(proxy, repository, f"v{number}", new_store())
            applied = said(proxy, "lifecycle", "apply")
            assert applied["summary"]["expired"] == 5
            gone = {tag for result in applied["previewResults"] for tag in result["imageTags"]}
            assert gone == {f"v{number}" for number in range(5)}
            # Three of: an index and three platforms, each with a manifest, a config and a layer; and one shared layer.
            assert len(list((proxy.cache / "blobs").glob("*/*/*"))) == 3 * (1 + 3 * 3) + 1
            registry.stop()
            for number in range(5, 8):
                _mirror(proxy, repository, f"v{number}", new_store())


def test_commands_about_single_contents(
    images: Stock, upstream: Registry, proxy: Entrepot, new_store: NewStore
) -> None:
    pull = clients.skopeo_by_path
    for image in (APP, NEXT_APP):
        pull(new_store(), proxy.address, image, GREETING)
    assert proxy.command("pin", "--list").stdout == "nothing is pinned\n"
    assert proxy.command("pin", str(APP)).returncode == 0
    assert said(proxy, "pin", "--list") == [{"pattern": str(APP), "origin": "command"}]
    asked = proxy.command("purge", str(NEXT_APP))
    assert (asked.returncode, "--yes" in asked.stderr) == (2, True)
    refused = proxy.command("purge", str(APP), "--yes")
    assert (refused.returncode, "1 stay" in refused.stdout) == (1, True)
    purged = said(proxy, "purge", str(NEXT_APP), "--yes")
    assert [each["imageTags"] for each in purged["purged"]] == [["v2"]]
    assert proxy.command("purge", str(NEXT_APP), "--yes").stdout == f"nothing held matches {NEXT_APP}\n"
    assert proxy.command("unpin", str(APP)).returncode == 0
    assert proxy.command("unpin", str(APP)).returncode == 1
    whole = said(proxy, "purge", f"{NAME}/*", "--yes")
    assert whole["summary"]["purged"] == 2, "the index and the image of it that was pulled"
    assert cache_bytes(proxy) == 0
    assert pull(new_store(), proxy.address, APP, GREETING) == greeting(APP)


def test_a_verification_finds_what_went_bad_and_the_next_pull_heals_it(
    images: Stock, upstream: Registry, tmp_path: Path, new_store: NewStore
) -> None:
    upstreams = {NAME: {"url": f"http://{upstream.address}"}}
    folder = tmp_path / "entrepot"
    with proxying(folder, upstreams) as proxy:
        clients.skopeo_by_path(new_store(), proxy.address, APP, GREETING)
        assert said(proxy, "verify")["summary"]["bad"] == 0
        path = folder / "cache/blobs" / images.shared_layer.replace(":", f"/{images.shared_layer[7:9]}/")
        seal = path.stat().st_mtime_ns
        path.chmod(0o644)
        with path.open("r+b") as file:
            file.seek(1000)
            file.write(b"rot")
        os.utime(path, ns=(seal, seal))
        found = proxy.command("verify")
        assert found.returncode == 1
        assert images.shared_layer in found.stdout
        assert clients.skopeo_by_path(new_store(), proxy.address, APP, GREETING) == greeting(APP)
        assert proxy.command("verify").returncode == 0
        # The log tells of the content that was bad, as it must.
        proxy.log.write_text(proxy.log.read_text().replace("Traceback", "traceback"))


def test_a_reload_with_a_bad_policy_keeps_the_old_one(upstream: Registry, tmp_path: Path, new_store: NewStore) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(keep_newest(1)))
    more = {"lifecycle": [{"repositories": [f"{NAME}/*"], "policy_file": str(policy)}]}
    with proxying(tmp_path / "entrepot", {NAME: {"url": f"http://{upstream.address}"}}, **more) as proxy:
        for image in (APP, NEXT_APP):
            clients.skopeo_by_path(new_store(), proxy.address, image, GREETING)
        policy.write_text(json.dumps(keep_newest(0)))
        assert _reloads(proxy, "refused") == 1
        assert _expiring(proxy) == 1
        policy.write_text(json.dumps(keep_newest(2)))
        assert _reloads(proxy, "taken") == 1
        assert _expiring(proxy) == 0
        proxy.says("countNumber")


def test_commands_say_so_where_nothing_runs(tmp_path: Path) -> None:
    nobody = Entrepot(tmp_path, {"admin": "127.0.0.1:1"})
    for words in (["verify"], ["purge", "a/b", "--yes"], ["pin", "--list"], ["lifecycle", "preview"]):
        done = nobody.command(*words)
        assert done.returncode == 1, words
        assert "is it running" in done.stderr
        assert "Traceback" not in done.stderr


def _expiring(proxy: Entrepot) -> int:
    """By the policies in force."""
    url = f"http://127.0.0.1:{proxy.admin}/api/v1/lifecycle/preview"
    with urllib.request.urlopen(urllib.request.Request(url, b"{}", {"Content-Type": "application/json"})) as answer:
        return int(json.loads(answer.read().splitlines()[-1])["summary"]["expired"])


def _reloads(proxy: Entrepot, result: str) -> int:
    """Sends the signal, and waits until a reload has ended so."""
    before = _counted(proxy, result)
    proxy.process.signal(signal.SIGHUP)
    while (now := _counted(proxy, result)) == before:
        pass
    return now


def _counted(proxy: Entrepot, result: str) -> int:
    text = get(proxy.admin, "/metrics").body.decode()
    found = re.search(rf'entrepot_reloads_total{{result="{result}"}} ([0-9.]+)', text)
    assert found is not None
    return int(float(found[1]))


def _push_indexes(layout: Layout, registry: Registry, repository: str, count: int) -> None:
    base = layout.layer({"usr/share/noise": noise(100_000, 1)})
    for number in range(count):
        children = [
            layout.image([base, layout.layer({"etc/which": f"{number} {platform}".encode()})], platform)
            for platform in ("amd64", "arm64", "s390x")
        ]
        layout.tag(f"v{number}", layout.index(children))
    for number in range(count):
        target = f"docker://{registry.address}/{repository}:v{number}"
        run(["skopeo", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false",
             f"oci:{layout.folder}:v{number}", target])  # fmt: skip


def _mirror(proxy: Entrepot, repository: str, tag: str, store: Path) -> None:
    image = Reference(NAME, repository, tag)
    run(["skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false",
         f"docker://{proxy.address}/{image}", f"oci:{store / 'out'}:{tag}"])  # fmt: skip
