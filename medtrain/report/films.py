"""A gallery of the pictures that a judged folder holds, whatever they show."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from medtrain.report.folder import RunFolder
from medtrain.report.html import data_uri
from medtrain.report.views import Gallery, Note, Section, part

SEEN = "Who receives this page sees them: eval.thumbnails=0 leaves them out."


class Film(NamedTuple):
    """A picture, why it was chosen, and what it is worth in a few words."""

    src: str
    alt: str
    why: str
    counts: str
    case: str


def film_gallery(
    run: RunFolder, text: str, worth: Callable[[dict[Any, Any]], str], template: str = "pictures.html.j2"
) -> Section | None:
    """Show the pictures; None where there are none.

    Args:
        text: what they show.
        worth: of a row of pictures.csv, what its case is worth in a few words.
        template: of pictures side by side, or ``sheets.html.j2`` of wide ones below each other.
    """
    films = []
    for row, src in pictures_of(run, "pictures", run.pictures):
        counts, case = worth(row), str(row["case"])
        films.append(Film(src, f"Case {case}: {counts}", str(row["why"]), counts, case))
    if not films:
        return None
    return part("pictures", "Pictures", Note(f"{text} {SEEN}"), Gallery(template, films))


def pictures_of(run: RunFolder, folder: str, table: pd.DataFrame | None) -> Iterator[tuple[dict[Hashable, Any], str]]:
    """Read the pictures that a table's rows name, in that folder of the run and nowhere else: rows and data URIs."""
    for row in [] if table is None else table.to_dict("records"):
        file = run.path / folder / Path(str(row["picture"])).name
        if file.is_file():
            yield row, data_uri(file)
