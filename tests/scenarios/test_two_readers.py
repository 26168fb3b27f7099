"""What a fault tells, and whom: canaries are planted wherever an upstream or the operator may have something that a
client must not read, or that nobody must, and then every output there is gets read.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from proxy.core.names import Digest
from tests.cast import Act, FaultUpstream, ForwardProxy, Guard, Line
from tests.cast.guard import basic
from tests.process import PROXY, Entrepot, run
from tests.scenarios.client import Client, request
from tests.scenarios.said import marked

USER, PASSWORD = "robot-canary", "pass+word/canary=1"
TOKEN, SIGNATURE, OF_A_CLIENT, PROXY_PASSWORD = "token-canary", "signature-canary", "client-canary", "proxy-canary"
PROSE, STORAGE, LINK, SECRET_FILE = "prose-canary", "storage-canary.example", "link-canary", "file-canary"
ENCODED = basic(USER, PASSWORD).removeprefix("Basic ")

OF_NOBODY = (PASSWORD, TOKEN, SIGNATURE, OF_A_CLIENT, PROXY_PASSWORD, ENCODED[4:16], ENCODED[-16:-4])
"""In no output at all, nor in part."""
OF_THE_OPERATOR = (USER, PROSE, STORAGE, LINK, SECRET_FILE, "127.0.0.1")
"""In the log and on the operator's screen, and before no client. The address is that of registries and the proxy."""

DIGEST = Digest.of(b"never there")
APP = "team/app"
PATHS = (f"manifests/{DIGEST}", "manifests/v1", f"blobs/{DIGEST}", "tags/list", "tags/list?n=2", f"referrers/{DIGEST}")


def says(status: int, body: bytes = b"", *headers: str) -> Act:
    """Prose wherever there is room for it: status line, headers and body."""

    async def act(line: Line) -> None:
        lines = [f"HTTP/1.1 {status} {PROSE}", f"Warning: 299 - {PROSE}", f"Content-Length: {len(body)}", *headers]
        lines += [f"Docker-Distribution-Api-Version: {PROSE}", f"X-Reason: {PROSE}"]
        await line.raw("\r\n".join([*lines, "", ""]).encode() + (b"" if line.seen.method == "HEAD" else body))

    return act


def error(message: str, code: str = "DENIED") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message, "detail": PROSE}]}).encode()


async def echoes(line: Line) -> None:
    """The credential without its ends."""
    sent = line.seen.headers.get("authorization", "")
    challenge = () if sent else ('WWW-Authenticate: Basic realm="x"',)
    await says(403 if sent else 401, error(f"{PROSE} said {sent[9:-3]}"), *challenge)(line)


JSON_TYPE = "Content-Type: application/json"
ACTS: Mapping[str, Act] = {
    "refuses.test": says(403, error(f"{PROSE}: visit https://evil.example and enter your password")),
    "code.test": says(403, error(PROSE, PROSE.upper())),
    "echoes.test": echoes,
    "fails.test": says(500, f"<html>{PROSE}</html>".encode(), "Content-Type: text/html"),
    "page.test": says(200, f"<html>{PROSE}</html>".encode(), "Content-Type: text/html"),
    "limits.test": says(429, error(PROSE, "TOOMANYREQUESTS"), f"Retry-After: {PROSE}"),
    "absent.test": says(404, error(PROSE, "NAME_UNKNOWN")),
    "odd.test": says(418, PROSE.encode()),
    "garbage.test": says(200, PROSE.encode(), "Content-Type: application/prose-canary", f"Location: {PROSE}"),
    "storage.test": says(307, b"", f"Location: http://{STORAGE}/x?X-Amz-Signature={SIGNATURE}"),
    "scheme.test": says(307, b"", f"Location: {PROSE}://{STORAGE}/{SIGNATURE}"),
    "listing.test": says(
        200, b'{"tags": ["a", "b"], "manifests": []}', JSON_TYPE, f'Link: <https://{LINK}/v2/x?last=a&n=1>; rel="next"'
    ),
}
GUARDED = ("wrong-login.test", "token.test", "foreign-realm.test", "lost-login.test")


class Place(NamedTuple):
    """A running proxy and the registries behind it."""

    entrepot: Entrepot
    upstreams: Mapping[str, FaultUpstream]
    secret: Path

    async def raw(self, port: int, octets: bytes) -> str:
        """Every byte that is answered."""
        async with await Client.connect(port) as client:
            await client.send(octets)
            return (await client.until_closed()).decode("latin-1")

    async def get(self, path: str, method: str = "GET") -> str:
        return await self.raw(self.entrepot.port, request(path, AS_A_CLIENT, method))

    async def admin(self, path: str, **headers: str) -> str:
        return await self.raw(self.entrepot.admin, request(path, {"Connection": "close", **headers}))

    async def log(self) -> str:
        async def ask(path: str) -> Any:
            async with await Client.connect(self.entrepot.port) as client:
                await client.ask(path)
                return await client.reply()

        await marked(self.entrepot.log, ask)
        return self.entrepot.log.read_text()


AS_A_CLIENT = {"Authorization": f"Bearer {OF_A_CLIENT}", "X-Registry-Auth": OF_A_CLIENT, "Connection": "close"}


@pytest.fixture
async def place(nothing_stays: None, tmp_path: Path) -> AsyncIterator[Place]:
    secret = tmp_path / SECRET_FILE
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    login = {"type": "basic", "username": USER, "password_file": str(secret)}
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(ForwardProxy(user=("another", "one")))
        ups = {name: await stack.enter_async_context(FaultUpstream()) for name in (*ACTS, *GUARDED)}
        for name, act in ACTS.items():
            for kind in ("manifest", "blob", "tags", "referrers", "ping"):
                ups[name].always(kind, act)
        for name in GUARDED:
            ups[name].guard(Guard(user=("somebody", "else") if name == "wrong-login.test" else None))
        ups["token.test"].always("token", says(200, json.dumps({"token": TOKEN}).encode(), JSON_TYPE))
        realm = f'WWW-Authenticate: Bearer realm="https://{STORAGE}/token",service="x"'
        for kind in ("manifest", "blob", "tags", "referrers", "ping"):
            ups["foreign-realm.test"].always(kind, says(401, error(PROSE), realm))
        upstreams: dict[str, Any] = {name: {"url": up.url, "auth": login} for name, up in ups.items()}
        upstreams["proxied.test"] = {
            "url": "http://proxied.test",
            "egress": {"proxy": proxy.url, "username": USER, "password_env": "CANARY_PASSWORD"},
        }
        entrepot = Entrepot(
            tmp_path / "proxy", {"upstreams": upstreams, "log": {"level": "debug"}, "transfers": {"patience": "0s"}}
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CANARY_PASSWORD", PROXY_PASSWORD)
            try:
                await asyncio.to_thread(entrepot.start)
                yield Place(entrepot, ups, secret)
            finally:
                await asyncio.to_thread(entrepot.dispose)


async def everything_asked(place: Place) -> dict[str, str]:
    """By what was asked, each upstream for all that it can be asked for."""
    said: dict[str, str] = {}

    async def ask(name: str, path: str, method: str) -> None:
        said[f"{method} {name} {path}"] = await place.get(f"/v2/{name}/{APP}/{path}", method)

    async def ask_all(*names: str) -> None:
        every = [(path, "GET") for path in PATHS] + [("manifests/v1", "HEAD"), (f"blobs/{DIGEST}", "HEAD")]
        await asyncio.gather(*(ask(name, *question) for name in names for question in every))

    await ask_all("proxied.test", *(name for name in place.upstreams if name != "lost-login.test"))
    away = place.secret.rename(place.secret.with_suffix(".away"))
    await ask_all("lost-login.test")
    away.rename(place.secret)
    return said


def found(words: tuple[str, ...], said: Mapping[str, str]) -> list[str]:
    return [f"{word} in the answer to {what}: {text}" for what, text in said.items() for word in words if word in text]


async def shown(place: Place) -> dict[str, str]:
    """What people see who type commands."""
    looked_at = ("--upstream", "echoes.test", "--upstream", "wrong-login.test", "--upstream", "refuses.test")
    commands = (("status", "--json"), ("doctor", "--json", *looked_at))
    done = await asyncio.gather(*(asyncio.to_thread(place.entrepot.command, *words) for words in commands))
    said = {" ".join(words[:2]): each.stdout + each.stderr for words, each in zip(commands, done, strict=True)}
    config = await asyncio.to_thread(run, [*PROXY, "config", "show", str(place.entrepot.config)])
    return {**said, "config show": config.decode()}


@pytest.mark.timeout(90)
async def test_each_output_tells_its_reader_what_is_his(place: Place) -> None:
    answers = await everything_asked(place)
    for name, up in place.upstreams.items():
        assert up.ledger, f"{name} was never asked: its scene shows nothing"
    faulty = {what: text for what, text in answers.items() if not text.startswith("HTTP/1.1 200")}
    assert len(faulty) > 0.8 * len(answers)
    open_to_all = {
        "health": await place.admin("/healthz"),
        "readiness": await place.admin("/readyz"),
        "nothing": await place.admin("/nothing"),
        "a foreign page": await place.admin("/api/v1/status", Origin="http://evil.example"),
        "no HTTP": await place.raw(place.entrepot.port, b"\x16\x03\x01\r\n\r\n"),
    }
    metrics, status = await place.admin("/metrics"), await place.admin("/api/v1/status")
    assert "HTTP/1.1 200" in metrics
    assert "HTTP/1.1 200" in status
    log = await place.log()
    assert found((*OF_NOBODY, *OF_THE_OPERATOR), answers | open_to_all | {"metrics": metrics}) == []
    screens = await shown(place)
    assert "refuses.test" in screens["doctor --json"]
    assert "refuses.test" in screens["config show"]
    assert found(OF_NOBODY, {"log": log, "status": status, **screens}) == []
    for word in (USER, PROSE, STORAGE, SECRET_FILE):
        assert word in log, f"{word} is the operator's to read"
    for what, text in faulty.items():
        told = re.search(r"\(request ([0-9a-f]{12})\)\r\n", text)
        assert told, f"{what}: {text}"
        assert f"request={told[1]}" in log, what
