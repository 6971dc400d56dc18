"""Between what the grey levels of a volume run, whatever single voxels hold.

A value of no data (-1e30, or the -3024 around a round field of view) and a voxel that has overflowed tell nothing of
what a volume shows. Left in, they would take all steps that stored values have, drag the window, and shine into their
neighbours when the volume is resampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE = 1 << 21  # voxels that limits, background and percentiles are found by
PERCENTILES = (0.5, 99.5)
REACH = 30.0  # spans between these percentiles that values may lie beyond them: 65,535 steps leave 1,074 for one span
NEAR = 1.0  # beyond them too, in spans: what a window takes in where voxels have run away, as some are blurred by these
PADDING_SHARE, PADDING_GAP = 0.005, 0.25  # of all voxels; of the span of the others

FAR = 2.0**16  # times the range: float32 has 24 bits

Ends = tuple[float, float]


@dataclass(frozen=True)
class Limits:
    """The limits of one channel.

    Args:
        low, high: values beyond are taken for these.
        usual: the 0.5th and 99.5th percentile of what is no padding.
        below, above: values from which on, downwards and upwards, there is only padding.
        least, most: what the file holds.
        padded, beyond: voxels of padding, and others beyond the limits.
    """

    low: float
    high: float
    usual: Ends
    below: float
    above: float
    least: float
    most: float
    padded: int
    beyond: int

    @property
    def span(self) -> float:
        return self.usual[1] - self.usual[0]

    @property
    def level(self) -> float:
        """Give what padding is kept as: below all else, but no farther than padding has to be."""
        return self.usual[0] - PADDING_GAP * self.span

    def shown(self, values: NDArray[Any]) -> NDArray[Any]:
        """Select what is no padding of values that went through `applied`, nor has run away or been blurred by it."""
        if self.padded:
            values = values[values > self.level + 1e-3 * self.span]
        if self.beyond:
            off = NEAR * self.span
            values = values[(values >= self.usual[0] - off) & (values <= self.usual[1] + off)]
        return values

    def window(self, values: NDArray[Any]) -> Ends:
        """Find where values lie, the 0.5th and 99.5th percentile of them; of a sparse volume's, of what differs."""
        low, high = spread_of(values) if len(values) else self.usual
        return (low, high) if high > low else self.usual

    @property
    def idle(self) -> bool:
        """Tell whether all voxels lie within, and near enough to 0 for 32-bit numbers."""
        return not (self.padded or self.beyond or self.origin)

    @property
    def origin(self) -> float:
        """Give what is taken off values that lie so far from 0 that 32-bit numbers would not tell them apart."""
        far = max(abs(self.low), abs(self.high)) > FAR * (self.high - self.low)
        return float(np.floor(self.low)) if far and self.high > self.low else 0.0

    def applied(self, x_DHW: NDArray[Any], whole: bool) -> NDArray[Any]:
        """Give a copy whose voxels lie within, less `origin`, as float32, or, if `whole`, as they were or int32."""
        kind = np.dtype(np.float32) if not whole else np.dtype(np.int32) if self.origin else x_DHW.dtype
        out = np.empty(x_DHW.shape, kind)
        low, high, level = self.low, self.high, self.level
        if whole:
            low, high, level = np.ceil(low), np.floor(high), np.floor(level)
        for plane, new in zip(x_DHW, out, strict=True):
            within = np.asarray(plane, np.float64)
            if self.padded:
                within = np.where((plane <= self.below) | (plane >= self.above), level, within)
            new[:] = np.clip(within, low, high) - self.origin
        return out

    def less_origin(self) -> Limits:
        """Give the same limits of what `applied` gives."""
        off = self.origin
        ends = self.low - off, self.high - off, (self.usual[0] - off, self.usual[1] - off)
        return Limits(*ends, self.below - off, self.above - off, self.least, self.most, self.padded, self.beyond)


def limits_of(x_DHW: NDArray[Any], window: Ends | None = None) -> Limits:
    """Find the limits of a channel of finite voxels; a window lies within them, and as much on either side."""
    least, most = float(x_DHW.min()), float(x_DHW.max())
    values, below, above = _without_padding(np.sort(sampled(x_DHW), axis=None))
    low, high = spread_of(values)
    if low == high and least < most:  # what differs is too little to be in a sample
        others = np.concatenate([plane[plane != low] for plane in x_DHW]).astype(np.float64)
        low, high = spread_of(np.concatenate([[low], others]))
    first, last = low - REACH * (high - low), high + REACH * (high - low)
    if window is not None:
        wide = window[1] - window[0]
        first, last = min(first, window[0] - wide), max(last, window[1] + wide)
    padded, beyond, ends = 0, 0, [np.inf, -np.inf]
    for plane in x_DHW:
        padding = (plane <= below) | (plane >= above)
        rest = plane[~padding] if padding.any() else plane
        padded += int(np.count_nonzero(padding))
        beyond += int(np.count_nonzero((rest < first) | (rest > last))) if least < first or most > last else 0
        if rest.size:
            ends = [min(ends[0], float(rest.min())), max(ends[1], float(rest.max()))]
    first, last = max(ends[0], first), min(ends[1], last)
    if padded:
        first = min(first, float(np.floor(low - PADDING_GAP * (high - low))))
    return Limits(first, last, (low, high), below, above, least, most, padded, beyond)


def sampled(x_DHW: NDArray[Any]) -> NDArray[Any]:
    """Take every n-th voxel along each axis, so that about `SAMPLE` are left."""
    step = step_of(x_DHW)
    return x_DHW[::step, ::step, ::step]


def step_of(x_DHW: NDArray[Any]) -> int:
    return max(1, int(np.ceil((x_DHW.size / SAMPLE) ** (1 / 3))))


def spread_of(values: NDArray[Any]) -> Ends:
    """Compute the 0.5th and the 99.5th percentile; where they are equal, those of all other values and this one."""
    low, high = (float(value) for value in np.percentile(values, PERCENTILES))
    if low == high and len(others := values[values != low]):
        ends = np.percentile(others, PERCENTILES)
        low, high = min(low, float(ends[0])), max(high, float(ends[1]))
    return low, high


def _without_padding(values: NDArray[Any]) -> tuple[NDArray[Any], float, float]:
    """Take padding off the ends of sorted values: a value, not 0, of many voxels, far from all others.

    What is bright and of one value may be what is looked for, so above that means very far.
    """
    ends = [-np.inf, np.inf]
    for _ in range(4):  # there may be several such values
        before = len(values)
        for side in (0, 1):
            ordered = values if side == 0 else values[::-1]
            value = ordered[0]
            count = int(np.count_nonzero(values == value))
            rest = ordered[count:]
            if value == 0 or count < PADDING_SHARE * len(values) or len(rest) < 2:
                continue
            low, high = spread_of(rest)
            if high > low and abs(float(rest[0]) - float(value)) > (PADDING_GAP, REACH)[side] * (high - low):
                ends[side] = float(value)
                values = rest if side == 0 else rest[::-1]
        if len(values) == before:
            break
    return values, ends[0], ends[1]
