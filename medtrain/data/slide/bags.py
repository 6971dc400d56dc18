"""From slides to bags: features made where they are missing, or the tiles themselves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from medtrain.core.errors import DataError
from medtrain.core.progress import Progress
from medtrain.data.rows.bags import SLIDE_NAMES, named_column, of_several_files, with_files
from medtrain.data.rows.inputs import is_table, list_inputs, refuse_nowhere
from medtrain.data.rows.manifest import Manifest
from medtrain.data.slide.bagged import Bagged, worth_telling
from medtrain.data.slide.embed import Embedder
from medtrain.data.slide.mask_files import Given, masks_of
from medtrain.data.slide.pixels import read_tiles
from medtrain.data.slide.tiles import Tiling
from medtrain.encoder import Encoder
from medtrain.io.bags import SUFFIXES, Bag
from medtrain.io.cache_root import cache_root
from medtrain.io.dicom_slide import dicom_slides
from medtrain.io.picture_files import files_below
from medtrain.io.slide_content import slide_contents
from medtrain.io.slide_names import SLIDES
from medtrain.io.store.features import PackedBags, pack_bags
from medtrain.io.table import RawTable

TOLD = ("left_out", "unsure", "mask", "scale")  # of `Bagged`, what bags of tiles know too


@dataclass(frozen=True)
class SlideReader:
    """How slides become bags.

    Args:
        cfg: the data node: how slides are cut, ``tiles``, ``bags``, ``cache_dir``.
        encoder: tiles to features.
        real: are these somebody's slides, for which random weights won't do?
        progress: takes (tiles done, tiles in all).
        report: takes a line on what is worth telling.
    """

    cfg: Mapping[str, Any]
    encoder: Encoder
    real: bool
    progress: Progress | None
    report: Callable[[str], None]

    def given(self, rows: Manifest) -> Given:
        """Gather what a table and folders say of slides; errors as of `masks_of`."""
        return Given(rows.mpp, masks_of(self.cfg, rows.path, rows.tissue, self.report))

    def embed(self, rows: Manifest) -> tuple[Path, list[Bagged]]:
        """Make the features of slides where they are missing; the folder, and what became of each slide."""
        given = self.given(rows)
        masked = given.masks is not None
        embedder = Embedder.of(self.cfg, self.encoder, self.real, self.progress, self.report, masked)
        return embedder.folder, embedder.ensure(rows.path, rows.case, given)

    def open(self, rows: Manifest) -> PackedBags:
        """Open the bags of slides, by their number; what is missing is made."""
        root = cache_root(self.cfg.get("cache_dir"))
        if self.cfg.get("tiles"):
            return self._open_tiles(rows, root)
        folder, made = self.embed(rows)
        files = [str((folder / bagged.bag).absolute()) for bagged in made]
        problems = {number: bagged.error for number, bagged in enumerate(made) if bagged.error}
        return pack_bags(files, root, report=self.report, problems=problems)

    def _open_tiles(self, rows: Manifest, root: Path) -> PackedBags:
        """Open the tiles of slides as bags, and tell what embedding would tell of them."""
        tiling = Tiling.of(self.cfg)
        tilings = tiling.of_slides(self.given(rows), len(rows))
        own = {slide: its for slide, its in zip(rows.path, tilings, strict=True) if its != tiling}
        key: Any = tiling.record()
        if own:
            key = [key, *sorted([slide, its.slide_mpp, its.record().get("mask")] for slide, its in own.items())]
        name = f"tiles_{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"
        read = partial(_read_tiles, tiling=tiling, own=own)
        bags = pack_bags(rows.path, root, self.progress, report=self.report, read=read, name=name)
        facts = {n: bags.geometry(n) for n in range(len(bags)) if n not in bags.problems}
        made = [Bagged(rows.case[n], "", **{key: fact.get(key, "") for key in TOLD}) for n, fact in facts.items()]
        for line in worth_telling(made, []):
            self.report(line)
        return bags

    def identities(self, slides: Sequence[str], bags: PackedBags) -> list[str]:
        """Say what each slide is; one that was moved away once it was embedded is what its bag is."""
        contents = slide_contents(slides, cache_root(self.cfg.get("cache_dir")))
        return [slide or bag for slide, bag in zip(contents, bags.identities, strict=True)]


def _read_tiles(path: Path, tiling: Tiling, own: Mapping[str, Tiling]) -> Bag:
    """Read the tiles of a slide, cut its own way if it has one."""
    return read_tiles(path, own.get(str(path), tiling))


def list_bags(path: Path, cfg: Mapping[str, Any]) -> Manifest:
    """List the bags of a file, a folder or a table; errors as of `list_inputs`."""
    return list_inputs(path, cfg, _ending(SUFFIXES), f"bags ({', '.join(SUFFIXES)})", arrange=with_files)


def list_slides(path: Path, cfg: Mapping[str, Any]) -> Manifest | None:
    """List the slides of a file, a folder or a table; None where these are bags; errors as of `list_inputs`."""
    refuse_nowhere(path)
    listed = None
    if path.is_dir() and not _ending(SLIDES)(path):
        if not _ending(SUFFIXES)(path):
            raise DataError(f"input={path} holds neither slides ({', '.join(SLIDES)}) nor bags ({', '.join(SUFFIXES)})")
    elif is_table(path) or not are_bags([path.name]):
        listed = list_inputs(path, cfg, _ending(SLIDES), "slides", parts=dicom_slides, arrange=_with_slides)
    return None if listed is None or are_bags(listed.path) else listed


def are_bags(paths: Sequence[str]) -> bool:
    """Tell by their names whether all of these are bags, not slides."""
    return all(name.lower().endswith(SUFFIXES) for name in paths)


def _with_slides(raw: RawTable, cfg: Mapping[str, Any]) -> tuple[RawTable, Mapping[str, Any]]:
    """Give a table of inputs the run's column of slides if it has it, else one of the usual names."""
    columns = dict(cfg.get("columns") or {})
    wanted = columns.get("path") if columns.get("path") in raw.text.columns else None
    columns["path"] = named_column(raw, wanted, SLIDE_NAMES, "input")
    return of_several_files(raw, {**cfg, "columns": columns})


def _ending(suffixes: tuple[str, ...]) -> Callable[[Path], list[Path]]:
    """Make what finds the files with such names in a folder and below."""
    return lambda folder: sorted(file for file in files_below(folder) if file.suffix.lower() in suffixes)
