"""A classifier of volumes as two graphs: patches to logits; and all logits of a case to the calibrated decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.pool import pool_case
from medtrain.data.batches.patch_form import PatchForm, patch_form
from medtrain.export.portable import ExportRequest, Part, Portable
from medtrain.io.volume_source import read_volume
from medtrain.model import Ensemble, show_columns
from medtrain.task.classification.portable import (
    Judge,
    Logits,
    break_off,
    columns_beside,
    comparing,
    outputs_of_one,
    refuse_drawn,
)

ODD = (3, 5, 7)  # voxels a side of a small volume
TRAINING = ("jitter", "per_volume", "foreground_share", "beyond", "label", "min_share", "control")
A_VOLUME = "a volume (NIfTI, FreeSurfer, multi-frame DICOM, or a folder with a DICOM series)"


class PatchNetwork(nn.Module):
    """The network with normalisation and views: patches to logits of its members, with scores where attention pools."""

    def __init__(self, task: Any, request: ExportRequest) -> None:
        super().__init__()
        self.logits = Logits(task, request)
        self.views, self.k, self.pooling = task.views, task.spec.n_logits, task.target.pooling

    def forward(self, patches: Tensor, columns: Tensor | None = None) -> tuple[Tensor, ...]:
        """Map (N, C, D, H, W) float32 in 0..1 to (N, S, K), one column more with scores.

        Args:
            columns: beside the volume that all patches are of, coded (1, V) float32, of networks that take any.
        """
        show_columns(self.logits.network, columns)
        seen = [self.logits(view) for view in ([patches] if self.views is None else self.views(patches))]
        if len(seen) == 1:
            return (seen[0],)
        logits = pool_case(torch.stack([view[..., : self.k] for view in seen]), "mean", **self.pooling)
        scores = torch.stack([view[..., self.k :] for view in seen]).mean(0)
        return (torch.cat([logits.float(), scores], -1),)


class Pool(nn.Module):
    """The instances of one case to its probabilities and decision."""

    def __init__(self, task: Any, request: ExportRequest) -> None:
        super().__init__()
        self.judge, self.how, self.pooling = Judge(task, request), task.pool, task.target.pooling

    def forward(self, instances: Tensor) -> tuple[Tensor, ...]:
        """Map (N, S, K) of a case to what `outputs_of` names, without the axis of cases."""
        if self.how == "attention":
            weight_NS = instances[..., -1].softmax(0)
            logits_SK = (weight_NS[..., None] * instances[..., :-1]).sum(0).double()
        else:
            logits_SK = pool_case(instances, self.how, **self.pooling).float().double()
        return tuple(output[0] for output in self.judge(logits_SK[None]))


def portable_volumes(task: Any, request: ExportRequest) -> Portable:
    """Make the export of a classifier of volumes.

    Raises:
        UsageError: what it reads, or adds at random, can't be exported.
    """
    form, spec = patch_form(request.data, task.spec), task.spec
    refuse_drawn(task)
    refuse_patches(form)
    members = len(task.model.members) if isinstance(task.model, Ensemble) else 1
    example = (2, spec.channels, *form.size)
    width = spec.n_logits + (task.pool == "attention")
    columns = columns_beside(task, 1)
    network = Part(
        PatchNetwork(task, request),
        {"patches": torch.linspace(0, 1, 2 * spec.channels * int(np.prod(form.size))).reshape(example), **columns},
        {"patches": {0: "patches"}, **{key: {} for key in columns}},
        {"instances": "(patches, members, outputs) float32, logits, and a score where attention pools"},
    )
    pool = Part(
        Pool(task, request),
        {"instances": torch.linspace(-1, 1, 3 * members * width).reshape(3, members, width)},
        {"instances": {0: "patches"}},
        outputs_of_one(task),
    )
    return Portable(
        {"model": network, "pool": pool},
        "volumes",
        reads=A_VOLUME,
        writes="a CSV with a row a volume",
        suffix=".csv",
        strange=odd_volumes,
        keep=keep_volume,
        compare=comparing(task),
        facts={"input": facts_of_patches(form, spec.spacing, spec.channels)},
    )


def refuse_patches(form: PatchForm) -> None:
    """Refuse (UsageError) patches that lie where no one knows who has but the image."""
    if form.center == "mask" or form.control is not None:
        raise UsageError("export: patches around masks, and those that show nothing, can't be exported")


def facts_of_patches(form: PatchForm, spacing: Sequence[float] | None, channels: int) -> dict[str, Any]:
    """Say how a file becomes patches."""
    cut = {key: value for key, value in asdict(form).items() if key not in TRAINING}
    return {"form": cut, "spacing": spacing and list(spacing), "channels": channels}


def odd_volumes(source: Path, folder: Path) -> None:
    """Write a volume smaller than any patch, cut from a real one, and a file that breaks off."""
    volume = read_volume(source)
    x = np.asarray(volume.x_CDHW, np.float32)
    small = np.stack([np.resize(channel, ODD) for channel in x])
    file = _write(small, volume.affine, folder / "odd")
    break_off(file, folder / "unreadable.nii.gz")


def keep_volume(voxels_CDHW: np.ndarray, path: Path) -> Path:
    """Write a volume that lies in no file of its own as NIfTI."""
    return _write(voxels_CDHW, np.eye(4), path)


def _write(x_CDHW: np.ndarray, affine: np.ndarray, path: Path) -> Path:
    file = path.with_name(f"{path.name}.nii.gz")
    turned = x_CDHW.transpose(3, 2, 1, 0)
    image = nib.Nifti1Image(turned[..., 0] if turned.shape[-1] == 1 else turned, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, file)
    return file
