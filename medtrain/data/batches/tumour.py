"""Where tumours are known: masks over slides, brought down to the tiles of a bag."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medtrain.data.slide.tiles import box_means
from medtrain.io.csv_bags import CsvBags
from medtrain.io.store.features import PackedBags

INSIDE = 0.2  # share of a tile from which on it counts as tumour; below, down to none, nobody could say


class TumourMasks:
    """Tell which instances of a bag lie in a tumour, by the bag's number; read at first use.

    Args:
        bags: whose coordinates and geometry place the tiles; those of a CSV have no place.
        files: of each bag, a picture of any size that is not black where there is tumour; '' where there is none.
    """

    def __init__(self, bags: PackedBags | CsvBags, files: Sequence[str]) -> None:
        self.bags, self.files = bags, files
        self._known: dict[int, NDArray[np.float32] | None] = {}

    def __call__(self, bag: int) -> NDArray[np.float32] | None:
        """Give (N,) of 0 and 1, NaN where little of a tile is tumour; None where nobody knows."""
        if bag not in self._known:
            self._known[bag] = self._read(bag)
        return self._known[bag]

    def _read(self, bag: int) -> NDArray[np.float32] | None:
        coords, about = self.bags.coords(bag), self.bags.geometry(bag)
        if not self.files[bag] or coords is None or not about.get("tile") or not about.get("width"):
            return None
        with Image.open(self.files[bag]) as picture:
            mask = np.asarray(picture.convert("L")) > 0
        scale = mask.shape[1] / float(about["width"])
        share_N = box_means(mask, coords * scale, float(about["tile"]) * scale)
        return np.where(share_N >= INSIDE, 1, np.where(share_N > 1e-6, np.nan, 0)).astype(np.float32)
