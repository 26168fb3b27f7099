"""Who may have which operation of the admin listener."""

import logging
from base64 import b64encode
from pathlib import Path

import pytest

from proxy.admin.gate import METRICS, AdminCaller, AdminDenied, AdminTokenNeeded, OperatorGate, is_loopback
from proxy.config import read_admin_token

TOKEN, OTHER = "canary-of-the-operator", "canary-of-somebody-else"
THERE = AdminCaller("10.0.0.9")
HERE = THERE._replace(address="127.0.0.1", here=True)
PASSWORDS = (TOKEN, f"{TOKEN}:", f"{TOKEN}:{OTHER}", ":")
BASIC = [f"Basic {TOKEN}", *(f"Basic {b64encode(words.encode()).decode()}" for words in PASSWORDS)]


def showing(caller: AdminCaller, token: str, scheme: str = "Bearer") -> AdminCaller:
    return caller._replace(authorization=f"{scheme} {token}")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture
def gate(file: Path) -> OperatorGate:
    return OperatorGate(read_admin_token, file)


async def test_whoever_is_here_needs_no_token_and_others_do(gate: OperatorGate) -> None:
    await gate.admit(HERE, "purge")
    await gate.admit(showing(THERE, TOKEN), "purge")
    await gate.admit(showing(THERE, TOKEN, "bearer"), "status")
    for password in (f"anybody:{TOKEN}", f":{TOKEN}"):  # as a browser sends it
        await gate.admit(showing(THERE, b64encode(password.encode()).decode(), "Basic"), "status")
    for operation in ("purge", "status", "contents", "reload"):
        with pytest.raises(AdminTokenNeeded):
            await gate.admit(THERE, operation)


@pytest.mark.parametrize("caller", [HERE, THERE], ids=["here", "there"])
@pytest.mark.parametrize(
    "shown",
    [
        f"Bearer {OTHER}",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer",
        "Bearer ",
        *BASIC,
    ],
)
async def test_a_wrong_one_counts_for_nobody_and_is_repeated_nowhere(
    gate: OperatorGate, caller: AdminCaller, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(AdminTokenNeeded) as refused:
        await gate.admit(caller._replace(authorization=shown), "purge")
    told = caplog.text + str(refused.value)
    assert "a wrong token" in told
    assert not [word for word in (TOKEN, OTHER, TOKEN[:-1]) if word in told]


async def test_metrics_are_for_everybody(gate: OperatorGate) -> None:
    await gate.admit(THERE, METRICS)
    await gate.admit(showing(THERE, OTHER), METRICS)


async def test_without_a_file_others_have_metrics_only(file: Path) -> None:
    gate = OperatorGate(read_admin_token)
    await gate.admit(HERE, "purge")
    await gate.admit(showing(HERE, OTHER), "purge")  # nobody says what a right one would be
    await gate.admit(THERE, METRICS)
    for caller in (THERE, showing(THERE, TOKEN)):
        with pytest.raises(AdminDenied, match="only for this machine"):
            await gate.admit(caller, "purge")
    gate.configure(file)
    await gate.admit(showing(THERE, TOKEN), "purge")


async def test_another_token_in_the_file_holds_at_once(gate: OperatorGate, file: Path) -> None:
    file.write_text(OTHER)
    await gate.admit(showing(THERE, OTHER), "purge")
    with pytest.raises(AdminTokenNeeded):
        await gate.admit(showing(THERE, TOKEN), "purge")


@pytest.mark.parametrize("content", [None, "", "short", "two words of a token", "ä" * 20])
async def test_a_file_without_a_token_lets_nobody_in_and_is_not_quoted(
    gate: OperatorGate, file: Path, content: str | None
) -> None:
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(AdminDenied, match="cannot be read") as denied:
        await gate.admit(showing(THERE, content or TOKEN), "purge")
    assert str(file) not in str(denied.value)
    await gate.admit(HERE, "purge")


async def test_a_page_of_another_site_is_nobody_from_here(gate: OperatorGate) -> None:
    for foreign in (HERE._replace(fetch_site="cross-site"), HERE._replace(host="a.test", origin="https://b.test")):
        for operation in (METRICS, "purge"):
            with pytest.raises(AdminDenied, match="page"):
                await gate.admit(foreign, operation)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_loopback_is_known_by_its_address(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected
