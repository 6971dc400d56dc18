"""Slices put in order: at even distances, none missing, and over each other even where the gantry was tilted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from medtrain.io.dicom_slices import MARKS, Slice
from medtrain.io.volume import Notes, VolumeError

SAME = 1e-3  # mm within which two slices lie at one place
UNEVEN = 0.1  # of their distance that slices may lie beside an even one, beyond the rounding of their positions
MISSING = 0.35  # of their distance that rounding may explain: more is a gap, however few digits there are
FITTED = 0.01  # mm from which on a fit is told
DRIFT = 0.5  # pixels that the last slice may lie beside the first
STEEPEST = 45.0  # degrees of a gantry, far beyond any that is built


@dataclass(frozen=True)
class Stack:
    """Slices from one end to the other, and how they lie.

    Args:
        origin: the first pixel of the first slice, mm (LPS).
        across, down: unit vectors of the rows and the columns, `normal` to both.
        step: from a slice to the next.
        notes: what a reader should be told.
    """

    slices: list[Slice]
    origin: NDArray[np.float64]
    step: NDArray[np.float64]
    notes: Notes

    @property
    def across(self) -> NDArray[np.float64]:
        return self.slices[0].direction[:3]

    @property
    def down(self) -> NDArray[np.float64]:
        return self.slices[0].direction[3:]

    @property
    def spacing(self) -> NDArray[np.float64]:
        """mm between pixels down and across."""
        return self.slices[0].spacing

    @property
    def drift(self) -> NDArray[np.float64]:
        """Pixels down and across by which each slice lies beside the one before."""
        return np.array([self.step @ self.down, self.step @ self.across]) / self.spacing

    @property
    def tilt(self) -> float:
        """Degrees between the way from slice to slice and their normal; 0 where the whole drift is below `DRIFT`."""
        normal = np.cross(self.across, self.down)
        beside = np.linalg.norm(self.step - (self.step @ normal) * normal)
        drifts = np.abs(self.drift).max() * (len(self.slices) - 1) > DRIFT
        return float(np.rad2deg(np.arctan2(beside, self.step @ normal))) if drifts else 0.0


def in_order(slices: Sequence[Slice]) -> Stack:
    """Sort slices along their normal and fit even distances to their positions.

    Positions may be rounded, to a tenth of a millimetre say: least squares find the distance, and are refused where
    they leave more than the rounding explains.

    Raises:
        VolumeError: several slices lie at one place, some are missing, or they are uneven.
    """
    normal = np.cross(slices[0].direction[:3], slices[0].direction[3:])
    place = np.array([slice_.position @ normal for slice_ in slices])
    order = np.argsort(place, kind="stable")
    slices, place = [slices[n] for n in order], place[order]
    _check_single(slices, place)
    number = np.arange(len(slices))
    centred = number - number.mean()
    position = np.array([slice_.position for slice_ in slices])
    step = centred @ position / (centred @ centred)
    origin = position.mean(0) - number.mean() * step
    off = position - origin - number[:, None] * step
    rounding = _rounding(slices)
    along, beside = np.abs(off @ normal), np.linalg.norm(off - (off @ normal)[:, None] * normal, axis=1)
    distance = float(step @ normal)
    explained = 2 * float(rounding @ np.abs(normal))
    uneven = along.max() > min(max(UNEVEN * distance, explained), MISSING * distance)
    if uneven or np.abs(np.diff(place) - distance).max() > UNEVEN * distance + explained:
        raise VolumeError(_gap(slices, np.diff(place)))
    if beside.max() > max(4 * rounding.min(), DRIFT * float(slices[0].spacing.min())):
        index = int(beside.argmax())
        raise VolumeError(f"slices that do not lie over each other: {slices[index].name} is {beside[index]:.4g} mm off")
    notes = _mixed(slices)
    if along.max() > FITTED:
        notes["fitted"] = (
            f"has slices up to {along.max():.2g} mm beside even distances, as rounding makes them; {distance:.4g} mm "
            "is fitted to them"
        )
    stack = Stack(slices, origin, step, notes)
    if stack.tilt > STEEPEST:
        raise VolumeError(f"slices that do not lie over each other: they drift by {stack.tilt:.0f} degrees")
    if stack.tilt:
        notes["tilt"] = (
            f"was taken with a gantry tilt of {stack.tilt:.1f} degrees, which is undone: slices are moved, pixels "
            "interpolated"
        )
    return stack


def stacked(stack: Stack, slices: Iterable[NDArray[np.generic]]) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """Put the pixels of a stack together.

    Args:
        slices: (H, W) each, in the order of the stack.

    Returns:
        (slice, row, column) voxels as they are stored; and the affine (4, 4) from (column, row, slice) to mm (LPS),
        which shears where the gantry was tilted.
    """
    return _together(slices, len(stack.slices)), _affine(stack, stack.origin, stack.step)


def upright(stack: Stack, x_DHW: NDArray[np.generic]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Undo a tilt.

    Returns:
        as of `stacked`, on an orthogonal grid, which is larger (what no slice shows is the lowest value).
    """
    moved_DHW, before = _upright(x_DHW, stack.drift)
    normal = np.cross(stack.across, stack.down)
    origin = stack.origin - before[0] * stack.spacing[0] * stack.down - before[1] * stack.spacing[1] * stack.across
    return moved_DHW, _affine(stack, origin, (stack.step @ normal) * normal)


def _affine(stack: Stack, origin: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = stack.across * stack.spacing[1], stack.down * stack.spacing[0]
    affine[:3, 2], affine[:3, 3] = step, origin
    return affine


def _together(slices: Iterable[NDArray[np.generic]], count: int) -> NDArray[np.generic]:
    """Stack arrays without holding them twice; the type widens when one of them needs it."""
    out: NDArray[np.generic] | None = None
    for number, pixels in enumerate(slices):
        if out is None:
            out = np.empty((count, *pixels.shape), pixels.dtype)
        if pixels.dtype != out.dtype:
            out = out.astype(np.result_type(out, pixels))
        out[number] = pixels
    assert out is not None
    return out


def _upright(x_DHW: NDArray[np.generic], drift: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Move each slice by its drift, interpolating linearly within it, onto a grid that holds them all.

    Args:
        drift: pixels down and across, from a slice to the next.

    Returns:
        the moved voxels, and how many pixels the grid begins before the first slice, down and across.
    """
    shift = np.arange(len(x_DHW))[:, None] * drift
    before = np.maximum(0, np.ceil(-shift.min(0) - 1e-6)).astype(np.int64)
    after = np.maximum(0, np.ceil(shift.max(0) - 1e-6)).astype(np.int64)
    height, width = np.array(x_DHW.shape[1:]) + before + after
    out = np.full((len(x_DHW), height, width), x_DHW.min(), np.float32)
    for here, pixels, moved in zip(out, x_DHW, shift + before, strict=True):
        whole = np.floor(moved + 1e-6).astype(np.int64)
        part = np.clip(moved - whole, 0, 1)
        part[part < 1e-6] = 0
        fine = _between(_between(pixels.astype(np.float32), part[0], 0), part[1], 1)
        here[whole[0] : whole[0] + fine.shape[0], whole[1] : whole[1] + fine.shape[1]] = fine
    return out, before


def _between(x_HW: NDArray[np.float32], part: float, axis: int) -> NDArray[np.float32]:
    """Move pixels on by a part of one along an axis, which gets one pixel longer; its ends stand for what is beyond."""
    if part == 0:
        return x_HW
    wide = np.pad(x_HW, [(1, 1) if n == axis else (0, 0) for n in range(2)], mode="edge")
    length = wide.shape[axis] - 1
    first, second = (np.take(wide, np.arange(start, start + length), axis) for start in (0, 1))
    return first * np.float32(part) + second * np.float32(1 - part)


def _rounding(slices: Sequence[Slice]) -> NDArray[np.float64]:
    """Give the mm by which each coordinate may be off, half of its last digit; writers leave out zeros at its end.

    A coordinate without any digit is one of whole millimetres: it is no less exact than the others.
    """
    digits = np.max([slice_.digits for slice_ in slices], axis=0)
    return 0.5 * 10.0 ** -np.where(digits > 0, digits, digits.max())


def _check_single(slices: Sequence[Slice], place: NDArray[np.float64]) -> None:
    """Refuse several slices at one place, and say what they differ in."""
    twice = np.flatnonzero(np.diff(place) < SAME)
    if not len(twice):
        return
    of_place: dict[int, list[Slice]] = defaultdict(list)
    for slice_, number in zip(slices, np.cumsum(np.r_[0, np.diff(place) >= SAME]).tolist(), strict=True):
        of_place[number].append(slice_)
    several = [together for together in of_place.values() if len(together) > 1]
    advice = "give each a folder of its own" if slices[0].frames == 1 else "split the file, as dcm2niix does"
    for what, names in MARKS.items():
        values = [{slice_.marks[what] for slice_ in together} for together in several]
        if all(len(differ) == len(together) for differ, together in zip(values, several, strict=True)):
            number = len(set.union(*values))
            raise VolumeError(
                f"{len(slices)} slices at {len(of_place)} places: {number} {what} ({' or '.join(names)}); {advice}"
            )
    index = int(twice[0])
    raise VolumeError(
        f"two slices at one place: {slices[index].name} and {slices[index + 1].name}; several series or time points? "
        f"{advice[0].upper()}{advice[1:]}"
    )


def _mixed(slices: Sequence[Slice]) -> Notes:
    """Tell what alternates, or differs, from slice to slice, each at a place of its own."""
    notes: Notes = {}
    for what, names in MARKS.items():
        values = [slice_.marks[what] for slice_ in slices]
        kinds, changes = len(set(values)), sum(a != b for a, b in pairwise(values))
        blocks = what == "acquisitions" and changes == kinds - 1  # a scanner that goes on in the next one
        if kinds > 1 and not blocks:
            key = f"mixed_{what.replace(' ', '_').replace('-', '_')}"
            notes[key] = f"is made of slices of {kinds} {what} ({' or '.join(names)}), each at a place of its own"
    return notes


def _gap(slices: Sequence[Slice], step: NDArray[np.float64]) -> str:
    usual = float(np.median(step))
    wrong = np.flatnonzero(np.abs(step - usual) > UNEVEN * usual)
    index = int(wrong[np.abs(step[wrong] - usual).argmax()]) if len(wrong) else int(np.abs(step - usual).argmax())
    gap = f"{step[index]:.4g} mm between {slices[index].name} and {slices[index + 1].name}, elsewhere {usual:.4g}"
    missing = int(sum(max(0, round(step[n] / usual) - 1) for n in wrong))
    return (
        f"{missing} {'slice is' if missing == 1 else 'slices are'} missing: "
        if missing
        else "slices at uneven distances: "
    ) + gap
