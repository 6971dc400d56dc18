"""Slides named beside bags that somebody else may have made: shown under heatmaps once they prove to be theirs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from medtrain.io.bags import SUFFIXES
from medtrain.io.csv_bags import CsvBags
from medtrain.io.picture_files import files_below
from medtrain.io.slide import Slide, slide_fingerprint
from medtrain.io.slide_content import slide_content
from medtrain.io.slide_names import slide_stems
from medtrain.io.store.features import PackedBags
from medtrain.io.trident import read_own

MPP_DIFFERS = 0.05  # share by which um/px of a bag and its slide may differ: scanners round them


class NamedSlides:
    """The slides of bags, each looked at when it is asked for.

    Args:
        bags: whose coordinates and geometry have to fit.
        files: of the bags.
        named: the slide of each bag as the table names it, absolute, '' without; None without such a column.
        folder: in which, and below which, slides bear the names of their bags; None without one.

    Attributes:
        notes: what was found, {what: names of bags}.
    """

    def __init__(
        self, bags: PackedBags | CsvBags, files: Sequence[str], named: Sequence[str] | None, folder: Path | None
    ) -> None:
        self.bags, self.files, self.named, self.folder = bags, files, named, folder
        self.notes: dict[str, list[str]] = defaultdict(list)
        self._known: dict[int, str] = {}

    def __call__(self, bag: int) -> str:
        """Give the slide's file; '' where there is none that can be the bag's."""
        if bag not in self._known:
            self._known[bag] = self._look(bag)
        return self._known[bag]

    def lines(self) -> list[str]:
        """Say in lines what was found, each with its number and one of the bags."""
        return [f"{len(names):,} bags ({names[0]}, ...): {what}" for what, names in self.notes.items()]

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        stems: dict[str, list[Path]] = defaultdict(list)
        for file in sorted(files_below(self.folder)) if self.folder is not None else ():
            for stem in slide_stems(file.name):
                stems[stem].append(file)
        return stems

    def _look(self, bag: int) -> str:
        file = Path(self.files[bag])
        own = read_own(file) if file.suffix.lower() in SUFFIXES else None
        candidates = self._candidates(bag, str(own["slide"]["slide"]) if own else "")
        if not candidates:
            if self.named is not None or self.folder is not None:
                self._note("no slide is there that bears their name (data.columns.slide, data.slides)", bag)
            return ""
        reasons = []
        fitting = []
        for slide in candidates:
            reason = self._why_not(bag, slide, own)
            if reason:
                reasons.append(reason)
            else:
                fitting.append(slide)
        if not fitting:
            self._note(f"{reasons[0]}: their heatmaps lie on white", bag)
            return ""
        if len(fitting) > 1 and len({slide_content(slide) for slide in fitting}) > 1:
            self._note("several slides bear their name, and nothing says which is theirs: heatmaps lie on white", bag)
            return ""
        if own is None:
            self._note("nothing in them says which slide they were made of; the slide of their name is taken", bag)
        return str(fitting[0])

    def _candidates(self, bag: int, made_of: str) -> list[Path]:
        """List the slides of a bag's name: the one that the table names, else those of the folder."""
        if self.named is not None and self.named[bag]:
            slide = Path(self.named[bag])
            return [slide] if slide.exists() else self._by_stem.get(slide.name, self._stem_of(slide.name))
        stems = dict.fromkeys((Path(self.files[bag]).stem, *slide_stems(made_of)))
        return next((self._by_stem[stem] for stem in stems if stem in self._by_stem), [])

    def _stem_of(self, name: str) -> list[Path]:
        """List the slides of the folder that are called so, or have the name without its ending."""
        whole = [file for files in self._by_stem.values() for file in files if file.name == name]
        stems = (stem for stem in slide_stems(name) if stem in self._by_stem)
        return whole or next((self._by_stem[stem] for stem in stems), [])

    def _why_not(self, bag: int, path: Path, own: dict[str, object] | None) -> str:
        """Say why a slide can't be a bag's; '' where it can."""
        coords, about = self.bags.coords(bag), self.bags.geometry(bag)
        try:
            slide = Slide(path, default_mpp=about.get("mpp") or 1.0)
        except ValueError as error:
            return f"the slide of their name can't be read ({error})"
        slide.close()
        if own is not None:
            same = own.get("fingerprint") == slide_fingerprint(path)
            if not same and not (own.get("content") and own["content"] == slide_content(path)):
                return "the slide of their name is not the one that they were made of, by its content"
            return ""
        size, known = slide.sizes[0], (about.get("width"), about.get("height"))
        if None not in known and known != size:
            return "the slide of their name has another size than they say"
        mpp = about.get("mpp")
        if mpp and slide.mpp_from != "default" and abs(slide.mpp / mpp - 1) > MPP_DIFFERS:
            return "the slide of their name has other um/px than they say"
        if coords is not None and about.get("tile"):
            unit = 1.0 if about.get("unit") != "um" else slide.mpp
            if (np.asarray(coords).max(0) / unit >= size).any():
                return "tiles lie beyond the slide of their name"
        return ""

    def _note(self, what: str, bag: int) -> None:
        self.notes[what].append(Path(self.files[bag]).name)
