"""Images to detect something in: files, folders and tables without boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.truth import Truth
from medtrain.data.boxes.dataset import BoxImages, Samples, tile_samples, whole_samples
from medtrain.data.boxes.geometry import box_form, grids, places
from medtrain.data.xray.inputs import InputImages
from medtrain.io.image import ImageForm
from medtrain.io.image_header import read_headers


class InputBoxImages(InputImages):
    """`InputImages` in batches as of `medtrain.data.boxes`, without boxes.

    Attributes:
        truth: no boxes, but the size of each file.
        size_N2: (height, width) of each row's file; of those that cannot be read, of the working size.
        place_N4: (sx, sy, tx, ty) of each row's whole image, x_net = sx * x_file + tx.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        headers = read_headers(self.cases["path"].tolist())
        sizes = [header.size if header else self.form.size for header in headers]
        self.size_N2 = np.array(sizes, np.int64).reshape(-1, 2)
        self.truth = Truth.unknown(self.size_N2)
        self.place_N4 = places(self.size_N2, self.form)

    @property
    def form(self) -> ImageForm:
        return box_form(self.cfg, self.spec)

    def dataset(self) -> BoxImages:
        rows = self.readable
        return BoxImages(self.cache, samples_of(rows, rows, self.size_N2[rows], self.cfg, self.form))


def samples_of(
    slots: NDArray[np.int64],
    cases: NDArray[np.int64],
    size_N2: NDArray[np.int64],
    cfg: Mapping[str, Any],
    form: ImageForm,
) -> Samples:
    """Whole images, or with data.tile their tiles; one entry an image.

    Args:
        slots: numbers in the cache.
        cases: row numbers.
        size_N2: (height, width) of the files.
    """
    whole = whole_samples(slots, cases, places(size_N2, form), form.size)
    return tile_samples(whole, grids(size_N2, cfg, form), int(cfg["tile"])) if cfg.get("tile") else whole
