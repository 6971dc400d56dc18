"""From the shadow of a chest to a film: scatter, noise, exposure, what technicians leave on it, the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from medtrain.data.phantom.anatomy import Picture

GAIN = {"north": 1.0, "south": 0.93, "west": 1.06}
SITES = tuple(GAIN)


def scattered(chest: Picture) -> Picture:
    """Blur a picture by scatter and focal spot."""
    return np.asarray(gaussian_filter(chest, 0.006 * len(chest)))


def halved(picture: Picture) -> Picture:
    """Halve height and width; what is drawn at twice its size has smooth edges."""
    height, width = picture.shape
    return np.asarray(picture.reshape(height // 2, 2, width // 2, 2).mean((1, 3)))


def expose(draw: np.random.Generator, film: Picture, site: str) -> Picture:
    """Add quantum noise, and the exposure of a hospital on one day: 0 (black) to 1."""
    film = film + draw.normal(0, draw.uniform(0.008, 0.02), film.shape)
    gain = GAIN[site] * draw.uniform(0.9, 1.1)
    film = np.clip((film + draw.uniform(-0.04, 0.04)) * gain, 0, 1) ** draw.uniform(0.85, 1.2)
    return np.asarray(film, np.float32)


def mark(draw: np.random.Generator, film: Picture) -> Picture:
    """Mark a film as technicians do: a side marker, ECG electrodes with their leads."""
    height, width = film.shape
    if draw.random() < 0.7:
        top, left = int(height * draw.uniform(0.03, 0.1)), int(width * draw.uniform(0.86, 0.92))
        stroke, tall = max(1, height // 50), max(4, height // 14)
        film[top : top + tall, left : left + stroke] = 0.95
        film[top + tall - stroke : top + tall, left : left + tall // 2] = 0.95
    if draw.random() < 0.35:
        rows, columns = np.mgrid[:height, :width]
        for _ in range(int(draw.integers(1, 4))):
            cy, cx = height * draw.uniform(0.2, 0.8), width * draw.uniform(0.15, 0.85)
            film[np.hypot(rows - cy, columns - cx) < height * 0.013] = 0.97
            slope = draw.uniform(-0.4, 0.4)
            lead = (np.abs(columns - cx - slope * (rows - cy)) < height * 0.005) & (rows > cy)
            film[lead] = np.maximum(film[lead], 0.75)
    return film


def save(film: Picture, path: Path, draw: np.random.Generator) -> None:
    """Save two in three as 8 bit, the others as 12-bit values in a 16-bit file, as detectors give them."""
    if draw.random() < 1 / 3:
        Image.fromarray(np.rint(film * 4095).astype(np.uint16)).save(path)
    else:
        Image.fromarray(np.rint(film * 255).astype(np.uint8)).save(path)
