"""Whether a password is right. The hash takes a tenth of a second on purpose, so it is made in a thread."""

import functools
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

import bcrypt

from proxy.core.claims import TokenRefused
from proxy.core.doors import network_of
from proxy.tasks.off_loop import off_loop
from proxy.tasks.places import Places

_LONGEST = 72  # bytes that bcrypt looks at; htpasswd leaves out the rest too
_USUAL = b"$2b$10$"


class Passwords:
    """``pool`` makes the hashes, two at a time for all, in turn by the network that asks and the user it asks for;
    users that there are not count as one. Whoever guesses waits for himself, and not even a neighbour waits for him."""

    def __init__(self, users: Callable[[], Mapping[str, bytes]], pool: Executor) -> None:
        self._users = users
        self._pool = pool
        self._places = Places(1)

    async def require(self, user: str, password: bytes, address: str) -> None:
        """Raises TokenRefused where the password is not that user's."""
        if b"\0" in password:
            raise TokenRefused("the password holds a null byte")
        users = self._users()
        written = users.get(user)
        check = functools.partial(_is_right, password[:_LONGEST], written or _nobodys(users))
        whose = f"{network_of(address)} {user if written is not None else ''}"
        async with self._places.place(whose):
            right = await off_loop(self._pool, check)
        if written is None:
            raise TokenRefused("there is no such user")
        if not right:
            raise TokenRefused(f"the password of {user!a} is wrong")


def _nobodys(users: Mapping[str, bytes]) -> bytes:
    """A hash of no password, that costs an unknown user what it costs the others."""
    return next(iter(users.values()), _USUAL)[: len(_USUAL)] + b"." * 53


def _is_right(password: bytes, written: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, written)
    except ValueError:  # a salt that no bcrypt makes
        return False
