"""How long a registry may take for each step of an answer."""

from proxy.config.quantities import MINUTE, PositiveDuration
from proxy.config.section import Section


class TimeoutSettings(Section):
    """How long registries may take. Some assemble an answer for a minute before its first byte."""

    connect: PositiveDuration = 5.0
    """To accept a connection, TLS included."""
    first_byte: PositiveDuration = MINUTE
    """To begin an answer."""
    stall: PositiveDuration = MINUTE
    """To send nothing in the middle of an answer."""
    total: PositiveDuration = 2 * MINUTE
    """To finish one small answer: a manifest, a list of tags, a token. Blobs may take as long as bytes come."""

    def refined(self, own: "TimeoutSettings") -> "TimeoutSettings":
        """These, with what ``own`` was given besides."""
        return self.model_copy(update={key: getattr(own, key) for key in own.model_fields_set})
