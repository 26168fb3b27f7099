"""Why a bundle, or a part of one, is not taken."""


class BundleRefused(Exception):
    """It cannot be read, or not be trusted; ``str()`` is a sentence for a person."""


def shown(text: str) -> str:
    """A name that a stranger chose, at most 80 characters of it, and nothing that a terminal takes for an order."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")
