"""Boxes in images: pictures of any make in, whole or in tiles through the networks; COCO results and a table out."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.box_fusion import fuse_boxes, joined
from medtrain.core.coco import results
from medtrain.core.suppression import Suppression, suppress_plain
from medtrain.core.tile_merging import CUT_PX, Views, on_originals
from medtrain.core.truth import PredictedBoxes
from medtrain.data.batches.box_places import grids, places
from medtrain.data.batches.box_samples import shrunk, tile_samples, whole_samples
from medtrain.export.runtime.images import form_of, tell_notes_of
from medtrain.export.runtime.inputs import Case, in_batches, list_cases, tell, write_whole
from medtrain.export.runtime.started import Started, begin
from medtrain.io.files import beside
from medtrain.io.image import read_fitted
from medtrain.io.image_form import ImageForm
from medtrain.io.image_header import read_header
from medtrain.io.picture_files import pictures_below
from medtrain.io.store.fill import reason_of

Detected = tuple[
    NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]
]  # boxes (N, 4), scores, labels of an image


@dataclass(frozen=True)
class Sample:
    """What a network sees at once: an image, or a tile of one.

    Args:
        case, number: of the image, and of the tile within it.
        x_CHW: float32 in 0..1.
        place_4: (sx, sy, tx, ty), where x_net = sx * x_file + tx.
    """

    case: int
    number: int
    x_CHW: NDArray[np.float32]
    place_4: NDArray[np.float32]


@dataclass
class Drawn:
    """The boxes of one network in all images, in pixels of the files, and what it saw each in."""

    boxes: list[NDArray[np.float64]] = field(default_factory=list)
    scores: list[NDArray[np.float64]] = field(default_factory=list)
    labels: list[NDArray[np.int64]] = field(default_factory=list)
    seen: list[NDArray[np.float64]] = field(default_factory=list)  # (N, 7): image, tile, its four edges, its margin

    def add(self, sample: Sample, size: Sequence[int], detected: Detected) -> None:
        """Take the boxes of a sample of this size (H, W)."""
        boxes_N4, score_N, label_N = detected
        edges_4 = placed_back(np.array([[0, 0, size[1], size[0]]], np.float32), sample.place_4)[0]
        seen_7 = [sample.case, sample.number, *edges_4.tolist(), float(np.float32(CUT_PX) / sample.place_4[0])]
        self.boxes.append(placed_back(boxes_N4, sample.place_4).astype(np.float64))
        self.scores.append(score_N.astype(np.float64))
        self.labels.append(label_N.astype(np.int64))
        self.seen.append(np.tile(np.array(seen_7), (len(score_N), 1)))

    def whole(self, size_N2: NDArray[np.int64], facts: Mapping[str, Any]) -> PredictedBoxes:
        """Cut all at the edges of their images, those of tiles merged."""
        seen = np.concatenate([np.zeros((0, 7)), *self.seen])
        boxes = np.concatenate([np.zeros((0, 4)), *self.boxes])
        scores, labels = np.concatenate([np.zeros(0), *self.scores]), np.concatenate([np.zeros(0, int), *self.labels])
        drawn = PredictedBoxes(boxes, scores, labels, seen[:, 0].astype(np.int64))
        views = Views(seen[:, 1].astype(np.int64), seen[:, 2:6], seen[:, 6]) if facts["tile"] else None
        return on_originals(drawn, views, size_N2, facts["merge"])


def main(network: Any, folder: Path, argv: Sequence[str] | None = None) -> int:
    """Find boxes in images; returns 0, 1 where any could not be read, 2 where nothing could be done."""
    begun = begin(network, folder, argv, lambda own: list_cases(own.input, own.facts["rows"], pictures_below))
    if begun is None:
        return 2
    started, cases = begun
    tell_notes_of(cases)
    facts, detectors = started.facts["input"], started.facts["input"]["detectors"]
    form = form_of(facts)
    headers = [read_header(case.path) for case in cases]
    size_N2 = np.array([header.size if header else form.size for header in headers], np.int64).reshape(-1, 2)
    drawn: list[Drawn] = [Drawn() for _ in detectors]
    errors: dict[int, str] = {}
    for batch in in_batches(samples_of(cases, size_N2, form, facts, errors), started.batch_size):
        x_BCHW = np.stack([sample.x_CHW for sample in batch])
        for own, detector in zip(drawn, detectors, strict=True):
            for sample, detected in zip(batch, detect(started, detector, x_BCHW), strict=True):
                own.add(sample, x_BCHW.shape[-2:], detected)
    parts = [own.whole(size_N2, facts) for own in drawn]
    boxes = parts[0] if len(parts) == 1 else fuse_boxes(*joined(parts), len(parts))[0]
    write(started, cases, boxes, size_N2, errors)
    return tell(cases, errors, started.output)


def samples_of(
    cases: Sequence[Case], size_N2: NDArray[np.int64], form: ImageForm, facts: Mapping[str, Any], errors: dict[int, str]
) -> Iterator[Sample]:
    """Read images and cut each as the network takes it; `errors` gets why one could not be read, by its number."""
    none = np.zeros(1, np.int64)
    for case, row in enumerate(cases):
        try:
            pixels_CHW = read_fitted(row.path, form)
        except Exception as error:  # a bad file costs only itself
            errors[case] = reason_of(error)
            continue
        size_12 = size_N2[case : case + 1]
        samples = whole_samples(none, none, places(size_12, form), form.size)
        if facts["tile"]:
            samples = tile_samples(samples, grids(size_12, facts, form), facts["tile"], facts["tile_whole"])
        height, width = samples.size
        for number, (left, top) in enumerate(samples.corner_S2.tolist()):
            whole = shrunk(pixels_CHW, samples.size) if samples.shrunk_S[number] else pixels_CHW
            x_CHW = whole[:, top : top + height, left : left + width].astype(np.float32)
            white = np.float32(255 if pixels_CHW.dtype == np.uint8 else 65535)
            yield Sample(case, int(samples.instance_S[number]), x_CHW / white, samples.place_S4[number])


def detect(started: Started, detector: Mapping[str, Any], x_BCHW: NDArray[np.float32]) -> list[Detected]:
    """Find the boxes of one network in each input of a batch, in pixels of it, the surest first; those of views fused.

    Args:
        detector: its graphs, and the rule of suppression after each; of further views the same, and their places.
    """
    seen = [look(started, detector, x_BCHW)]
    for view in detector.get("views") or ():
        place_4 = np.array(view["place"], np.float32)
        drawn = look(started, view, x_BCHW)
        seen.append([(placed_back(boxes, place_4), scores, labels) for boxes, scores, labels in drawn])
    return seen[0] if len(seen) == 1 else fused(seen)


def fused(seen: Sequence[Sequence[Detected]]) -> list[Detected]:
    """Fuse what several views show of each image."""
    parts = []
    for drawn in seen:
        image_N = np.repeat(np.arange(len(drawn)), [len(scores) for _, scores, _ in drawn])
        boxes, scores, labels = (np.concatenate(field) for field in zip(*drawn, strict=True))
        parts.append(PredictedBoxes(boxes.astype(np.float64), scores.astype(np.float64), labels, image_N))
    whole, _ = fuse_boxes(*joined(parts), len(parts))
    of = [whole.image_N == image for image in range(len(seen[0]))]
    return [
        (whole.boxes_N4[own].astype(np.float32), whole.score_N[own].astype(np.float32), whole.label_N[own])
        for own in of
    ]


def look(started: Started, detector: Mapping[str, Any], x_BCHW: NDArray[np.float32]) -> list[Detected]:
    """Find the boxes of one network in one view of each input of a batch, in pixels of the view."""
    rules = [Suppression(**stage["suppression"]) for stage in detector["stages"]]
    graphs = [started.networks[stage["graph"]] for stage in detector["stages"]]
    first = graphs[0](pixels=x_BCHW)
    candidates = list(zip(first["boxes"], first["scores"], first["labels"], strict=True))
    detected = [remaining(*own, rules[0]) for own in candidates]
    if len(rules) == 1:
        return detected
    image_N = np.repeat(np.arange(len(detected)), [len(boxes) for boxes, _, _ in detected])
    proposals_N4 = np.concatenate([boxes for boxes, _, _ in detected])
    second = graphs[1](proposals=proposals_N4, image=image_N, maps=first["maps"])
    classes = second["scores"].shape[1]
    drawn = []
    for image in range(len(detected)):
        own = image_N == image
        label_M = np.tile(np.arange(classes), int(own.sum()))
        boxes_M4, score_M = second["boxes"][own].reshape(-1, 4), second["scores"][own].ravel()
        drawn.append(remaining(boxes_M4, score_M, label_M, rules[1]))
    return drawn


def remaining(
    boxes_N4: NDArray[np.float32], score_N: NDArray[np.float32], group_N: NDArray[np.int64], rule: Suppression
) -> Detected:
    """Suppress boxes of one image (see `suppress_plain`)."""
    rows = suppress_plain(boxes_N4, score_N, group_N, rule)
    return boxes_N4[rows], score_N[rows], group_N[rows]


def placed_back(boxes_N4: NDArray[np.float32], place_4: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move boxes from pixels of a network's input, or of a view, back to those of what it was made of."""
    scale_4 = np.tile(place_4[:2], 2)
    moved_N4 = np.asarray((boxes_N4 - np.tile(place_4[2:], 2)) / scale_4, np.float32)
    return np.where(scale_4 < 0, np.roll(moved_N4, 2, -1), moved_N4)  # of mirrored boxes left is right


def write(
    started: Started,
    cases: Sequence[Case],
    boxes: PredictedBoxes,
    size_N2: NDArray[np.int64],
    errors: Mapping[int, str],
) -> None:
    """Write COCO results, and beside them FILE.images.csv with a row an image."""
    facts, classes = started.facts, started.facts["target"]["classes"]
    limit_C = np.array([facts["decision"]["thresholds"][name] for name in classes])
    ids = list(range(1, len(cases) + 1))
    entries = results(
        boxes,
        ids,
        facts["input"]["category_ids"],
        file_name=[cases[image].name for image in boxes.image_N.tolist()],
        category=[classes[label] for label in boxes.label_N],
        shown=(boxes.score_N >= limit_C[boxes.label_N]).tolist(),
    )
    count = Counter(entry["image_id"] for entry in entries)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image_id", "case", "width", "height", "boxes", "error"])
    for number, (case, (height, width)) in enumerate(zip(cases, size_N2.tolist(), strict=True)):
        size = ["", ""] if number in errors else [width, height]
        writer.writerow([ids[number], case.name, *size, count[ids[number]], errors.get(number, "")])
    write_whole(started.output, json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    write_whole(beside(started.output, "images", ".json"), text.getvalue())
