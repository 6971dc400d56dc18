"""Volumes as every reader gives them: one orientation, their place in the scanner, and their file's own description."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

MOST_VOXELS = 2**31
OBLIQUE = 1.0  # degrees from which on a direction counts as oblique, and axes that are no right angle as sheared

Triple = tuple[float, float, float]
Notes = dict[str, str]
"""What is not wrong enough to refuse a volume, but must not pass in silence: a stable word, and a sentence without its
subject, the volume."""


class VolumeError(ValueError):
    """The reason why a file is no volume, in a few words that name no patient."""


@dataclass(frozen=True)
class Source:
    """The description of a file as it is stored.

    Attributes:
        shape: voxels along its own three axes, in their order.
        spacing: mm along them.
        orientation: where their indices grow to, such as ``LPS`` (left, posterior, superior).
        channels: values a voxel.
        dtype: of the values as stored.
        format: NIfTI or DICOM.
        oblique: degrees between its axes and those of the body.
    """

    shape: tuple[int, ...]
    spacing: Triple
    orientation: str
    channels: int
    dtype: str
    format: str
    oblique: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Source:
        return cls(**plain | {"shape": tuple(plain["shape"]), "spacing": tuple(plain["spacing"])})


@dataclass(frozen=True)
class Volume:
    """Voxels whose indices grow to the head, to the front and to the right (RAS+, read backwards).

    Attributes:
        x_CDHW: any real type.
        affine: (4, 4), from a voxel's (W, H, D) index to mm, x to the right, y to the front, z to the head; so a NIfTI
            file of ``x_CDHW[0].T`` has it.
        source: the file that it came from.
        notes: on how it was read.
        identity: what it is (`medtrain.io.content`), where these voxels are no longer those of its file; else ''.
    """

    x_CDHW: NDArray[Any]
    affine: NDArray[np.float64]
    source: Source = field(repr=False)
    notes: Notes = field(default_factory=dict)
    identity: str = ""

    @property
    def spacing(self) -> Triple:
        """Compute the mm a voxel along D, H, W."""
        w, h, d = nib.affines.voxel_sizes(self.affine)
        return float(d), float(h), float(w)

    def with_voxels(self, x_CDHW: NDArray[Any], affine: NDArray[np.float64]) -> Volume:
        return replace(self, x_CDHW=x_CDHW, affine=affine)


def canonical(
    x: NDArray[Any], affine: NDArray[np.float64], format: str, dtype: str, notes: Notes | None = None
) -> Volume:
    """Turn an array in its file's order into a volume: axes are swapped and reversed, nothing is resampled.

    Args:
        x: three axes of space, and one of channels if there are several.
        affine: (4, 4), from indices of the first three axes to mm (RAS+).

    Raises:
        VolumeError: it is no volume, or lies nowhere.
    """
    check_shape(x.shape)
    check_affine(affine)
    x = x if x.ndim == 4 else x[..., None]
    direction = nib.io_orientation(affine)
    turned = nib.apply_orientation(x, direction)
    placed = affine @ nib.orientations.inv_ornt_aff(direction, x.shape[:3])
    source = Source(
        shape=tuple(int(n) for n in x.shape[:3]),
        spacing=tuple(round(float(s), 6) for s in nib.affines.voxel_sizes(affine)),  # type: ignore[arg-type]
        orientation="".join(str(code) for code in nib.aff2axcodes(affine)),
        channels=int(x.shape[3]),
        dtype=dtype,
        format=format,
        oblique=round(float(np.rad2deg(nib.affines.obliquity(affine).max())), 2),
    )
    return Volume(turned.transpose(3, 2, 1, 0), placed, source, _sheared(affine) | (notes or {}))


def _sheared(affine: NDArray[np.float64]) -> Notes:
    """Tell of axes that are not at right angles: voxels lie in a row all the same, so what they show is sheared."""
    axes = affine[:3, :3] / nib.affines.voxel_sizes(affine)
    off = float(np.rad2deg(np.arcsin(np.abs(np.triu(axes.T @ axes, 1)).max())))
    if off < OBLIQUE:
        return {}
    return {
        "sheared": f"has axes that are {off:.0f} degrees off right angles, as of a gantry tilt that was not undone: it "
        "is taken as it is stored, sheared; give the DICOM series, or the file whose tilt is corrected"
    }


def check_shape(shape: tuple[int, ...]) -> None:
    """Raise VolumeError unless these are three axes of space, and one of channels if there is a fourth."""
    shape_text = " x ".join(map(str, shape))
    if len(shape) < 3 or min(shape[:3]) == 1:
        raise VolumeError(f"{shape_text or 'no'} voxels: a picture, not a volume")
    if len(shape) > 4:
        raise VolumeError(f"{shape_text} values: more than three dimensions and channels")
    if min(shape) < 1:
        raise VolumeError(f"{shape_text} voxels: an empty volume")
    if np.prod(shape, dtype=float) > MOST_VOXELS:
        raise VolumeError(f"{shape_text} voxels: more than 2 billion")


def farthest(one: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Measure how far two affines place a voxel apart, in their unit: the most, which is at a corner.

    Args:
        shape: voxels along the axes that the affines go by.
    """
    corners = np.array([*np.ndindex(2, 2, 2)]) * (np.array(shape[:3]) - 1)
    return float(np.linalg.norm(corners @ (other - one)[:3, :3].T + (other - one)[:3, 3], axis=1).max())


def check_affine(affine: NDArray[np.float64]) -> None:
    """Raise VolumeError unless each axis has a length and they lie in no common plane."""
    sizes = nib.affines.voxel_sizes(affine)
    if not np.isfinite(affine).all() or (sizes <= 0).any():
        raise VolumeError("a spacing that is zero or no number")
    if abs(np.linalg.det(affine[:3, :3] / sizes)) < 1e-3:
        raise VolumeError("axes that lie in one plane: its affine is damaged")
