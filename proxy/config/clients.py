"""Who asks: how clients are known."""

from typing import Literal

from proxy.config.section import Section
from proxy.core.certificates import CertificateNames

Attribute = Literal["cn", "ou", "o", "uid", "email"]


class CertificateSettings(Section):
    """What the subject of a client's certificate says of a caller, where tls.client_ca is given."""

    name: Attribute = "cn"
    """The attribute with the caller's name."""
    groups: Attribute = "ou"
    """The attribute with the caller's groups; there may be several."""

    @property
    def names(self) -> CertificateNames:
        return CertificateNames(self.name, self.groups)


class ClientSettings(Section):
    """How clients are known. Without any of it all are anonymous."""

    certificates: CertificateSettings | None = None
    """The caller's name and groups in a client's certificate, which tls.client_ca vouches for. Without it: cn and
    ou."""
