"""A page to leaf through pictures that lie beside it: no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class PicturesPage:
    """Pictures one below the other.

    Args:
        title: above all.
        lines: paragraphs above the pictures.
        pictures: caption and path, relative to the page.
    """

    title: str
    lines: Sequence[str]
    pictures: Sequence[tuple[str, str]]
    template: ClassVar[str] = "pictures_page.html.j2"
