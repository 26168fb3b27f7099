"""The users of a htpasswd file, as ``htpasswd -B`` writes them: bcrypt and nothing else.

What a hash must look like: Provos and Mazieres, "A Future-Adaptable Password Scheme"; ``$2a$``, ``$2b$`` and ``$2y$``
are the same for passwords of today.
"""

import hashlib
import re
from collections.abc import Mapping

_HASH = re.compile(rb"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_COSTS = range(4, 16)
"""The time doubles with each; one of 15 takes some seconds."""
_LONGEST_NAME = 255
HTPASSWD_LARGEST = 16 << 20
"""Bytes of a file."""


class HtpasswdInvalid(ValueError):
    """The sentence names a line, and quotes nothing of it."""


def parse_htpasswd(content: bytes) -> dict[str, bytes]:
    """Hashes by user. Raises HtpasswdInvalid."""
    users: dict[str, bytes] = {}
    for number, raw in enumerate(content.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        name, _, written = line.partition(b":")
        found = _HASH.fullmatch(written)
        if found is None:
            raise HtpasswdInvalid(f"line {number} is not USER:HASH with a hash of bcrypt, as htpasswd -B writes it")
        if int(found[1]) not in _COSTS:
            raise HtpasswdInvalid(f"line {number} has a cost of bcrypt that is not between 4 and 15")
        user = _user(name, number)
        if user in users:
            raise HtpasswdInvalid(f"line {number} has a user that stands above already")
        users[user] = written
    return users


def proof_of(users: Mapping[str, bytes], user: str) -> str:
    """A mark of a user's password, by which a token that rests on it is known to be outlived when that changes. Empty
    where there is no such user. It tells nothing about the password: what is marked is a salted hash."""
    written = users.get(user)
    return hashlib.sha256(user.encode() + b":" + written).hexdigest()[:16] if written is not None else ""


def _user(name: bytes, number: int) -> str:
    try:
        user = name.decode()
    except UnicodeDecodeError:
        raise HtpasswdInvalid(f"line {number} has a user that is not UTF-8") from None
    if not user or len(user) > _LONGEST_NAME or not user.isprintable():
        raise HtpasswdInvalid(f"line {number} has no user, or one that cannot be printed")
    return user
