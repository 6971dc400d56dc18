"""The report's style sheet and script: files of the package, set into the page so that nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

CSS = (files("medtrain.report") / "page.css").read_text(encoding="utf-8")
SCRIPT = (files("medtrain.report") / "explorer.js").read_text(encoding="utf-8")


def policy() -> str:
    """The page's content security policy: it fetches nothing, and runs no script but ours."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
