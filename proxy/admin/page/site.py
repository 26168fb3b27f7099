"""Templates become HTML: everything that is put into one is escaped."""

import importlib.resources
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from proxy import __version__
from proxy.admin import wording

if TYPE_CHECKING:
    from jinja2 import Environment, Template

STATIC: Final[Mapping[str, str]] = {
    "style.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""What is sent as it is, with its media type."""
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer of the page. Nothing but our own files, no page of others around it, and nothing kept by the browser:
names of private images are on it."""


class PageTemplates:
    """Reads and compiles them when the first is wanted: ``render`` takes long then, and is for a thread."""

    def __init__(self) -> None:
        self._environment: Environment | None = None

    def render(self, name: str, /, **values: Any) -> str:
        """The template of that name. Raises what a template raises."""
        return self._template(name).render(**values)

    def blocks(self, name: str, /, **values: Any) -> dict[str, str]:
        """Each block of the template whose name begins with ``live_``, by the rest of its name."""
        template = self._template(name)
        context = template.new_context(values)
        return {
            block.removeprefix("live_"): "".join(render(context))
            for block, render in template.blocks.items()
            if block.startswith("live_")
        }

    def _template(self, name: str) -> "Template":
        if self._environment is None:
            self._environment = _environment()
        return self._environment.get_template(f"{name}.html")


def static_file(name: str) -> bytes:
    """One of ``STATIC``."""
    return (importlib.resources.files("proxy.admin.page") / "static" / name).read_bytes()


def _environment() -> "Environment":
    # A proxy that nobody looks at needs none of this.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    made = Environment(
        loader=PackageLoader("proxy.admin.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["version"] = __version__
    made.filters |= {
        "bytes": wording.size,
        "counted": wording.counted,
        "day": wording.day,
        "lasting": wording.lasting,
        "short": wording.short,
        "percent": lambda part: f"{100 * part:.0f} %",
        "thousands": lambda count: f"{count:,}",
    }
    return made
