"""The book of registries: what stands in the configuration is there from the start, and nothing is done for it yet."""

import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.config import Settings, load
from proxy.core.errors import UpstreamUnknown, UpstreamUnreachable
from proxy.registries import Registries
from proxy.tasks.jobs import Jobs
from tests.cast.authority import Authority

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


async def test_hosts_of_a_pattern_never_keep_out_what_is_configured(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.registries._HOSTS", 2)
    registries = Registries(settings_of(tmp_path, PLAIN), jobs)
    for host in ("x.c.test", "y.c.test"):
        registries.get(host)
    with pytest.raises(UpstreamUnknown):
        registries.get("z.c.test")
    assert registries.get("a.test").name == "a.test"


async def test_an_upstream_whose_ca_file_vanished_keeps_nobody_from_the_others(jobs: Jobs, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    settings = settings_of(tmp_path, {**PLAIN, "d.test": {"ca_file": str(authority.ca_file)}})
    authority.ca_file.unlink()
    registries = Registries(settings, jobs)
    assert registries.get("a.test").name == "a.test"
    with pytest.raises(UpstreamUnreachable, match="ca_file"):
        registries.get("d.test")
