"""People with passwords, and those who ask for them."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import bcrypt

from tests.scenarios.client import Reply
from tests.scenarios.house import House

PASSWORDS = {"alice": "open sesame", "bob": "open barley"}


def htpasswd(file: Path, users: Mapping[str, str] = PASSWORDS) -> Path:
    """Written anew, at the lowest cost."""
    lines = [f"{name}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}" for name, word in users.items()]
    fresh = file.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n")
    fresh.chmod(0o600)
    fresh.replace(file)
    return file


def basic(user: str, password: str | None = None) -> dict[str, str]:
    """The header of a login; ``password`` is the user's own where it is left out."""
    login = f"{user}:{PASSWORDS[user] if password is None else password}"
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def ask(house: House, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Reply:
    """One exchange on a connection of its own."""
    async with await house.connect() as client:
        await client.ask(path, headers, method)
        return await client.reply(method)


async def token(house: House, headers: Mapping[str, str] | None = None, query: str = "service=entrepot") -> str:
    """What the proxy grants to a login, or to nobody."""
    reply = await ask(house, f"/token?{query}", headers)
    assert reply.status == 200, reply.body
    granted: str = json.loads(reply.body)["token"]
    return granted
