"""The anatomy of a phantom chest, in units of half the film's height: x to the right, y down, (0, 0) in the middle.

Brightness adds up as absorption does on a film: soft tissue, less the air of the lungs, plus bone, heart and vessels.
As on every chest film, the patient's right is on the left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[Any]  # float32


@dataclass(frozen=True)
class Anatomy:
    """One patient."""

    width: float  # of the thorax
    apex: float  # y of the lungs' tops
    base: float  # y of the right diaphragm's dome
    heart: float  # its transverse radius
    tissue: float  # thickness of soft tissue
    rib: float  # contrast of the ribs
    first_rib: float
    rib_step: float
    scoliosis: float
    breast: float  # 0, or the contrast of breast shadows
    vessels: tuple[tuple[float, float, float, float, float], ...]  # side, start y, angle, length, bend


def draw_anatomy(draw: np.random.Generator) -> Anatomy:
    vessels = tuple(
        (side, draw.uniform(-0.12, 0.2), draw.uniform(-1.1, 1.2), draw.uniform(0.2, 0.5), draw.uniform(-0.5, 0.5))
        for side in (-1.0, 1.0)
        for _ in range(9)
    )
    return Anatomy(
        width=draw.uniform(0.68, 0.8),
        apex=draw.uniform(-0.8, -0.68),
        base=draw.uniform(0.36, 0.52),
        heart=draw.uniform(0.22, 0.31),
        tissue=draw.uniform(0.48, 0.6),
        rib=draw.uniform(0.05, 0.1),
        first_rib=draw.uniform(-0.72, -0.64),
        rib_step=draw.uniform(0.135, 0.165),
        scoliosis=draw.uniform(-0.03, 0.03),
        breast=draw.uniform(0.03, 0.1) if draw.random() < 0.5 else 0.0,
        vessels=vessels,
    )


def grid(height: int, width: int, draw: np.random.Generator) -> tuple[Picture, Picture]:
    """Compute coordinates of a film's pixels under the pose of the day: turned, shifted, nearer or farther."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    y = (rows + 0.5) / height * 2 - 1
    x = ((columns + 0.5) / width * 2 - 1) * width / height
    angle, scale = np.float32(draw.normal(0, 0.03)), np.float32(draw.uniform(0.94, 1.08))
    x, y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    return x * scale + np.float32(draw.normal(0, 0.03)), y * scale + np.float32(draw.normal(0, 0.03))


def soft_step(distance: Picture, softness: float) -> Picture:
    """Give 1 where `distance` is well below 0, 0 well above."""
    return np.asarray(0.5 - 0.5 * np.tanh(distance / (2 * softness)), np.float32)


def draw_chest(anatomy: Anatomy, x: Picture, y: Picture, supine: bool) -> tuple[Picture, Picture]:
    """Draw a healthy chest, and where its lungs are (0 to 1).

    Args:
        x, y: from `grid`.
        supine: an AP film: larger heart, higher diaphragm.
    """
    a = anatomy
    base = a.base - (0.06 if supine else 0.0)
    heart_x = a.heart * (1.18 if supine else 1.0)
    spine = a.scoliosis * np.sin(3 * y)
    across = x - spine

    body = _body(a, across, y)
    lungs = _lungs(a, across, y, base) * body
    film = body * a.tissue * (1 + 0.12 * y)
    film = film - lungs * (0.33 + 0.05 * (1 - y)) * (a.tissue / 0.54)
    film = film + _mediastinum(a, across, y, base, heart_x) * body
    film = film + _bones(a, across, y, body)
    film = film + _vessels(a, across, y, lungs)
    if a.breast:
        for side in (-1.0, 1.0):
            film = film + a.breast * soft_step(np.hypot((across - side * 0.42) / 0.3, (y - 0.28) / 0.26) - 1, 0.12)
    return np.asarray(film + 0.04, np.float32), lungs


def _body(a: Anatomy, x: Picture, y: Picture) -> Picture:
    """Draw trunk, sloping shoulders and neck."""
    flank = a.width + 0.13 + 0.06 * y
    trunk = soft_step(np.abs(x) - flank, 0.02) * soft_step(-0.93 - y + 0.3 * np.clip(np.abs(x) - 0.25, 0, None), 0.03)
    shoulders = (
        soft_step(np.abs(x) - 1.15, 0.05) * soft_step(-0.98 - y + 0.3 * np.abs(x), 0.03) * soft_step(y + 0.35, 0.12)
    )
    neck = soft_step(np.abs(x) - 0.24, 0.03) * soft_step(y + 0.7, 0.05)
    return np.maximum(np.maximum(trunk, shoulders), neck)


def _lungs(a: Anatomy, x: Picture, y: Picture, base: float) -> Picture:
    """Draw two fields that taper to the apex and stand on the diaphragm's domes, the right one higher."""
    out = np.zeros_like(x)
    for side in (-1.0, 1.0):
        centre = side * a.width * 0.52
        floor = base + (0.05 if side > 0 else 0.0)
        middle, tall = (a.apex + floor) / 2 + 0.12, (floor - a.apex) / 2 + 0.16
        wide = a.width * 0.44
        up = np.clip((y - middle) / tall, -1.5, 1.5)
        oval = np.abs((x - centre + side * 0.1 * np.clip(-up, 0, 1) ** 2) / wide) ** 2.4 + np.abs(up) ** 2.4
        dome = y - floor - 1.3 * (x - centre) ** 2
        out = np.maximum(out, soft_step(oval - 1, 0.1) * soft_step(dome, 0.018))
    return out


def _mediastinum(a: Anatomy, x: Picture, y: Picture, base: float, heart_x: float) -> Picture:
    """Draw central shadow, aortic arch, heart (two thirds of it on the patient's left) and trachea."""
    below = soft_step(y - base - 0.3, 0.1)
    central = soft_step(np.abs(x) - 0.1 - 0.05 * np.clip(y + 0.2, 0, 1), 0.025) * below
    arch = soft_step(np.hypot((x - 0.11) / 0.09, (y + 0.27) / 0.1) - 1, 0.15)
    right, down = x - 0.11, y - base + 0.15
    long, short = 0.88 * right + 0.47 * down, 0.88 * down - 0.47 * right  # its axis points to the left hip
    heart = soft_step(np.hypot(long / (1.2 * heart_x), short / (0.88 * heart_x)) - 1, 0.05) * soft_step(
        y - base - 0.2, 0.08
    )
    trachea = soft_step(np.abs(x) - 0.035, 0.012) * soft_step(y + 0.2, 0.04)
    shadow = np.maximum(np.maximum(0.26 * central, 0.2 * arch), 0.3 * heart)
    return np.asarray(shadow - 0.1 * trachea, np.float32)


def _bones(a: Anatomy, x: Picture, y: Picture, body: Picture) -> Picture:
    """Draw vertebrae, nine pairs of ribs (back: falling outwards; front: rising), clavicles."""
    vertebra = 0.5 + 0.5 * np.cos(y * 2 * np.pi / 0.14)
    out = (0.05 + 0.05 * vertebra) * soft_step(np.abs(x) - 0.075, 0.01)
    reach = np.clip(np.abs(x) / a.width, 0, 1)
    within = soft_step(np.abs(x) - a.width * 1.0, 0.02) * soft_step(0.09 - np.abs(x), 0.02)
    low, high = y.min(1), y.max(1)

    def arc(contrast: float, thick: float, centre: Picture, top: float, bottom: float) -> None:
        rows = np.flatnonzero((high > top) & (low < bottom))  # most of the film is far from one rib
        if len(rows):
            part = np.s_[rows[0] : rows[-1] + 1]
            out[part] += contrast * within[part] * np.exp(-(((y[part] - centre[part]) / thick) ** 2)) * weight[part]

    for number in range(9):
        start, bend = a.first_rib + number * a.rib_step, 0.1 + 0.025 * number
        weight = 0.6 + 0.5 * reach
        arc(a.rib, 0.027, start - 0.07 * np.sin(reach * np.pi) + bend * reach**2, start - 0.17, start + bend + 0.1)
        if 1 <= number <= 6:
            inner, front = 1 - reach, start + 0.3 + bend
            weight = np.clip(reach * 1.6 - 0.5, 0, 1)
            arc(0.45 * a.rib, 0.035, front - 0.34 * inner**1.5 + 0.2 * inner, front - 0.25, front + 0.13)
    collar = y - a.apex - 0.14 + 0.22 * (np.abs(x) - 0.1) - 0.06 * np.sin(np.abs(x) * 7)
    span = soft_step(np.abs(x) - 0.72, 0.03) * soft_step(0.1 - np.abs(x), 0.02)
    out = out + 0.13 * span * np.exp(-((collar / 0.035) ** 4))
    return np.asarray(out * body, np.float32)


def _vessels(a: Anatomy, x: Picture, y: Picture, lungs: Picture) -> Picture:
    """Draw hila, and vessels that branch from them and fade outwards."""
    out = np.zeros_like(x)
    for side in (-1.0, 1.0):
        hilum = np.hypot((x - side * 0.17) / 0.08, (y - 0.0) / 0.15)
        out = np.maximum(out, 0.13 * np.exp(-(hilum**2)))
    for side, start, angle, length, bend in a.vessels:
        reached = np.flatnonzero(((side * x > 0.14) & (side * x < 0.14 + length)).any(0))
        if not len(reached):
            continue
        part = np.s_[:, reached[0] : reached[-1] + 1]  # most of the film is out of its reach
        along = side * x[part] - 0.14
        slope = float(np.tan(angle * 0.75))
        line = (y[part] - start - slope * along - bend * along**2) / float(np.sqrt(1 + slope**2))
        thick = 0.02 * (1.15 - np.clip(along / length, 0, 1))
        fade = np.clip(1 - along / length, 0, 1) * (along > 0)
        out[part] = np.maximum(out[part], 0.13 * fade * np.exp(-((line / thick) ** 2)))
    return np.asarray(out * np.maximum(lungs, 0.2), np.float32)
