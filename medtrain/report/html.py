"""The few shapes that a report is built of. Whatever comes from a user is escaped here or where it is put in."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple


class Cell(NamedTuple):
    """A cell of a table: a number with its interval below, or text."""

    text: str
    below: str = ""
    number: bool = True


def section(name: str, heading: str, *content: str) -> str:
    """A part of the page with a heading and an address; nothing where there is no content."""
    inner = "\n".join(part for part in content if part)
    return (
        f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{heading}</h2>\n{inner}\n</section>'
        if inner
        else ""
    )


def note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>' if text else ""


def table(
    header: Sequence[str], rows: Iterable[tuple[str, Sequence[Cell | str]]], kind: str = "", caption: str = ""
) -> str:
    """A table that scrolls inside itself.

    Args:
        header: names of the columns; none for a list of facts.
        rows: the name of each row, and its cells; a str is HTML that stands as it is.
        kind: its class in the style sheet.
        caption: for those who don't see it.
    """
    lines, columns = [], []
    for name, cells in rows:
        columns = [isinstance(cell, Cell) and cell.number for cell in cells]
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(map(_cell, cells))}</tr>')
    if not lines:
        return ""
    head = "".join(
        f'<th scope="col"{" class=number" if number else ""}>{escape(name)}</th>'
        for name, number in zip(header, [False, *columns], strict=False)
    )
    title = f'<caption class="unseen">{escape(caption)}</caption>' if caption else ""
    reach = f' tabindex="0" role="region" aria-label="{escape(caption)}"' if caption else ""
    return (
        f'<div class="scroll"{reach}><table class="{kind}">{title}'
        + (f"<thead><tr>{head}</tr></thead>" if header else "")
        + "<tbody>\n"
        + "\n".join(lines)
        + "\n</tbody></table></div>"
    )


def _cell(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return f"<td>{cell}</td>"
    below = f'<span class="interval">{escape(cell.below)}</span>' if cell.below else ""
    return f"<td{' class=number' if cell.number else ''}>{escape(cell.text)}{below}</td>"


def details(name: str, heading: str, *content: str) -> str:
    """A part that opens on demand; closed where it is printed."""
    inner = "\n".join(part for part in content if part)
    return f'<details id="{name}">\n<summary>{heading}</summary>\n{inner}\n</details>' if inner else ""


def picture(file: Path, alt: str, caption: str, kind: str = "plot") -> str:
    """A figure from a PNG file, within the page. `caption` is HTML."""
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    return (
        f'<figure class="{kind}"><img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
