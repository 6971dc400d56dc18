"""Maps of patches put together to one of the whole volume, and a picture of it: three planes through its peak."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from medtrain.explain.picture import STRONGEST, colour_bar, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[Any]
PLANES = (("axial", "R", "L"), ("coronal", "R", "L"), ("sagittal", "A", "P"))  # what stands left and right


def stitched(
    maps: Iterable[tuple[Sequence[int], Array]], size: Sequence[int], shape: Sequence[int]
) -> NDArray[np.float32]:
    """Put patches together to the map of a volume (D, H, W): each voxel the mean of its patches, 0 where none is.

    Args:
        maps: where each patch begins along D, H, W (below 0 where it sticks out), and its map at any resolution.
        size: of a patch, in voxels.
        shape: of the volume.
    """
    total, count = np.zeros(tuple(shape), np.float32), np.zeros(tuple(shape), np.uint16)
    for start, heat in maps:
        fine = F.interpolate(torch.from_numpy(heat)[None, None].float(), size=tuple(size), mode="trilinear")[0, 0]
        place = tuple(slice(max(0, s), min(n, s + k)) for s, k, n in zip(start, size, shape, strict=True))
        part = tuple(slice(p.start - s, p.stop - s) for p, s in zip(place, start, strict=True))
        total[place] += fine.numpy()[part]
        count[place] += 1
    return np.asarray(total / np.maximum(count, 1), np.float32)


def three_planes(
    shown_DHW: Array, heat_DHW: Array, point_3: Sequence[int], spacing: Sequence[float], title: str, scale: str
) -> Figure:
    """Draw axial, coronal and sagittal plane through a point, plain and under the heat, as radiologists look.

    Args:
        shown_DHW: what may be indexed like an array; grey levels from 0 to 1; indices grow to head, front and right.
        heat_DHW: drawn relative to its maximum.
        point_3: the point, along D, H, W.
        spacing: mm along D, H, W.
        title: above them.
        scale: what the colours mean.
    """
    figure = sheet((11.6, 7.8), title)
    axes = figure.subplots(2, 3)
    most = max(float(heat_DHW.max()), 1e-12)
    for axis, (name, left, right) in enumerate(PLANES):
        rows, columns = [n for n in range(3) if n != axis]
        aspect = spacing[rows] / spacing[columns]
        film, heat = plane(shown_DHW, axis, point_3[axis]), plane(heat_DHW, axis, point_3[axis]) / most
        point = [film.shape[side] - 1 - point_3[n] for side, n in ((1, columns), (0, rows))]
        for row in (0, 1):
            axes[row, axis].imshow(film, cmap="gray", vmin=0, vmax=1, aspect=aspect)
            axes[row, axis].set_axis_off()
        axes[0, axis].plot(*point, "+", color="#ffcc33", markersize=18, markeredgewidth=1)
        axes[0, axis].set_title(f"{left}   {name}   {right}", fontsize=9)
        painted = axes[1, axis].imshow(
            heat, cmap="inferno", vmin=0, vmax=1, alpha=STRONGEST * np.clip(heat, 0, 1), aspect=aspect
        )
    colour_bar(figure, painted, list(axes[1]), scale)
    return figure


def plane(x_DHW: Array, axis: int, number: int) -> Array:
    """Turn one plane as it is looked at: head or front on top, the patient's right, or front, on the left."""
    return np.asarray(x_DHW[(slice(None),) * axis + (number,)])[::-1, ::-1]
