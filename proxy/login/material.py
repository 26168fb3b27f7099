"""What the files of logins hold: users, keys of issuers, our own keys. Read whole, and taken whole or not at all."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from proxy.core.htpasswd import HTPASSWD_LARGEST, parse_htpasswd
from proxy.login import key_sets, token_keys
from proxy.login.key_sets import KeySet
from proxy.login.rules import NO_LOGINS, LoginRules
from proxy.login.token_keys import TokenKeys

T = TypeVar("T")

ReadFile = Callable[[Path, int], bytes]
"""The whole of a file of at most so many bytes. Raises ValueError with a sentence. Blocks."""


class Contents(NamedTuple):
    """Of the files as they are, bytes and all; None for what is not in a file."""

    htpasswd: bytes | None
    key_sets: tuple[bytes | None, ...]  # by issuer
    token_key: bytes | None


class Material(NamedTuple):
    """``key_sets`` has None for an issuer whose keys are at a URL, ``token_keys`` is None where no file holds any."""

    users: Mapping[str, bytes]
    key_sets: tuple[KeySet | None, ...]
    token_keys: TokenKeys | None


class LoginSecrets(NamedTuple):
    """Rules, with all that their files held when they were read."""

    rules: LoginRules
    contents: Contents
    material: Material

    @classmethod
    def read(cls, rules: LoginRules, read_file: ReadFile) -> "LoginSecrets":
        """Raises ValueError with a sentence. Blocks."""
        contents = read_contents(rules, read_file)
        return cls(rules, contents, material_of(rules, contents))


NO_SECRETS = LoginSecrets(NO_LOGINS, Contents(None, (), None), Material({}, (), None))


def files_of(rules: LoginRules) -> tuple[Path, ...]:
    """Those that ``read_contents`` reads."""
    keys = (issuer.keys for issuer in rules.issuers if isinstance(issuer.keys, Path))
    return tuple(file for file in (rules.htpasswd, *keys, rules.key_file) if file is not None)


def read_contents(rules: LoginRules, read_file: ReadFile) -> Contents:
    """Raises ValueError with a sentence. Blocks."""
    return Contents(
        read_file(rules.htpasswd, HTPASSWD_LARGEST) if rules.htpasswd is not None else None,
        tuple(
            read_file(issuer.keys, key_sets.LARGEST) if isinstance(issuer.keys, Path) else None
            for issuer in rules.issuers
        ),
        read_file(rules.key_file, token_keys.LARGEST) if rules.key_file is not None else None,
    )


def material_of(rules: LoginRules, contents: Contents) -> Material:
    """Raises ValueError, for a file that holds something else than it should."""
    sets = zip(rules.issuers, contents.key_sets, strict=True)
    return Material(
        _parsed(rules.htpasswd, contents.htpasswd, parse_htpasswd) or {},
        tuple(_parsed(issuer.keys, content, KeySet.parse) for issuer, content in sets),
        _parsed(rules.key_file, contents.token_key, TokenKeys.parse),
    )


def _parsed(path: Path | str | None, content: bytes | None, parse: Callable[[bytes], T]) -> T | None:
    if content is None:
        return None
    try:
        return parse(content)
    except ValueError as wrong:
        raise ValueError(f"{path}: {wrong}") from None
