"""The shapes that a report is built of, as plain data: what stands where, in words and numbers, without any markup."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from medtrain.report.folder import RunFolder
from medtrain.report.html import View


class Bar(NamedTuple):
    """A value and its interval on a drawing 100 wide, beside the value of all cases; None where there is none."""

    whole: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None


class Cell(NamedTuple):
    """A cell of a table: a number with its interval below, text, or a drawing; `missing` text asks for an author."""

    text: str = ""
    below: str = ""
    number: bool = True
    missing: bool = False
    bar: Bar | None = None


@dataclass(frozen=True)
class Table:
    """A table that scrolls inside itself.

    Args:
        header: names of the columns; none for a list of facts.
        rows: the name of each row, and its cells.
        style: its class in the style sheet.
        caption: for those who don't see it.
        heading: above it, where one is needed.
    """

    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    style: str
    caption: str
    heading: str = ""
    template: ClassVar[str] = "table.html.j2"

    @property
    def columns(self) -> list[tuple[str, bool]]:
        """Name of each column, and whether numbers stand in it."""
        numeric = [False, *(cell.number for cell in self.rows[-1][1])]
        return list(zip(self.header, numeric, strict=False))


@dataclass(frozen=True)
class Note:
    """A line of small print."""

    text: str
    template: ClassVar[str] = "note.html.j2"


@dataclass(frozen=True)
class Listing:
    """Text of a file, as it is."""

    text: str
    template: ClassVar[str] = "listing.html.j2"


@dataclass(frozen=True)
class Gallery:
    """Things that one template shows side by side, such as pictures with their captions."""

    template: str
    items: Sequence[Any]


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading and an address.

    Args:
        name: its address within the page.
        parts: what stands in it, from top to bottom.
        link: what the page's navigation calls it; "" leaves it out.
        folded: it opens on demand, and is closed where it is printed.
    """

    name: str
    heading: str
    parts: tuple[View, ...]
    link: str = ""
    folded: bool = False
    template: ClassVar[str] = "section.html.j2"


def part(name: str, heading: str, *views: View | None, link: str | None = None, folded: bool = False) -> Section | None:
    """Put views under a heading; None where there is no view. The navigation calls it by its heading, or by `link`."""
    there = tuple(view for view in views if view is not None)
    return Section(name, heading, there, heading if link is None else link, folded) if there else None


def texts(*words: str) -> list[Cell]:
    """Make cells of text."""
    return [Cell(text, number=False) for text in words]


def table(
    header: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]], style: str, caption: str, heading: str = ""
) -> Table | None:
    """Make a `Table`; None without rows."""
    return Table(header, rows, style, caption, heading) if rows else None


@dataclass(frozen=True)
class PicturesPage:
    """A page to leaf through pictures that lie beside it: no script, nothing fetched.

    Args:
        title: above all.
        lines: paragraphs above the pictures.
        pictures: caption and path, relative to the page.
    """

    title: str
    lines: Sequence[str]
    pictures: Sequence[tuple[str, str]]
    template: ClassVar[str] = "pictures_page.html.j2"


@dataclass(frozen=True)
class Drawer:
    """A function from a run to a section, and the forms of predictions that the section is made from."""

    draw: Callable[[RunFolder], Section | None]
    forms: frozenset[str]

    def __call__(self, run: RunFolder) -> Section | None:
        """Give the section of a run; None where its predictions have other forms, or its folder has nothing for it."""
        return self.draw(run) if self.forms <= run.target.forms else None


def section(forms: Collection[str] = ()) -> Callable[[Callable[[RunFolder], Section | None]], Drawer]:
    """Mark a function from a run to a section, saying which forms of predictions it takes: none, if any run will do."""
    return lambda draw: Drawer(draw, frozenset(forms))
