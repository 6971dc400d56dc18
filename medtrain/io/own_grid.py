"""Back to a file's own grid: what a network has said at its working spacing, on the voxels that the image has.

A label map is written with the shape and the affine of the image itself, so that any viewer lays one over the other.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medtrain.core.sliding import Voxels, Window, let_go, whole_volume, zeros
from medtrain.io.files import atomic_path
from medtrain.io.nifti import is_nifti
from medtrain.io.resample import is_same, weighted
from medtrain.io.store.voxels import Stored
from medtrain.io.volume import Triple

MASKS = "masks"  # what folders of label maps are called
SLAB = 2**23  # voxels of a file that are decided at a time
SURE = 0.5  # probability from which on a voxel belongs to a region


def folder_of_maps(table: Path) -> Path:
    """Name the folder of label maps that lies beside a table of predictions."""
    return table.with_name(f"{table.stem}_{MASKS}")


def to_own(x_DHW: NDArray[Any], spacing: Triple, own: Stored, planes: slice = slice(None)) -> NDArray[np.float32]:
    """Bring one channel at the working spacing to the voxels of a file, (D, H, W), by linear interpolation.

    The inverse of `medtrain.io.resample.to_spacing`: both grids have the same centre.

    Args:
        spacing: mm a voxel of `x_DHW`, along D, H, W.
        own: the image in its file's own voxels.
        planes: of the file, along D, that are wanted.
    """
    sizes = own.shape[1:]
    steps = [float(to / was) for to, was in zip(own.spacing, spacing, strict=True)]
    positions = [
        (np.arange(new) - (new - 1) / 2) * step + (old - 1) / 2
        for new, old, step in zip(sizes, x_DHW.shape, steps, strict=True)
    ]
    same = [is_same(places, old) for places, old in zip(positions, x_DHW.shape, strict=True)]
    positions[0], reach = positions[0][planes], max(1.0, steps[0])
    old = x_DHW.shape[0]
    first = planes.indices(sizes[0])[0] if same[0] else min(max(0, math.floor(positions[0][0] - reach)), old - 1)
    last = first + len(positions[0]) if same[0] else max(first, math.ceil(positions[0][-1] + reach)) + 1
    x = np.asarray(x_DHW[first:last], np.float32)
    positions[0] = positions[0] - first
    for axis in sorted(range(3), key=lambda axis: sizes[axis] / x_DHW.shape[axis]):  # what shrinks most goes first
        if not same[axis]:
            x = weighted(x, axis, positions[axis], max(1.0, steps[axis]))
    return x


def slabs(own: Stored) -> Iterator[slice]:
    """Cut a file along D into pieces of about `SLAB` voxels."""
    depth = max(1, SLAB // math.prod(own.shape[2:]))
    return (slice(first, min(first + depth, own.shape[1])) for first in range(0, own.shape[1], depth))


@dataclass(frozen=True)
class View:
    """How one network sees a volume.

    Args:
        network: gives the probabilities of a window.
        x_CDHW: as of `medtrain.core.sliding.whole_volume`.
        window: voxels a side.
        spacing: mm a voxel of `x_CDHW`, along D, H, W.
    """

    network: Window
    x_CDHW: Any
    window: Sequence[int]
    spacing: Triple


def mean_of(views: Sequence[View], own: Stored) -> tuple[Voxels, Triple]:
    """Compute the mean probabilities of several networks, (K, D, H, W), and the mm a voxel along D, H, W.

    At the working spacing, where that is the same for all, which comes to the same; else in the file's own voxels.
    """
    spacings = {view.spacing for view in views}
    total: Voxels | None = None
    for view in views:
        probs = whole_volume(view.network, view.x_CDHW, view.window)
        if len(spacings) > 1:
            probs = _all_to_own(probs, view.spacing, own)
        total = probs if total is None else _added(total, probs)
    assert total is not None
    for plane in range(total.shape[1]) if len(views) > 1 else ():
        total[:, plane] /= np.float32(len(views))
        let_go(total)
    return total, (spacings.pop() if len(spacings) == 1 else own.spacing)


def _added(total: Voxels, probs: Voxels) -> Voxels:
    """Add probabilities to others, plane by plane."""
    for plane in range(total.shape[1]):
        total[:, plane] += probs[:, plane]
        let_go(total)
        let_go(probs)
    return total


def _all_to_own(probs_KDHW: Voxels, spacing: Triple, own: Stored) -> Voxels:
    """Bring all channels to the voxels of a file."""
    out = zeros((len(probs_KDHW), *own.shape[1:]))
    for planes in slabs(own):
        for channel, probs in zip(out, probs_KDHW, strict=True):
            channel[planes] = to_own(probs, spacing, own, planes)
        let_go(out)
        let_go(probs_KDHW)
    return out


def most_likely(x_CDHW: NDArray[Any], spacing: Triple, own: Stored) -> NDArray[np.uint16]:
    """Number the highest channel of each voxel of a file, (D, H, W): some planes of a channel are in memory at a time.

    Args:
        x_CDHW: probabilities or logits at the working spacing.
    """
    label = np.zeros(own.shape[1:], np.uint16)
    for planes in slabs(own):
        best = np.full((planes.stop - planes.start, *own.shape[2:]), -np.inf, np.float32)
        for number, channel in enumerate(x_CDHW):
            x = to_own(channel, spacing, own, planes)
            higher = x > best
            label[planes][higher] = number
            np.copyto(best, x, where=higher)
        let_go(x_CDHW)
    return label


def sure(x_CDHW: NDArray[Any], spacing: Triple, own: Stored) -> list[NDArray[np.bool_]]:
    """Say which voxels of a file, (D, H, W), each channel holds for its own; see `most_likely`."""
    masks = [np.zeros(own.shape[1:], bool) for _ in x_CDHW]
    for planes in slabs(own):
        for mask, channel in zip(masks, x_CDHW, strict=True):
            mask[planes] = to_own(channel, spacing, own, planes) >= SURE
        let_go(x_CDHW)
    return masks


def largest_component(mask_DHW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the largest connected piece of a mask (26 neighbours); of several as large, the first along D, H, W."""
    sides = [np.flatnonzero(mask_DHW.any(tuple(axis for axis in range(3) if axis != own))) for own in range(3)]
    if not len(sides[0]):
        return mask_DHW
    box = tuple(slice(int(side[0]), int(side[-1]) + 1) for side in sides)
    number_DHW, count = ndimage.label(mask_DHW[box], np.ones((3, 3, 3), bool))
    if count < 2:
        return mask_DHW
    largest = int(np.bincount(number_DHW[mask_DHW[box]]).argmax())
    alone = np.zeros_like(mask_DHW)
    alone[box] = number_DHW == largest
    return alone


def decided(
    probs_KDHW: NDArray[Any],
    spacing: Triple,
    own: Stored,
    codes: Sequence[int],
    layout: str,
    largest: Collection[int] = (),
) -> tuple[NDArray[np.uint16], list[NDArray[np.bool_]]]:
    """Decide the voxels of a file: a label map (D, H, W) as files have it, and the voxels of each class.

    Args:
        probs_KDHW: at the working spacing; the first is the background, unless classes are regions.
        codes: what files have for each label.
        layout: ``labels``; or classes are regions, ``nested``, each within the one before, and numbered from 1, or
            ``summed``, which may overlap as they like: a voxel has the sum of their numbers 1, 2, 4, ...
        largest: the classes, by their places, of which only the largest component counts.
    """
    if layout == "labels":
        number = most_likely(probs_KDHW, spacing, own)
        masks = [number == n for n in range(1, len(codes) + 1)]
    else:
        masks = filled(sure(probs_KDHW, spacing, own), layout)
    if largest:
        masks = [largest_component(mask) if place in largest else mask for place, mask in enumerate(masks)]
        masks = filled(masks, layout)
    label = np.zeros(own.shape[1:], np.uint16)
    for place, inside in enumerate(masks):
        if layout == "summed":
            label[inside] += 1 << place
        else:
            label[inside] = codes[place] if layout == "labels" else place + 1
    return label, masks


def filled(masks: Sequence[NDArray[np.bool_]], layout: str) -> list[NDArray[np.bool_]]:
    """Let what lies in a nested region lie in those around it too, as a label map has it; others stay as they are."""
    made = list(masks)
    for place in range(len(made) - 2, -1, -1) if layout == "nested" else ():
        made[place] = made[place] | made[place + 1]
    return made


def masks_ml(masks: Sequence[NDArray[np.bool_]], spacing: Sequence[float]) -> list[float]:
    """Measure the volumes of masks in ml, of voxels of this spacing in mm."""
    return [float(mask.sum() * np.prod(spacing) / 1000) for mask in masks]


def near_ties(
    probs_KDHW: NDArray[Any], spacing: Triple, own: Stored, nested: bool, within: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the voxels of a file whose label is nearly another one: their places in (D, H, W), flat, and how nearly.

    Args:
        probs_KDHW, nested: as of `decided`.
        within: of a probability, between the two highest, or of a region from where it begins.
    """
    best = np.full(own.shape[1:], np.inf if nested else -np.inf, np.float32)
    second = best.copy()
    for channel in probs_KDHW:
        x = to_own(channel, spacing, own)
        if nested:
            np.minimum(best, np.abs(x - np.float32(SURE)), out=best)
        else:
            np.maximum(second, np.minimum(best, x), out=second)
            np.maximum(best, x, out=best)
    margin = best.ravel() if nested else (best - second).ravel()
    place = np.flatnonzero(margin <= within)
    return place, margin[place]


def as_in_file(x_DHW: NDArray[Any], own: Stored) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Turn (D, H, W) on a file's own voxels to the order and direction of its axes; with the affine that goes with it.

    Args:
        own: the image in its file's own voxels, as every reader turns them.
    """
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(own.source.orientation)
    )
    x_WHD = x_DHW.transpose(2, 1, 0)
    turned = nib.orientations.apply_orientation(x_WHD, turn)
    return turned, own.affine @ nib.orientations.inv_ornt_aff(turn, x_WHD.shape)


def write_on_own(x_DHW: NDArray[Any], own: Stored, image: str | os.PathLike[str], file: Path) -> None:
    """Write labels or a map of probabilities as NIfTI, with the shape and the affine of the image.

    Args:
        x_DHW: unsigned integers or float32, on the image's own voxels.
        own: the image in its file's own voxels.
        image: its file; of NIfTI, the codes that say what space it lies in are kept, and its affine to the bit.
        file: to be written, .nii or .nii.gz.
    """
    turned, affine = as_in_file(x_DHW, own)
    made = nib.Nifti1Image(np.ascontiguousarray(turned), affine)
    made.header.set_xyzt_units("mm")
    if is_nifti(image):
        header: Any = nib.load(image)
        made = nib.Nifti1Image(np.ascontiguousarray(turned), header.affine)
        made.header.set_xyzt_units(header.header.get_xyzt_units()[0])
        made.set_sform(header.affine, int(header.header["sform_code"]) or 1)
        made.set_qform(header.affine, int(header.header["qform_code"]))
    suffix = ".nii.gz" if file.name.endswith(".gz") else ".nii"
    with atomic_path(file) as temporary:
        written = temporary.with_name(temporary.name + suffix)
        try:
            nib.save(made, written)
            os.replace(written, temporary)
        finally:
            written.unlink(missing_ok=True)
