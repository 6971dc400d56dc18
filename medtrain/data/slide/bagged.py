"""What became of a slide that was to be embedded, and what of it is worth telling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medtrain.data.slide.own_mask import BEYOND, OwnMask
from medtrain.data.slide.tissue import GLASS, OUTSIDE, SMALL, UNREAD

INK = (0.01, "{n} slides: {what} is no tissue (up to {most:.0%} of a slide): data.ink=false keeps it")
OTHERS = {  # the share from which on it is worth a line, and the line
    OUTSIDE: (0.01, "{n} slides: what looks like tissue outside their masks is left out (up to {most:.0%} of a slide)"),
    GLASS: (0.5, "{n} slides: what looks like glass within their masks is taken (up to {most:.0%} of a mask)"),
    UNREAD: (
        0.01,
        "{n} slides: {what} are not read (up to {most:.0%} of its pixels): write each into a file of its own",
    ),
    BEYOND: (0.001, "{n} slides: their masks reach beyond the slide (by up to {most:.1%} of what they mark)"),
}
UNSURE = (
    0.02,
    "{n} slides: {what} may be ink or stain (up to {most:.0%} of the tissue) and is kept as tissue: "
    "data.ink=[{what}] leaves it out",
)


@dataclass(frozen=True)
class Bagged:
    """A slide and what became of it; a row of embed.csv.

    Args:
        slide: as it was named.
        bag: the HDF5 file; there unless `error` says why not.
        tiles: in the bag; `bad_tiles` could not be decoded and are not in it.
        tissue_mm2, pen: area of the tissue; was there ink?
        left_out, unsure: shares of the slide that were coloured or dark and are no tissue, and why; of the tissue that
            may be ink or stain.
        mask: the file of its own tissue mask, and what counts as tissue in it; '' without one.
        width, height, mpp: of level 0; `scale` is what the file says against mpp.
        reader: tiff (tiles decoded directly) or openslide.
        seconds: it took; of a bag that was there, at that time.
    """

    slide: str
    bag: str
    tiles: int = 0
    bad_tiles: int = 0
    tissue_mm2: float = 0.0
    pen: bool = False
    left_out: str = ""
    unsure: str = ""
    mask: str = ""
    width: int = 0
    height: int = 0
    mpp: float = float("nan")
    scale: str = ""
    reader: str = ""
    seconds: float = 0.0
    error: str = ""


def written(shares: Mapping[str, float]) -> str:
    """Write shares for a cell of a table, those of less than a tenth of a percent left out."""
    return "; ".join(f"{what} {share:.1%}" for what, share in shares.items() if share >= 0.001)


def mask_note(own: OwnMask | None, note: str) -> str:
    """Write a slide's own mask for a cell of a table: its file, and what counts as tissue in it."""
    return "" if own is None else f"{Path(own.file).name}: {note}"


def _read(text: str) -> dict[str, float]:
    """Read what `written` wrote."""
    parts = (part.rpartition(" ") for part in text.split("; ") if part)
    return {what: float(share.rstrip("%")) / 100 for what, _, share in parts}


def worth_telling(rows: Sequence[Bagged], older: Sequence[str]) -> Iterator[str]:
    """Say what was left out of slides, and what may be ink or stain; a line for all slides alike.

    Args:
        older: bags that an older rule of tissue has made.
    """
    if older:
        yield (
            f"{len(older)} bags ({older[0]}, ...) were made by the rule of tissue before 0.3: remove them to have them "
            "made by today's"
        )
    if unlike := [row for row in rows if row.scale]:
        first = f"{Path(unlike[0].slide).name}: {unlike[0].scale}"
        yield f"{len(unlike)} slides contradict their um/px ({first}; embed.csv, scale): data.columns.mpp settles it"
    masks = Counter(row.mask.partition(": ")[2].partition("; ")[0] for row in rows if row.mask)
    for note, number in masks.items():
        yield f"{number} slides: tissue is what their own masks call {note} (data.tissue_labels; embed.csv, mask)"
    for column in ("left_out", "unsure"):
        shares: dict[str, list[float]] = {}
        for row in rows:
            for what, share in _read(getattr(row, column)).items():
                shares.setdefault(what, []).append(share)
        shares.pop(SMALL, None)
        for what in shares:
            least, text = UNSURE if column == "unsure" else OTHERS.get(what, INK)
            if much := [share for share in shares[what] if share >= least]:
                yield text.format(n=len(much), what=what, most=max(much))
