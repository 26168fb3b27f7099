"""What logins are held to, by the configuration."""

from pathlib import Path
from typing import NamedTuple

from proxy.core.allow import OPEN, AllowRules
from proxy.core.claims import Expected


class IssuerRules(NamedTuple):
    """Whose tokens count. ``keys`` is where its public keys are (RFC 7517): a file, or a URL, whose certificate
    ``ca_file`` may vouch for beside the system's authorities."""

    expected: Expected
    keys: Path | str
    ca_file: Path | None = None


class LoginRules(NamedTuple):
    """``key_file`` holds what our own tokens are signed with; without it they end with the process."""

    allow: AllowRules = OPEN
    htpasswd: Path | None = None
    issuers: tuple[IssuerRules, ...] = ()
    key_file: Path | None = None
    public_url: str = ""  # that clients know us by; empty where it is what they ask by
    certificates: bool = False  # whether those of clients are logins
    for_upstreams: bool = False  # whether some upstream decides by what clients send for it

    @property
    def proves(self) -> bool:
        """Whether there are passwords or tokens of others to log in with."""
        return self.htpasswd is not None or bool(self.issuers)


NO_LOGINS = LoginRules()
"""Everybody may pull everything, and nobody says who he is."""
