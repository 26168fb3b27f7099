"""Our own secrets, before a client meets one that cannot be read."""

from pathlib import Path

import yaml

from proxy.admin.credentials import OwnCredentials
from proxy.config import load


async def test_a_secret_that_went_is_told_until_it_is_back(tmp_path: Path) -> None:
    secret, config = tmp_path / "secret", tmp_path / "entrepot.yaml"
    secret.write_text("s3cret")
    auth = {"type": "basic", "username": "me", "password_file": str(secret)}
    config.write_text(yaml.safe_dump({"upstreams": {"registry.test": {"auth": auth}, "other.test": {}}}))
    credentials = OwnCredentials(load(config, {"HOME": str(tmp_path)}).settings, {})
    await credentials.check()
    assert credentials.troubles() == {}
    secret.unlink()
    await credentials.check()
    [(what, why)] = credentials.troubles().items()
    assert (what, str(secret) in why) == ("credentials of registry.test", True)
    secret.write_text("s3cret")
    await credentials.check()
    assert credentials.troubles() == {}


async def test_a_login_that_many_upstreams_share_is_read_once_and_told_of_each(tmp_path: Path) -> None:
    secret, config = tmp_path / "secret", tmp_path / "entrepot.yaml"
    secret.write_text("s3cret")
    egress = {"proxy": "http://proxy.test:3128", "username": "me", "password_file": str(secret)}
    config.write_text(yaml.safe_dump({"egress": egress, "upstreams": {f"{n}.test": {} for n in "abc"}}))
    settings = load(config, {"HOME": str(tmp_path)}).settings
    credentials = OwnCredentials(settings, {})
    assert len(credentials.logins) == 1
    secret.unlink()
    await credentials.check()
    assert list(credentials.troubles()) == [f"credentials for the proxy of {n}.test" for n in "abc"]


async def test_the_login_of_a_proxy_is_looked_at_too(tmp_path: Path) -> None:
    secret, config = tmp_path / "secret", tmp_path / "entrepot.yaml"
    secret.write_text("s3cret")
    egress = {"proxy": "http://proxy.test:3128", "username": "me", "password_file": str(secret)}
    config.write_text(yaml.safe_dump({"upstreams": {"registry.test": {"egress": egress}, "other.test": {}}}))
    credentials = OwnCredentials(load(config, {"HOME": str(tmp_path)}).settings, {})
    secret.unlink()
    await credentials.check()
    assert list(credentials.troubles()) == ["credentials for the proxy of registry.test"]
