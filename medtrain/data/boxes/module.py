"""Images with boxes as a data module, whatever the layout of the files: `data=coco`, `yolo`, `voc`, `box_table`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.anchors import as_pairs, typical_shapes
from medtrain.core.progress import Progress
from medtrain.core.truth import Truth
from medtrain.data.boxes.dataset import BoxImages, SampleBoxes, Samples, boxes_in
from medtrain.data.boxes.geometry import box_form, grids, places
from medtrain.data.boxes.inputs import InputBoxImages, samples_of
from medtrain.data.boxes.manifest import Listed, list_boxes
from medtrain.data.fingerprint import digest, row_texts
from medtrain.data.settings import normalisation
from medtrain.data.table.manifest import Manifest
from medtrain.data.xray.module import ImageData
from medtrain.io.boxes import Annotations
from medtrain.io.image import ImageForm
from medtrain.io.image_header import Header
from medtrain.io.store.pixels import ImageCache
from medtrain.target import DataSpec


class BoxData(ImageData):
    """Images with boxes, split by patient; see `Data` for arguments, `medtrain.data.boxes` for batches.

    With data.tile, data.image_size is the size of whole images in the cache, and samples are tiles of them; spec.size
    is what the network sees.

    Attributes, known after `prepare`:
        truth: the boxes of `cases`, in their order, in pixels of the files.
        place_N4: (sx, sy, tx, ty) of each case's whole image, as `pixels` gives it.
        targets: (N, C), 1 where an image shows the class.
    """

    unlabelled = InputBoxImages
    inspector = "boxes"
    cache: ImageCache
    truth: Truth
    place_N4: NDArray[np.float32]

    @abstractmethod
    def annotations(self) -> Annotations:
        """What the files of boxes say, in the layout of a subclass."""

    @property
    def form(self) -> ImageForm:
        return box_form(self.cfg, self.model_spec)

    def refuse_early(self) -> None:
        if self.cfg.get("channels"):
            super().refuse_early()
        if self.cfg.get("tile"):
            grids(np.array([self.form.size]), self.cfg, self.form)

    def manifest(self) -> Manifest:
        self.listing: Listed = list_boxes(self.annotations(), self.cfg, self.model_spec)
        if not self.cfg.get("channels"):
            colour = any(header is not None and header.channels == 3 for header in self.listing.headers)
            self.cfg["channels"] = 3 if colour else 1
            super().refuse_early()
        return self.listing.manifest

    def headers(
        self, manifest: Manifest, rows: NDArray[np.int64], progress: Progress | None = None
    ) -> list[Header | None]:
        return [self.listing.headers[row] for row in rows.tolist()]

    def describe(self, manifest: Manifest) -> DataSpec:
        channels = self.form.channels
        mean, std = normalisation(self.cfg, channels)
        tile = self.cfg.get("tile")
        size = (int(tile), int(tile)) if tile else self.form.size
        assert manifest.target is not None
        return DataSpec(manifest.target, channels, size, mean=mean, std=std)

    def _keep(self, manifest: Manifest, rows: NDArray[np.int64], splits: pd.DataFrame) -> None:
        super()._keep(manifest, rows, splits)
        self.truth = self.listing.truth.select(rows)
        self.place_N4 = places(self.truth.size_N2, self.form)
        if self.model_spec is None:
            seen_M4 = self.samples(self.rows("train"))[1].boxes_M4
            shapes = typical_shapes(seen_M4[:, 2:] - seen_M4[:, :2])
            self.spec = replace(self.spec, boxes=as_pairs(shapes))

    def table_digest(self, patients: Sequence[str]) -> str:
        of_boxes = self.cases["case"].to_numpy()[self.truth.case_M].tolist()
        return digest(["", *of_boxes], [super().table_digest(patients), *self._box_texts()])

    def label_texts(self) -> list[str]:
        boxes: list[list[str]] = [[text] for text in super().label_texts()]
        for case, crowd, text in zip(self.truth.case_M, self.truth.crowd_M, self._box_texts(), strict=True):
            boxes[case].append(f"{text}{' crowd' * bool(crowd)}")
        return ["\n".join(sorted(texts)) for texts in boxes]

    def _box_texts(self) -> list[str]:
        return row_texts(np.column_stack([self.truth.label_M, self.truth.boxes_M4]))

    def samples(self, rows: NDArray[np.int64]) -> tuple[Samples, SampleBoxes]:
        """The images of these rows of `cases`, or their tiles, with the boxes to learn: crowds are none."""
        samples = samples_of(
            self.slots[rows], np.asarray(rows, np.int64), self.truth.size_N2[rows], self.cfg, self.form
        )
        truth, sure = self.truth, ~self.truth.crowd_M
        visible = float(self.cfg.get("min_visible") or 0)
        return samples, boxes_in(samples, truth.boxes_M4[sure], truth.label_M[sure], truth.case_M[sure], visible)

    def dataset(self, rows: NDArray[np.int64]) -> BoxImages:  # type: ignore[override]
        return BoxImages(self.cache, *self.samples(rows))

    def labels(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        samples, boxes = self.samples(rows)
        shown = np.zeros((len(samples), len(self.spec.classes)))
        shown[boxes.sample_M, boxes.label_M] = 1.0
        return shown

    def patients(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        samples, _ = self.samples(rows)
        return np.asarray(self.cases["patient"].to_numpy()[samples.case_S])
