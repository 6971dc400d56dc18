"""Draw views as HTML: the one place that knows Jinja2.

A view is plain data and names its template; whatever a template puts into the page is escaped, so no text of a user
can become markup. Only the style sheet and the script of the package stand as they are.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent


class View(Protocol):
    """Plain data with the name of the template that draws it; the template finds it as `view`."""

    @property
    def template(self) -> str: ...


def draw(view: View | None) -> str:
    """Draw a view, and the views within it, as HTML; "" for None."""
    return _environment().get_template("draw.html.j2").render(view=view) if view is not None else ""


def data_uri(file: Path) -> str:
    """Read a PNG file as an address that holds the picture itself, so that the page fetches nothing."""
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"


@cache
def _environment() -> Environment:
    # late: commands that only print tables import this room too
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    css, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "explorer.js"))
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.globals |= {"css": Markup(css), "script": Markup(script), "policy": _policy(script)}
    return environment


def _policy(script: str) -> str:
    """Word the page's content security policy: it fetches nothing, and runs no script but ours, known by its hash."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
