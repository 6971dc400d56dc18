"""Images with boxes: what any source of annotated images gives, from its rows to packed batches.

A batch is packed: ``x`` (B, C, H, W) uint8, or float32 in 0..1 where any file is deeper than 8 bit; ``boxes`` (M, 4)
float32 (x0, y0, x1, y1) in pixels of x; ``labels`` (M,) int64 from 0; ``image`` (M,) int64, the row in the batch of
each box, ascending; ``ignored`` (K, 4) and ``ignored_image`` (K,) the same of crowds and difficult boxes, where there
are any; ``case`` (B,) int64; ``place`` (B, 4) float32 (sx, sy, tx, ty), where x_net = sx * x_file + tx;
``draw`` (B,) where a sampler repeats images; ``instance`` (B,), the number of the tile, where images are cut up.
Without labels there are neither ``boxes`` nor ``labels`` and ``image``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.anchors import as_pairs, typical_shapes
from medtrain.core.errors import Problem
from medtrain.core.progress import Progress
from medtrain.core.truth import Truth
from medtrain.data.base import Data
from medtrain.data.batches.box_places import box_form, grids, places
from medtrain.data.batches.box_samples import BoxImages, SampleBoxes, Samples, boxes_in, tile_samples, whole_samples
from medtrain.data.batches.pictures import headers, list_pictures, numbers, open_pictures
from medtrain.data.files import Files
from medtrain.data.fingerprint import digest, row_texts
from medtrain.data.loaders import Rows
from medtrain.data.rows.manifest import Manifest
from medtrain.data.settings import normalisation
from medtrain.io.image_form import ImageForm
from medtrain.io.image_header import Header
from medtrain.io.store.pixels import ImageCache
from medtrain.target import DataSpec


class BoxData(Data):
    """Images with boxes; see `Data` for arguments and attributes.

    With data.tile, data.image_size is the size of whole images in the cache, and samples are tiles of them (and with
    data.tile_whole the whole image shrunk to a tile's size); spec.size is what the network sees.

    Attributes, known after `prepare`:
        form: working size and channels of whole images.
        truth: the boxes of `cases`, in their order, in pixels of the files; without labels the sizes of the files,
            of those that cannot be read the working size.
        place_N4: (sx, sy, tx, ty) of each case's whole image, as `pixels` gives it.
        targets: (N, C), 1 where an image shows the class.
    """

    inspector = "boxes"
    form: ImageForm
    cache: ImageCache
    truth: Truth
    place_N4: NDArray[np.float32]

    def inputs(self, path: Path) -> Manifest:
        manifest = list_pictures(path, self.cfg)
        manifest.headers = headers(manifest, np.arange(len(manifest)))
        form = box_form(self.cfg, self.fixed.spec)
        sizes = [header.size if header else form.size for header in manifest.headers]
        manifest.truth = Truth.unknown(np.array(sizes, np.int64).reshape(-1, 2))
        return manifest

    def arrange(self, manifest: Manifest) -> Manifest:
        channels = self.cfg.get("channels")
        if not channels:
            colour = any(header is not None and header.channels == 3 for header in manifest.headers or ())
            channels = 3 if colour else 1
        self.form = box_form({**self.cfg, "channels": channels}, self.fixed.spec)
        normalisation(self.cfg, self.form.channels)
        if self.cfg.get("tile"):
            grids(np.array([self.form.size]), self.cfg, self.form)
        manifest.warnings += self._unseen(manifest)
        return manifest

    def _unseen(self, manifest: Manifest) -> list[Problem]:
        """Find boxes that no sample shows enough of: never learned, and missed in a test."""
        truth = manifest.truth
        if truth is None or not len(truth.boxes_M4):
            return []
        numbers = np.arange(len(truth))
        seen = self._boxes(self._samples(numbers, numbers, truth.size_N2), truth)
        hidden = np.setdiff1d(np.flatnonzero(~truth.crowd_M), np.flatnonzero(~truth.crowd_M)[seen.number_M])
        if not len(hidden):
            return []
        share, case = self.cfg.get("min_visible"), manifest.case[truth.case_M[hidden[0]]]
        detail = (
            f"{len(hidden):,} of {int((~truth.crowd_M).sum()):,} boxes are not learned and cannot be hit, as no "
            f"{'tile' if self.cfg.get('tile') else 'fitted image'} shows data.min_visible={share} of their area, the "
            f"first in {case}: "
        )
        advice = "set data.tile_whole=true, or a larger data.tile" if self.cfg.get("tile") else "set data.fit=pad"
        return [Problem("unseen_box", "the boxes", detail + advice, "warning")]

    def describe(self, manifest: Manifest) -> DataSpec:
        channels, tile = self.form.channels, self.cfg.get("tile")
        mean, std = normalisation(self.cfg, channels)
        size = (int(tile), int(tile)) if tile else self.form.size
        assert manifest.target is not None
        return DataSpec(manifest.target, channels, size, mean=mean, std=std)

    def read(self, manifest: Manifest, everything: bool = False) -> Files:
        self.cache = open_pictures(manifest, self.form, self.cfg, self.progress, self.report)
        return Files(self.cache.content, self.cache.identities, self.cache.problems, self.cache.decoded)

    def headers(self, manifest: Manifest, rows: Rows, progress: Progress | None = None) -> list[Header | None]:
        """Read what the files of these rows say of their pictures."""
        return headers(manifest, rows, progress)

    def settle(self) -> None:
        """Place the images; of new data also find the boxes' typical shapes, from training cases alone."""
        self.place_N4 = places(self.truth.size_N2, self.form)
        if self.fixed.spec is None:
            boxes_M4 = self.boxes(self.samples(self.rows("train"))).boxes_M4
            self.spec = replace(self.spec, boxes=as_pairs(typical_shapes(boxes_M4[:, 2:] - boxes_M4[:, :2])))

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

    def samples(self, rows: Rows) -> Samples:
        """Take the images of these rows of `cases`, or with data.tile their tiles."""
        return self._samples(self.slots[rows], np.asarray(rows, np.int64), self.truth.size_N2[rows])

    def _samples(self, slots: Rows, cases: Rows, size_N2: NDArray[np.int64]) -> Samples:
        whole = whole_samples(slots, cases, places(size_N2, self.form), self.form.size)
        if not self.cfg.get("tile"):
            return whole
        tile, also_whole = int(self.cfg["tile"]), bool(self.cfg.get("tile_whole"))
        return tile_samples(whole, grids(size_N2, self.cfg, self.form), tile, also_whole)

    def boxes(self, samples: Samples) -> SampleBoxes:
        """Take the boxes to learn in samples: crowds are none."""
        return self._boxes(samples, self.truth)

    def _boxes(self, samples: Samples, truth: Truth, crowds: bool = False) -> SampleBoxes:
        """Take boxes that a sample shows enough of, or the crowds that it shows any of."""
        these_M = truth.crowd_M if crowds else ~truth.crowd_M
        visible = 0.0 if crowds else float(self.cfg.get("min_visible") or 0)
        return boxes_in(samples, truth.boxes_M4[these_M], truth.label_M[these_M], truth.case_M[these_M], visible)

    def dataset(self, rows: Rows) -> BoxImages:
        samples = self.samples(rows)
        if self.targets is None:
            return BoxImages(self.cache, samples)
        ignored = self._boxes(samples, self.truth, crowds=True) if self.truth.crowd_M.any() else None
        return BoxImages(self.cache, samples, self.boxes(samples), ignored)

    def labels(self, rows: Rows) -> NDArray[Any]:
        samples = self.samples(rows)
        boxes = self.boxes(samples)
        shown = np.zeros((len(samples), len(self.spec.classes)))
        shown[boxes.sample_M, boxes.label_M] = 1.0
        return shown

    def patients(self, rows: Rows) -> NDArray[Any]:
        return np.asarray(self.cases["patient"].to_numpy()[self.samples(rows).case_S])

    def pixels(self, cases: Sequence[str]) -> NDArray[Any]:
        return self.cache[self.slots[numbers(self.cases, cases)]]
