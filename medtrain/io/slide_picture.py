"""A slide as a picture with its tiles at their true place: from the slide if it is there, else from its bag alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.io.slide import Slide

LONGEST = 1400  # pixels of a thumbnail's longer side
SHOWN = 144  # pixels a side of a tile that is shown


class SlidePicture:
    """A picture of a slide with the tiles of its bag at their places.

    Args:
        coords, geometry: of the bag, see `io.bags.Bag`.
        slide: its file; '' without one.
        mpp, default_mpp: as `Slide` takes them, where the bag doesn't say its um/px.

    Attributes:
        coords: (N, 2) in pixels of level 0, or in um where nothing says how large those are; None of a bag without
            places.
        edge: a tile's side in the same; None where it is not known.
        edge_um: in um; None where it is not known.
        placed: whether coordinates are in pixels of level 0.
    """

    def __init__(
        self,
        coords: NDArray[np.float64] | None,
        geometry: Mapping[str, Any],
        slide: str = "",
        mpp: float | None = None,
        default_mpp: float | None = None,
    ) -> None:
        self.slide = Slide(slide, geometry.get("mpp") or mpp, default_mpp) if slide else None
        pixel = self.slide.mpp if self.slide else geometry.get("mpp")
        edge, in_um = geometry.get("tile"), geometry.get("unit") == "um"
        self.edge_um = edge if in_um else edge * pixel if edge and pixel else None
        self.coords, self.edge, self.placed = coords, edge, not in_um
        if in_um and pixel and coords is not None and edge is not None:
            self.coords, self.edge, self.placed = coords / pixel, edge / pixel, True
        self.size = (geometry.get("width"), geometry.get("height"))

    def thumbnail(self) -> tuple[NDArray[np.uint8], float]:
        """Read (H, W, 3) RGB, and how many of the coordinates' units a pixel is; white paper without the slide."""
        if self.slide is not None:
            return self.slide.overview(self.slide.mpp * max(1.0, max(self.slide.sizes[0]) / LONGEST))
        assert self.coords is not None and self.edge is not None
        reached = (self.coords.max(0) + self.edge).tolist()
        width, height = (known or end for known, end in zip(self.size, reached, strict=True))
        scale = max(width, height) / LONGEST
        return np.full((int(np.ceil(height / scale)), int(np.ceil(width / scale)), 3), 255, np.uint8), scale

    def tiles(self, which: NDArray[np.int64]) -> list[NDArray[np.uint8]] | None:
        """Read some tiles, (SHOWN, SHOWN, 3) RGB each; None without the slide."""
        if self.slide is None or self.coords is None or not self.edge:
            return None
        view = self.slide.view(self.slide.mpp * max(1.0, self.edge / SHOWN), SHOWN)
        return [self.slide.tile(view, round(x), round(y)) for x, y in self.coords[which].tolist()]
