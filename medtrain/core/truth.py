"""The boxes of a detection data set, true and predicted, as metrics and pictures take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.coco_ids import image_ids


def id_array(ids: Sequence[Any]) -> NDArray[Any]:
    """Hold ids of any kind and size, unchanged."""
    held = np.empty(len(ids), object)
    held[:] = ids
    return held


@dataclass(frozen=True)
class Truth:
    """The boxes of N images, packed: M of all images, in the order of the images, in pixels of the originals.

    Attributes:
        boxes_M4: float64 (x0, y0, x1, y1); the first pixel reaches from 0 to 1.
        label_M: int64, class numbers from 0.
        case_M: int64, the image of each box (its row among the cases), ascending.
        crowd_M: bool, boxes that count neither as found nor as missed (COCO's iscrowd, VOC's difficult).
        area_M: float64 square pixels; of COCO files as they say, which is the mask's.
        id_M: the annotation's id in the user's file, whatever it is (numbers, texts), else from 1.
        size_N2: int64 (height, width) of each image.
        image_id_N: the image's id in the user's file, else from 1.
        category_id_C: the class's id in the user's file; empty: from 1.
        difficult_M: bool, which of `crowd_M` are single objects (VOC's difficult) and no regions of many; None: none.
    """

    boxes_M4: NDArray[np.float64]
    label_M: NDArray[np.int64]
    case_M: NDArray[np.int64]
    crowd_M: NDArray[np.bool_]
    area_M: NDArray[np.float64]
    id_M: NDArray[Any]
    size_N2: NDArray[np.int64]
    image_id_N: NDArray[Any]
    category_id_C: tuple[Any, ...] = ()
    difficult_M: NDArray[np.bool_] | None = None

    @property
    def region_M(self) -> NDArray[np.bool_]:
        """Tell which boxes are regions of many objects: a prediction lies on one by the share of it that does."""
        return self.crowd_M if self.difficult_M is None else self.crowd_M & ~self.difficult_M

    @classmethod
    def unknown(cls, size_N2: NDArray[np.int64]) -> Truth:
        """Describe images whose boxes nobody knows, by their sizes, numbered from 1."""
        none = np.zeros(0, np.int64)
        ids = np.arange(1, len(size_N2) + 1)
        return cls(np.zeros((0, 4)), none, none, none > 0, np.zeros(0), none, size_N2, ids)

    def __len__(self) -> int:
        return len(self.size_N2)

    def of(self, case: int) -> slice:
        """Find where the boxes of one image stand."""
        first, last = np.searchsorted(self.case_M, (case, case + 1))
        return slice(int(first), int(last))

    def select(self, cases: NDArray[np.int64]) -> Truth:
        """Select the truth of these images, numbered anew from 0 in their order."""
        parts = [np.arange(s.start, s.stop) for s in map(self.of, np.asarray(cases).tolist())]
        rows = np.concatenate([*parts, np.empty(0, np.int64)])
        return Truth(
            self.boxes_M4[rows],
            self.label_M[rows],
            np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
            self.crowd_M[rows],
            self.area_M[rows],
            self.id_M[rows],
            self.size_N2[cases],
            self.image_id_N[cases],
            self.category_id_C,
            None if self.difficult_M is None else self.difficult_M[rows],
        )

    @property
    def image_ids(self) -> list[Any]:
        """Give the images' ids as files have them: the user's, or from 1 where those can't be read back."""
        return image_ids(self.image_id_N.tolist())

    def category_ids(self, classes: int) -> tuple[Any, ...]:
        """Give the ids of so many classes as files have them."""
        return self.category_id_C or tuple(range(1, classes + 1))


@dataclass(frozen=True)
class PredictedBoxes:
    """Predicted boxes of all images, packed; in any order.

    Args:
        boxes_N4: (x0, y0, x1, y1) in pixels of the originals, float64.
        score_N: 0..1.
        label_N: class numbers from 0.
        image_N: the image of each, a number as `Truth` counts them.
    """

    boxes_N4: NDArray[Any]
    score_N: NDArray[Any]
    label_N: NDArray[Any]
    image_N: NDArray[Any]

    def select(self, rows: NDArray[Any]) -> PredictedBoxes:
        """Select the boxes at these positions, or where a mask is true."""
        return PredictedBoxes(self.boxes_N4[rows], self.score_N[rows], self.label_N[rows], self.image_N[rows])

    def of_images(self, images: NDArray[Any]) -> PredictedBoxes:
        """Select the boxes in these images, given in ascending order, which are numbered anew from 0."""
        place = np.searchsorted(images, self.image_N)
        inside = place < len(images)
        inside[inside] = images[place[inside]] == self.image_N[inside]
        return PredictedBoxes(self.boxes_N4[inside], self.score_N[inside], self.label_N[inside], place[inside])
