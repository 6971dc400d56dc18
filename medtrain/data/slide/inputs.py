"""Bags to predict: a file, a folder, a table without labels, or a CSV of bags; a bad one costs its own row alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from medtrain.core.errors import DataError, UsageError
from medtrain.core.progress import Progress
from medtrain.core.truth import Truth
from medtrain.data.loading import loader, ranks
from medtrain.data.settings import choice
from medtrain.data.slide.bags import CaseBags, PackedBatches
from medtrain.data.slide.tables import with_files
from medtrain.data.table.manifest import match_patient, read_inputs_of
from medtrain.io.bags import SUFFIXES
from medtrain.io.cache_root import cache_root
from medtrain.io.csv_bags import CsvBags, is_csv_bags, read_csv_bags
from medtrain.io.store.features import PackedBags, pack_bags
from medtrain.io.table import read_table
from medtrain.sampler import EvalSampler
from medtrain.target import DataSpec

TABLES = (".csv", ".tsv", ".txt")


class InputBags(pl.LightningDataModule):
    """Unlabelled bags as a trained model takes them; batches as `BagData`'s, without ``y``.

    Args:
        cfg: the run's data node; with its ``unit`` patient, the slides of a patient are one case.
        spec: the model's.
        path: a bag, a folder (the bags in it and below), a table with a column of bags, or a CSV of bags whose labels
            don't count.

    Attributes:
        bags: by number.
        members: the numbers of the bags of each case.
        slides: the file of each bag's slide, '' where only the bag is there.
        cases, errors, readable: see `Inputs`.

    Raises:
        UsageError: the path is not there. DataError: it holds no bags.
    """

    truth: Truth | None = None

    def __init__(self, cfg: Mapping[str, Any], spec: DataSpec, path: Path, progress: Progress | None = None) -> None:
        super().__init__()
        self.cfg, self.spec = dict(cfg), spec
        self.slides: list[str] = []
        self.bags, listed = self.opened(path, progress)
        wrong = dict(self.bags.problems)
        for n in range(len(self.bags)):
            if n not in wrong and self.bags.shape(n) != (spec.channels, *spec.size):
                wrong[n] = f"has {told(self.bags.shape(n))}, where the model takes {told((spec.channels, *spec.size))}"
        whole = choice(cfg, "unit", ("slide", "patient")) == "patient"
        groups = listed.groupby("patient" if whole else listed.index, sort=False).indices
        self.members = [list(rows) for rows in groups.values()]
        self.cases = listed.iloc[[rows[0] for rows in self.members]].reset_index(drop=True)
        if whole:
            self.cases["case"] = self.cases["patient"]
        self.errors = {
            case: "; ".join(wrong[bag] for bag in bags if bag in wrong)
            for case, bags in enumerate(self.members)
            if any(bag in wrong for bag in bags)
        }
        self.readable = np.array([row for row in range(len(self.cases)) if row not in self.errors], np.int64)

    def opened(self, path: Path, progress: Progress | None) -> tuple[PackedBags | CsvBags, pd.DataFrame]:
        """The bags, and a row each: case, patient, path."""
        if not path.exists():
            raise UsageError(f"input={path}: no such file or folder")
        if path.is_file() and is_csv_bags(path):
            bags = read_csv_bags(path)
            return bags, pd.DataFrame({"case": bags.names, "patient": bags.names, "path": str(path)})
        listed = list_bags(path, self.cfg)
        return pack_bags(listed["path"].tolist(), cache_root(self.cfg.get("cache_dir")), progress), listed

    def predict_dataloader(self) -> DataLoader[Any]:
        """The readable cases in order; ranks get equally many, so some may come twice (tell by ``case``)."""
        members = [self.members[row] for row in self.readable]
        lengths = np.array([self.bags.lengths[bags].sum() for bags in members], np.int64)
        sampler = EvalSampler(len(members), *ranks())
        batches = PackedBatches(sampler, lengths, int(self.cfg["batch_size"]), int(self.cfg["instances"]), False)
        return loader(CaseBags(self.bags, members, self.readable), batches, int(self.cfg.get("num_workers") or 0))


def told(shape: tuple[int, ...]) -> str:
    """An instance's shape in words."""
    return f"{shape[0]:,} features" if len(shape) == 1 else f"tiles of {' x '.join(map(str, shape))}"


def list_bags(path: Path, cfg: Mapping[str, Any]) -> pd.DataFrame:
    """case, patient and path of the bags of a file, a folder or a table."""
    if path.is_file() and path.suffix.lower() in TABLES:
        table = read_inputs_of(*with_files(read_table(path, "input"), {**cfg, "root": None}))
        return pd.DataFrame({"case": table.case, "patient": table.patient, "path": table.path})
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"input={path} holds no bags ({', '.join(SUFFIXES)})")
    names = [file.name if path.is_file() else file.relative_to(path).as_posix() for file in files]
    pattern = cfg.get("patient_pattern")
    patients = [(match_patient(str(pattern), name) if pattern else None) or name for name in names]
    return pd.DataFrame({"case": names, "patient": patients, "path": [str(file.absolute()) for file in files]})
