"""MedMNIST's files as a data module: their own splits, each picture a patient of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import Problem, UsageError
from medtrain.core.progress import Progress
from medtrain.data.settings import image_form
from medtrain.data.table.manifest import Manifest
from medtrain.data.xray.module import ImageData
from medtrain.io.cache_root import cache_root
from medtrain.io.image import ImageForm
from medtrain.io.image_header import Header
from medtrain.io.medmnist import MedMNIST, WholeForm, open_medmnist, size_and_channels
from medtrain.io.table import Listing
from medtrain.target.labels import read_labels


class MedMNISTData(ImageData):
    """`ImageData` from ``data.file``; size and channels are the file's unless data.image_size and data.channels say.

    Classes are named by their numbers, or by data.classes in the order of the numbers. A case is named
    ``split/number``, counted from 0 within its split.
    """

    @property
    def form(self) -> ImageForm | WholeForm:  # type: ignore[override]
        if not self.cfg.get("file"):
            raise UsageError("data.file is not set: give one of MedMNIST's .npz, such as data.file=pneumoniamnist.npz")
        size, channels = size_and_channels(self._file)
        if len(size) == 3:
            if self.cfg.get("image_size") or self.cfg.get("channels"):
                raise UsageError(
                    f"data.image_size and data.channels: {self._file.name} holds volumes, taken as they are"
                )
            return WholeForm(size)
        own = {"image_size": self.cfg.get("image_size") or size, "channels": self.cfg.get("channels") or channels}
        return image_form(self.cfg | own, self.model_spec)

    @property
    def noun(self) -> str:  # type: ignore[override]
        return "images" if isinstance(self.form, ImageForm) else "volumes"

    def manifest(self) -> Manifest:
        self._opened = open_medmnist(self._file, self.form, cache_root(self.cfg.get("cache_dir")))
        split = self._opened.split
        case = [f"{name}/{n}" for name in dict.fromkeys(split) for n in range((split == name).sum())]
        where = [f"{self._file.name} {name}" for name in case]
        model = None if self.model_spec is None else self.model_spec.target
        names = model.classes if model is not None else self.cfg.get("classes")
        columns = named_labels(self._opened.labels, names)
        raw = Listing.of(self._file, {"split": split.tolist(), **columns}, where)
        column = next(iter(columns)) if len(columns) == 1 else list(columns)
        labels = read_labels(raw, column, self.cfg.get("classes"), self.cfg.get("positive"), model)
        warning = Problem("no_patient", self._file.name, "MedMNIST names no patients: each image is its own", "warning")
        return Manifest(
            raw,
            where,
            case,
            path=[str(self._file)] * len(case),
            patient=case,
            has_patients=False,
            split=split,
            target=labels.target,
            targets=labels.values,
            bad=labels.bad,
            warnings=[warning],
        )

    def pictures(self, manifest: Manifest) -> MedMNIST:
        return self._opened

    def pixels(self, cases: Sequence[str]) -> NDArray[Any]:
        found = super().pixels(cases)
        return found if found.ndim == 4 else found[:, :, found.shape[2] // 2]  # of a volume its middle slice

    @property
    def inspector(self) -> str:  # type: ignore[override]
        """Grey levels and looks are measured of pictures only."""
        return "images" if isinstance(self.form, ImageForm) else "cases"

    def headers(
        self, manifest: Manifest, rows: NDArray[np.int64], progress: Progress | None = None
    ) -> list[Header | None]:
        size, channels = size_and_channels(self._file)
        return [Header((size[0], size[1]), channels, 8, "NPZ")] * len(rows)

    @property
    def _file(self) -> Path:
        return Path(str(self.cfg["file"])).expanduser()


def named_labels(labels_NC: NDArray[np.int64], names: Sequence[str] | None) -> dict[str, list[str]]:
    """Labels as a table would have them: one column of class names, or an indicator column for each class.

    Args:
        labels_NC: (N, 1) class numbers or (N, C) indicators.
        names: of the classes, in the order of the numbers; by default the numbers themselves.
    """
    wide = labels_NC.shape[1] > 1
    known = [str(name) for name in names or ()]
    known += [str(n) for n in range(len(known), max(labels_NC.shape[1], int(labels_NC.max(initial=0)) + 1))]
    if wide:
        return {name: [str(v) for v in column] for name, column in zip(known, labels_NC.T, strict=False)}
    return {"label": [known[number] for number in labels_NC[:, 0]]}
