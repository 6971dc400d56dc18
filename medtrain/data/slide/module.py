"""Feature bags with labels: what `data=feature_bags` names, from a label table or a CSV of bags to packed batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.data.loading import LaterBatches, as_labels
from medtrain.data.settings import choice, normalisation
from medtrain.data.slide.bags import CaseBags, PackedBatches
from medtrain.data.slide.inputs import InputBags, told
from medtrain.data.slide.masks import TumourMasks
from medtrain.data.slide.patients import Members, by_patient
from medtrain.data.slide.tables import csv_manifest, mask_files, read_bag_table
from medtrain.data.table.manifest import Manifest
from medtrain.data.table.module import Files, TableData
from medtrain.io.cache_root import cache_root
from medtrain.io.content import first_with_same, of_several
from medtrain.io.csv_bags import CsvBags, is_csv_bags, read_csv_bags
from medtrain.io.store.features import PackedBags, pack_bags
from medtrain.target import DataSpec

UNITS = ("slide", "patient")
LOOKED_AT = 1000


class BagData(TableData):
    """Bags of a table, split by patient, from a packed store; see `Data` for arguments and attributes.

    A batch's ``x`` is (N, D) of all its bags, of the files' own type, ``offsets`` int64 (B+1,) where each begins;
    evaluated batches have ``tumour`` float32 (N,) where masks are known.

    Attributes:
        bags: by number.
        members: the numbers of the bags of each row of the manifest.
    """

    unlabelled = InputBags
    inspector = "bags"
    bags: PackedBags | CsvBags
    members: Members
    masks: list[str]
    bag_contents: list[str]
    of_csv: CsvBags | None = None
    single = "bags"

    @property
    def noun(self) -> str:  # type: ignore[override]
        """Name the cases: patients where their bags are put together, else bags (or slides, whose bags they are)."""
        return "patients" if self.cfg.get("unit") == "patient" else self.single

    def manifest(self) -> Manifest:
        bags = self.listed_bags()
        self._single, self.masks = bags, mask_files(bags, self.cfg)
        self.members = [[n] for n in range(len(bags))]
        if choice(self.cfg, "unit", UNITS) == "slide":
            return bags
        patients, self.members = by_patient(bags)
        return patients

    def listed_bags(self) -> Manifest:
        """A row a bag; another source says in its own way what bags there are."""
        if not self.cfg.get("table"):
            raise UsageError("data.table is not set: give a table of bags and labels, or a CSV of bags")
        table = Path(str(self.cfg["table"])).expanduser()
        if not is_csv_bags(table):
            return read_bag_table(self.cfg, self.model_spec)
        self.of_csv = read_csv_bags(table)
        return csv_manifest(self.of_csv, self.cfg, self.model_spec)

    def describe(self, manifest: Manifest) -> DataSpec:
        assert manifest.target is not None
        return DataSpec(manifest.target, channels=1)  # the features are counted later

    def read(self, manifest: Manifest) -> Files:
        self.bags = self.of_csv or self.packed(self._single)
        self.bag_contents = self.identities(self._single)
        problems = dict(self.bags.problems)
        width = self.width(problems)
        for n in range(len(self.bags)):
            if n not in problems and self.bags.shape(n) != width:
                wanted = "the model takes" if self.model_spec else "most bags have"
                problems[n] = f"has {told(self.bags.shape(n))}, where {wanted} {told(width)}"
        return self._by_case(problems)

    def packed(self, manifest: Manifest) -> PackedBags:
        """The bags of the manifest's files."""
        return pack_bags(manifest.path, cache_root(self.cfg.get("cache_dir")), self.progress, report=self.report)

    def identities(self, manifest: Manifest) -> list[str]:
        """What each bag is, by `medtrain.io.content`; a source that knows where bags come from says more."""
        return self.bags.identities

    def width(self, problems: Mapping[int, str]) -> tuple[int, ...]:
        """The shape of an instance: the model's, else what most bags have."""
        if self.model_spec is not None:
            return (self.model_spec.channels, *self.model_spec.size)
        shapes = [self.bags.shape(n) for n in range(len(self.bags)) if n not in problems]
        return max(dict.fromkeys(shapes), key=shapes.count, default=())

    def _by_case(self, problems: Mapping[int, str]) -> Files:
        """Problems and contents of bags as those of cases, which may have several."""
        skip = choice(self.cfg, "on_bad", ("error", "skip")) == "skip"
        first: dict[int, int] = {}
        bad, same, content = {}, np.arange(len(self.members)), first_with_same(self.bag_contents)
        for case, bags in enumerate(self.members):
            wrong = [bag for bag in bags if bag in problems]
            if wrong and (len(wrong) == len(bags) or not skip):
                bad[case] = "; ".join(problems[bag] for bag in wrong)
            elif wrong:
                self.members[case] = [bag for bag in bags if bag not in problems]
            same[case] = min(first.setdefault(int(content[bag]), case) for bag in bags)
        whole = [of_several(sorted({self.bag_contents[bag] for bag in bags})) for bags in self.members]
        return Files(same, whole, bad, self.bags.packed)

    def settle(self) -> None:
        """Width and statistics of the features, the latter of training cases alone."""
        if self.model_spec is not None:
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

    def dataset(self, rows: NDArray[np.int64]) -> CaseBags:
        assert self.targets is not None
        members = [self.members[slot] for slot in self.slots[rows]]
        y = as_labels(self.spec.target, self.targets[rows])
        known = isinstance(self.bags, PackedBags) and any(self.masks)
        inside = TumourMasks(self.bags, self.masks) if known else None  # type: ignore[arg-type]
        most, cases = self.cfg.get("max_instances"), np.asarray(rows, np.int64)
        return CaseBags(self.bags, members, cases, y, most=most, seed=self.seed, inside=inside)

    def batches(self, rows: NDArray[np.int64], sampler: Sampler[Any], training: bool = False) -> LaterBatches:
        lengths = self.lengths[rows]
        if training and self.cfg.get("max_instances"):
            lengths = np.minimum(lengths, int(self.cfg["max_instances"]))
        return PackedBatches(sampler, lengths, int(self.cfg["batch_size"]), int(self.cfg["instances"]), training)

    @property
    def workers(self) -> int:
        return 0 if self.of_csv is not None else super().workers  # what is in memory needs nobody to fetch it

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Instances of each case."""
        return np.array([self.bags.lengths[self.members[slot]].sum() for slot in self.slots], np.int64)


def moments(bags: PackedBags | CsvBags, which: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each feature over the instances of some bags; 1 where a feature is constant.

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
