"""MedMNIST's files: their own splits, each picture a patient of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import Problem, UsageError
from medtrain.core.progress import Progress
from medtrain.data.rows.manifest import Manifest
from medtrain.data.settings import image_form
from medtrain.data.source import FILE, Source
from medtrain.io.cache_root import cache_root
from medtrain.io.image_form import ImageForm
from medtrain.io.image_header import Header
from medtrain.io.medmnist import WholeForm, open_medmnist, size_and_channels
from medtrain.io.table import Listing
from medtrain.target import DataSpec
from medtrain.target.labels import labels_of


@Source(FILE, batches="images")
def medmnist(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """List a row a picture of ``data.file``, whose pixels come along; data.image_size is the file's unless given.

    Classes are named by their numbers, or by data.classes in the order of the numbers. A case is named
    ``split/number``, counted from 0 within its split. Arguments as of `medtrain.data.source.reader`.
    """
    if not cfg.get("file"):
        raise UsageError("data.file is not set: give one of MedMNIST's .npz, such as data.file=pneumoniamnist.npz")
    file = Path(str(cfg["file"])).expanduser()
    size, channels = size_and_channels(file)
    opened = open_medmnist(file, form_in(file, cfg, spec), cache_root(cfg.get("cache_dir")))
    case = [f"{name}/{n}" for name in dict.fromkeys(opened.split) for n in range((opened.split == name).sum())]
    where = [f"{file.name} {name}" for name in case]
    model = None if spec is None else spec.target
    columns = named_labels(opened.labels, model.classes if model is not None else cfg.get("classes"))
    raw = Listing.of(file, {"split": opened.split.tolist(), **columns}, where)
    column = next(iter(columns)) if len(columns) == 1 else list(columns)
    labels = labels_of(raw, {"label": column}, cfg, model)
    return Manifest(
        raw,
        where,
        case,
        path=[str(file)] * len(case),
        patient=case,
        has_patients=False,
        split=opened.split,
        target=labels.target,
        targets=labels.values,
        content=opened,
        headers=[Header((size[0], size[1]), channels, 8, "NPZ")] * len(case),
        bad=labels.bad,
        warnings=[Problem("no_patient", file.name, "MedMNIST names no patients: each image is its own", "warning")],
    )


def form_in(file: Path, cfg: Mapping[str, Any], spec: DataSpec | None) -> ImageForm | WholeForm:
    """Choose the form of the pictures of a file: of volumes their own, else the file's size unless `cfg` says."""
    size, channels = size_and_channels(file)
    if len(size) == 2:
        own = {"image_size": cfg.get("image_size") or size, "channels": cfg.get("channels") or channels}
        return image_form({**cfg, **own}, spec)
    if cfg.get("image_size") or cfg.get("channels"):
        raise UsageError(f"data.image_size and data.channels: {file.name} holds volumes, taken as they are")
    return WholeForm(size)


def named_labels(labels_NC: NDArray[np.int64], names: Sequence[str] | None) -> dict[str, list[str]]:
    """Give labels as a table would have them: one column of class names, or an indicator column for each class.

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
