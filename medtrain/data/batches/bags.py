"""Bags of instances: what any source of feature bags or slides gives, from its rows to packed batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from medtrain.core.errors import DataError, Problem
from medtrain.data.base import Data
from medtrain.data.batches.bag_places import TilePlaces
from medtrain.data.batches.bag_tiles import place_tiles
from medtrain.data.batches.packed import CaseBags, Few, OfInstances, PackedBatches
from medtrain.data.batches.tumour import TumourMasks
from medtrain.data.files import Files
from medtrain.data.loaders import Rows
from medtrain.data.rows.bags import csv_rows, holds_features
from medtrain.data.rows.columns import IGNORED
from medtrain.data.rows.manifest import Manifest
from medtrain.data.settings import choice, normalisation
from medtrain.data.slide.bagged import Bagged
from medtrain.data.slide.bags import SlideReader, are_bags, list_bags, list_slides
from medtrain.data.slide.named import NamedSlides
from medtrain.data.source import reader
from medtrain.encoder import Encoder
from medtrain.io.cache_root import cache_root
from medtrain.io.content import first_with_same
from medtrain.io.csv_bags import CsvBags, read_csv_bags
from medtrain.io.store.features import PackedBags, pack_bags
from medtrain.target import DataSpec

UNITS = ("slide", "patient")
LOOKED_AT = 1000


class BagData(Data):
    """Bags from a packed store, or from a CSV; see `Data` for arguments and attributes.

    A batch's ``x`` is (N, D) of all its bags, of the files' own type, ``offsets`` int64 (B+1,) where each begins, and
    ``coords`` float32 (N, 2), if any bag has some (see `TilePlaces`); evaluated batches have ``tumour`` float32 (N,)
    where masks are known.

    Args:
        encoder: makes the features of slides, whose bags these are; None where the rows are bags.

    Attributes, known after `prepare`:
        bags: by number.
        slides: gives the file of a bag's slide; '' where only the bag is there.
    """

    inspector = "bags"
    several = True
    bags: PackedBags | CsvBags
    slides: Callable[[int], str]

    def __init__(self, cfg: Mapping[str, Any], *, encoder: Encoder | None = None, **options: Any) -> None:
        super().__init__(cfg, **options)
        self.encoder = encoder
        self.whole = choice(cfg, "unit", UNITS) == "patient"
        self.cfg = {**self.cfg, "of_cases": self.cfg["of_cases"] and not self.whole}
        self.noun = "patients" if self.whole else "bags" if encoder is None else "slides"

    @property
    def slide_reader(self) -> SlideReader:
        """Build what makes bags of slides."""
        assert self.encoder is not None
        return SlideReader(self.cfg, self.encoder, not self.synthetic, self.progress, self.report)

    def inputs(self, path: Path) -> Manifest:
        if path.is_file() and holds_features(path, self.cfg):
            return csv_rows(read_csv_bags(path))
        listed = None if self.encoder is None else list_slides(path, self.cfg)
        return list_bags(path, self.cfg) if listed is None else listed

    @property
    def grouping(self) -> str | None:
        return "patient" if self.whole else super().grouping

    def describe(self, manifest: Manifest) -> DataSpec:
        assert manifest.target is not None
        return DataSpec(manifest.target, channels=1)  # the features are counted later

    def read(self, manifest: Manifest, everything: bool = False) -> Files:
        self._open(manifest)
        problems = dict(self.bags.problems)
        width = self._width(problems)
        for n in range(len(self.bags)):
            if n not in problems and self.bags.shape(n) != width:
                wanted = "the model takes" if self.fixed.spec else "most bags have"
                problems[n] = f"has {_in_words(self.bags.shape(n))}, where {wanted} {_in_words(width)}"
        return Files(first_with_same(self._identities), self._identities, problems, self.bags.packed)

    def embed(self) -> tuple[Path, list[Bagged]]:
        """Make the bags of all slides of a table, which needs no labels; the folder, and what became of each slide."""
        unlabelled = {**self.cfg, "columns": {**(self.cfg.get("columns") or {}), "label": IGNORED}}
        rows = reader(self.cfg["name"])(unlabelled, None, self.progress)
        return self.slide_reader.embed(rows)

    def files_of(self, manifest: Manifest, rows: Sequence[int]) -> list[str]:
        """Name the bags of rows; of slides those that embedding makes, or has made."""
        paths = super().files_of(manifest, rows)
        if self.encoder is None or are_bags(paths):
            return paths
        folder, made = self.slide_reader.embed(manifest)
        return [str(folder / made[row].bag) for row in rows if not made[row].error]

    def _open(self, rows: Manifest) -> None:
        """Open the bags of rows, and say what each is."""
        if rows.content is not None:
            self.bags = rows.content
        elif self.encoder is not None and not are_bags(rows.path):
            self.slides, slides = rows.path.__getitem__, self.slide_reader
            self.bags = opened = slides.open(rows)
            self._identities = slides.identities(rows.path, opened)
            return
        else:
            root = cache_root(self.cfg.get("cache_dir"))
            self.bags = opened = pack_bags(rows.path, root, self.progress, report=self.report)
            place_tiles(opened, rows.path, self.cfg.get("tile_edge"), self.report)
        folder = Path(str(self.cfg["slides"])).expanduser() if self.cfg.get("slides") else None
        self.slides = NamedSlides(self.bags, rows.path, rows.slides, folder)
        self._identities = self.bags.identities

    def told_slides(self) -> list[str]:
        """Say what was found of the slides that were asked for, where they are named beside bags."""
        return self.slides.lines() if isinstance(self.slides, NamedSlides) else []

    def _width(self, problems: Mapping[int, str]) -> tuple[int, ...]:
        """Find the shape of an instance: the model's, else what most bags have."""
        if self.fixed.spec is not None:
            return (self.fixed.spec.channels, *self.fixed.spec.size)
        shapes = [self.bags.shape(n) for n in range(len(self.bags)) if n not in problems]
        return max(dict.fromkeys(shapes), key=shapes.count, default=())

    def settle(self) -> None:
        """Learn width and statistics of the features, the latter of training cases alone."""
        if self.fixed.spec is not None:
            return
        channels, *size = self.bags.shape(self.members[self.slots[0]][0])
        self.spec = replace(self.spec, channels=channels, size=tuple(size))
        if size:
            mean, std = normalisation(self.cfg, channels)
            self.spec = replace(self.spec, mean=mean, std=std)
        elif self.cfg.get("standardise"):
            train = [bag for slot in self.slots[self.rows("train")] for bag in self.members[slot]]
            mean, std = moments(self.bags, train)
            self.spec = replace(self.spec, mean=mean, std=std)

    def dataset(self, rows: Rows) -> CaseBags:
        members = [self.members[slot] for slot in self.slots[rows]]
        masks = self.listed_rows.masks
        inside = TumourMasks(self.bags, masks) if masks is not None and self.targets is not None else None
        most, cases, known = self.cfg.get("max_instances"), np.asarray(rows, np.int64), OfInstances(inside, self.places)
        threads = int(self.cfg.get("num_workers") or 0)
        few = Few(most, self.seed)
        return CaseBags(self.bags, members, cases, self.y(rows), few=few, known=known, threads=threads)

    @property
    def unplaced(self) -> list[int]:
        """List the bags without coordinates or size of tiles, but for those with problems."""
        return [n for n in range(len(self.bags)) if n not in self.bags.problems and not self.bags.placed(n)]

    @cached_property
    def places(self) -> TilePlaces | None:
        """Tell where tiles lie; None where no bag says it."""
        missing, good = len(self.unplaced), len(self.bags) - len(self.bags.problems)
        if 0 < missing < good:
            self.report(
                f"{missing:,} of {good:,} bags have no coordinates, or no size of tiles: to networks that see where "
                "tiles lie these have no neighbours, and explain draws no map of them"
            )
        return TilePlaces(self.bags) if missing < good else None

    def batches(self, rows: Rows, sampler: Sampler[Any], training: bool = False) -> PackedBatches:
        lengths = self.lengths[rows]
        if training and self.cfg.get("max_instances"):
            lengths = np.minimum(lengths, int(self.cfg["max_instances"]))
        return PackedBatches(sampler, lengths, int(self.cfg["batch_size"]), int(self.cfg["instances"]), training)

    ahead = 2

    @property
    def workers(self) -> int:
        return 0  # batches are copied from memory: to hand them over from another process takes ten times as long

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Count the instances of each case."""
        return np.array([self.bags.lengths[self.members[slot]].sum() for slot in self.slots], np.int64)


def _in_words(shape: tuple[int, ...]) -> str:
    """Say the shape of an instance."""
    return f"{shape[0]:,} features" if len(shape) == 1 else f"tiles of {' x '.join(map(str, shape))}"


def moments(bags: PackedBags | CsvBags, which: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute mean and standard deviation of each feature over the instances of bags; 1 where a feature is constant.

    Of a bag at most `LOOKED_AT` instances count, evenly spaced: a mean of a million tiles is not worth reading all.
    """
    if not which:
        raise DataError("no training bags to standardise features by", [Problem("no_split", "the splits", "no train")])
    count, total, squares = 0, np.zeros(bags.shape(which[0])), np.zeros(bags.shape(which[0]))
    centre = np.asarray(bags.instances(which[0]), np.float64).mean(0)  # so that squares of large values lose nothing
    for bag in which:
        x_ND = bags.instances(bag)[:: -(-int(bags.lengths[bag]) // LOOKED_AT)].astype(np.float64) - centre
        count, total, squares = count + len(x_ND), total + x_ND.sum(0), squares + (x_ND**2).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return tuple((mean + centre).tolist()), tuple(np.where(std > 1e-9, std, 1.0).tolist())
