"""Which bag of a folder belongs to a slide: by what the slide is, never by its name alone.

Bags bear the names of their slides, and slides of several studies are called alike. So each bag has a record of the
slide that it was made of: its file, how the table named it, and what it is (`medtrain.io.content`). A bag serves that
slide and no other; a second slide of the name has a mark in its bag's name.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from medtrain.io.slide import slide_fingerprint
from medtrain.io.slide_content import slide_content
from medtrain.io.stats import absolute, stat_file
from medtrain.io.trident import read_own

MARK = 8  # characters that tell bags of one name apart


@dataclass(frozen=True)
class Assigned:
    """A slide's bag.

    Args:
        bag: the file, there or to be made.
        own: its record, see `record_of`; None of a bag that has to be made.
        error: why the slide has none and can get none.
        note: what is worth telling.
    """

    bag: Path
    own: Mapping[str, Any] | None = None
    error: str = ""
    note: str = ""


def record_of(slide: str, called: str) -> dict[str, Any]:
    """Record what a bag is made of: the slide's file, its name in the table, its size and time, and what it is."""
    return {
        "path": absolute([slide])[0],
        "called": called,
        "stat": list(stat_file(slide)),
        "fingerprint": slide_fingerprint(slide),
        "content": slide_content(Path(slide)),
    }


class Ownership:
    """The bags of a folder and whose they are.

    Args:
        folder: of bags.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for file in sorted(folder.glob("*.h5")):
            self._by_stem[file.stem].append(file)
            if _is_marked(file.stem):
                self._by_stem[file.stem[: -MARK - 1]].append(file)
        self.record = cache(read_own)

    def assign(self, slides: Sequence[str], called: Sequence[str]) -> list[Assigned]:
        """Find the bag of each slide, or a name for it that no other slide's bag has."""
        paths, stems = absolute(slides), [Path(slide).stem for slide in slides]
        often = Counter(stems)
        there = [self._there(*slide) for slide in zip(slides, paths, called, stems, strict=True)]
        taken = {assigned.bag for assigned in there if assigned is not None}
        out = []
        for slide, stem, assigned in zip(slides, stems, there, strict=True):
            plain = self.folder / f"{stem}.h5"
            foreign = plain.exists() and self.record(plain) is None
            if assigned is None and not foreign and (often[stem] > 1 or plain in taken or plain.exists()):
                note = f"gets a bag of its own: {plain.name} is another slide's of that name" * plain.exists()
                assigned = Assigned(self.folder / f"{stem}-{mark(slide)}.h5", note=note)
            out.append(assigned or Assigned(plain))
        return out

    def _there(self, slide: str, path: str, called: str, stem: str) -> Assigned | None:
        """Find the bag that is there; None where there is none, or only those of other slides."""
        candidates = [(bag, own) for bag in self._by_stem[stem] if (own := self.record(bag)) is not None]
        if Path(slide).exists():
            return _of_slide(slide, path, candidates)
        named = [
            (bag, own)
            for wanted, key in ((path, "path"), (called, "called"))
            for bag, own in candidates
            if own.get(key) == wanted
        ]
        old = [(bag, own) for bag, own in candidates if "path" not in own and bag.stem == stem]
        if not (named or old):
            return None
        bag, own = (named or old)[0]
        others = {other for other, record in candidates if other != bag and "path" not in record}
        if not named and others:
            names = ", ".join(sorted(other.name for other in {bag, *others}))
            return Assigned(bag, error=f"no such file, and which of {names} is its bag, nothing says")
        if own.get("path") == path:
            return Assigned(bag, own)
        made_of = own.get("path") or "a slide of that name"
        return Assigned(bag, own, note=f"isn't there; {bag.name}, made of {made_of}, is taken for its bag")


def _of_slide(slide: str, path: str, candidates: Sequence[tuple[Path, Mapping[str, Any]]]) -> Assigned | None:
    """Find the bag of a slide that is there: its own, of its content, or one to be made again as it has changed."""
    state, fingerprint, content = list(stat_file(slide)), cache(slide_fingerprint), cache(slide_content)
    for bag, own in candidates:
        if own.get("path", path) == path and own["stat"] == state:
            return Assigned(bag, own)
    for bag, own in candidates:
        if own["fingerprint"] == fingerprint(slide):
            return Assigned(bag, own)
    for bag, own in candidates:
        if own.get("path") == path:
            return Assigned(bag, note="has changed since it was embedded: it is embedded again")
    for bag, own in candidates:
        if own.get("content") and own["content"] == content(Path(slide)):
            return Assigned(bag, own)
    return None


def mark(slide: str) -> str:
    """Mark a slide among those of its name, by what it is; one that can't be opened by its path."""
    content = slide_content(Path(slide)) if Path(slide).exists() else ""
    return hashlib.sha256((content or absolute([slide])[0]).encode()).hexdigest()[:MARK]


def _is_marked(stem: str) -> bool:
    dash, tail = stem[-MARK - 1 : -MARK], stem[-MARK:]
    return dash == "-" and all(letter in "0123456789abcdef" for letter in tail)
