"""The book of registries: what stands in the configuration is there from the start, and nothing is done for it yet."""

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.config import Settings, load
from proxy.core.errors import ManifestUnknown, UpstreamRefused, UpstreamUnknown, UpstreamUnreachable
from proxy.core.names import Digest, Tag
from proxy.registries import Registries, registry_settings
from proxy.tasks.jobs import Jobs
from proxy.upstream.message import Kind
from proxy.upstream.network import Network
from proxy.upstream.registry import HttpRegistry
from proxy.upstream.schemes import ChallengeAuthorizer
from proxy.upstream.settings import RegistrySettings
from tests.cast import FaultUpstream, roles
from tests.cast.authority import Authority

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
PLAIN: dict[str, Any] = {"a.test": {}, "b.test": {}, "*.c.test": {}}


def settings_of(folder: Path, upstreams: dict[str, Any]) -> Settings:
    config = folder / "entrepot.yaml"
    config.write_text(yaml.safe_dump({"cache": {"path": str(folder / "cache")}, "upstreams": upstreams}))
    return load(config, {}).settings


async def test_configured_registries_are_there_before_they_are_asked_for(jobs: Jobs, tmp_path: Path) -> None:
    registries = Registries(settings_of(tmp_path, PLAIN), jobs)
    assert set(registries.status()) == {"a.test", "b.test"}
    made = registries.get("x.c.test")
    assert registries.get("x.c.test") is made
    assert registries.label("x.c.test") == "*.c.test"
    with pytest.raises(UpstreamUnknown):
        registries.get("c.test")


async def test_to_make_them_no_name_is_looked_up_and_no_thread_begins(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **_: looked.append(asked))
    await Registries(settings_of(tmp_path, PLAIN), jobs).close()
    assert looked == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("open-a.test")]


async def test_all_who_trust_alike_share_one_tls_context(jobs: Jobs, tmp_path: Path) -> None:
    own = {"ca_file": str(Authority(tmp_path).ca_file)}
    registries = Registries(settings_of(tmp_path, {**PLAIN, "d.test": own, "e.test": {"insecure": True}}), jobs)
    assert registries.trust("a.test") is registries.trust("b.test") is registries.trust("x.c.test")
    assert registries.trust("d.test") is not registries.trust("a.test")
    assert registries.trust("e.test") is not registries.trust("a.test")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", {}),
        ("images.test", {"url": "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com", "auth": {"type": "ecr"}}),
    ],
)
def test_an_ecr_registry_leads_to_its_bucket_of_layers_whatever_its_name_here_is(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    upstream = settings_of(tmp_path, {name: {**settings, "redirects": ["cdn.test"]}}).upstreams[name]
    found = registry_settings(name, upstream, 1).redirects
    assert found == ("cdn.test", "prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com")


async def test_hosts_that_strangers_make_up_keep_out_neither_each_other_nor_what_is_configured(
    jobs: Jobs, tmp_path: Path
) -> None:
    registries = Registries(settings_of(tmp_path, {**PLAIN, "*.d.test": {}}), jobs)
    real, named = registries.get("real.d.test"), registries.get("a.test")
    for number in range(2000):
        assert registries.get(f"h{number}.c.test").name == f"h{number}.c.test"
    assert len(registries.status()) < 400
    assert registries.get("real.d.test") is real
    assert registries.get("a.test") is named
    assert registries.get("h0.c.test").name == "h0.c.test", "it is made again"
    await registries.close()


async def test_what_a_forgotten_registry_was_asked_still_counts(jobs: Jobs, tmp_path: Path) -> None:
    registries = Registries(settings_of(tmp_path, PLAIN), jobs)
    registries.get("x.c.test").stats.answered(Kind.BLOB, 200, None)
    registries.get("x.c.test").stats.received("x.c.test/app", 7)
    registries.get("x.c.test").stats.waited(Kind.BLOB, 0.2, None)
    for number in range(1000):
        registries.get(f"h{number}.c.test")
    assert "x.c.test" not in registries.status()
    assert registries.requests() == {("*.c.test", "blob", "2xx"): 1}
    assert registries.received()["*.c.test",] == 7
    assert registries.grown() == {("*.c.test", "x.c.test/app"): 7}
    assert registries.grown() == {}, "it was told"
    assert registries.first_bytes()["*.c.test", "blob"].count == 1
    await registries.close()


async def test_a_host_that_is_not_there_costs_one_look_up_and_no_connection(jobs: Jobs, tmp_path: Path) -> None:
    registries = Registries(settings_of(tmp_path, {"*.invalid": {}}), jobs)
    with pytest.raises(UpstreamUnreachable, match="made-up"):
        await registries.get("made-up.invalid").manifest("app", Tag("1"))
    assert registries.requests() == {}, "nothing was sent, and nothing was tried again"
    assert "hosts not found" in registries.tables.made
    assert len(registries.tables.made["hosts not found"]) == 1
    await registries.close()


async def test_a_registry_that_is_forgotten_ends_when_what_it_does_is_done(jobs: Jobs) -> None:
    async with FaultUpstream() as up:
        gate = asyncio.Event()
        up.manifest("app", "1", RAW)
        up.plays("manifest", roles.holds(1, gate))
        network = Network(RegistrySettings("up", up.url), jobs)
        registry = HttpRegistry(network, ChallengeAuthorizer(network))
        asking = asyncio.create_task(registry.manifest("app", Tag("1")))
        while not up.ledger:
            await asyncio.sleep(0.001)
        registry.retire()
        gate.set()
        assert (await asking).raw == RAW
        await asyncio.sleep(0)
        with pytest.raises(UpstreamUnreachable, match="closing"):
            await registry.blob("app", Digest.of(b""))


async def test_an_upstream_whose_ca_file_vanished_keeps_nobody_from_the_others(jobs: Jobs, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    settings = settings_of(tmp_path, {**PLAIN, "d.test": {"ca_file": str(authority.ca_file)}})
    authority.ca_file.unlink()
    registries = Registries(settings, jobs)
    assert registries.get("a.test").name == "a.test"
    with pytest.raises(UpstreamUnreachable, match="ca_file"):
        registries.get("d.test")


async def test_names_that_strangers_ask_a_tier_for_share_its_connections_and_are_forgotten(
    jobs: Jobs, tmp_path: Path
) -> None:
    async with FaultUpstream() as up:
        up.manifest("app", "1", RAW)
        registries = Registries(settings_of(tmp_path, {"a.test": {}, "*": {"url": up.url}}), jobs)
        named = registries.get("a.test")
        for number in range(1000):
            assert (await registries.get(f"h{number}.wild.test").manifest("app", Tag("1"))).raw == RAW
        assert up.connections == 1
        assert up.ledger[-1].target == "/v2/app/manifests/1?ns=h999.wild.test"
        assert len(registries.status()) < 400
        assert registries.get("a.test") is named
        assert registries.requests() == {("*", "manifest", "2xx"): 1000}
        await registries.close()


async def test_a_name_of_a_tier_gets_nothing_that_is_meant_for_a_registry_of_that_name(
    jobs: Jobs, tmp_path: Path
) -> None:
    """Neither AWS tokens nor the login that stands under it in a Docker configuration."""
    logins = tmp_path / "config.json"
    logins.write_text('{"auths": {"ghcr.io": {"username": "me", "password": "s3cret"}}}')
    async with FaultUpstream() as up:
        up.manifest("app", "1", RAW)
        up.plays("manifest", roles.refuses(401, "UNAUTHORIZED", 'Basic realm="x"'))
        tier = {"url": up.url, "forward": "path", "auth": {"type": "dockerconfig", "file": str(logins)}}
        registries = Registries(settings_of(tmp_path, {"*": tier}), jobs)
        with pytest.raises(UpstreamRefused):
            await registries.get("ghcr.io").manifest("app", Tag("1"))
        for name in ("123456789012.dkr.ecr.us-east-1.amazonaws.com", "public.ecr.aws"):
            with pytest.raises(ManifestUnknown):
                await registries.get(name).manifest("app", Tag("1"))
            assert up.ledger[-1].target == f"/v2/{name}/app/manifests/1"
        assert not any("authorization" in seen.headers for seen in up.ledger)
        await registries.close()
