"""Detectors as graphs and a rule of suppression: what predict.py makes of them is what the network detects."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medtrain import model as models
from medtrain.augment import BoxViews
from medtrain.core.box_fusion import fuse_detections
from medtrain.core.boxes import moved
from medtrain.core.errors import MedtrainError, UsageError
from medtrain.core.suppression import Suppression
from medtrain.export.formats import onnx as onnx_format
from medtrain.export.portable import ExportRequest
from medtrain.export.runtime.boxes import detect, fused, placed_back, samples_of
from medtrain.export.runtime.inputs import Case
from medtrain.export.runtime.network_onnx import Network
from medtrain.export.runtime.started import Started
from medtrain.io.image_form import ImageForm
from medtrain.model import Detector, Ensemble
from medtrain.target import DataSpec, Decision
from medtrain.target.boxes import BoxTarget
from medtrain.task.detection.portable import ViewOf, portable_boxes

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

IDENTITY = {"run": "r", "version": "0", "checkpoint_sha256": "0" * 64, "task": "t"}
SIZE = (96, 64)
SPEC = DataSpec(BoxTarget(("a", "b")), 1, SIZE, boxes=((8.0, 9.0), (20.0, 30.0), (14.0, 14.0)))
REQUEST = ExportRequest(Decision(0.5, 1.0, {"a": 0.3, "b": 0.4}), {"image_size": list(SIZE)})


def network_of(name: str, seed: int = 0) -> Any:
    """A detector that differs from box to box, as one that was trained does."""
    torch.manual_seed(seed)
    network = getattr(models, name)(SPEC, score=0.005).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    with torch.no_grad():
        for name_, weight in network.named_parameters():
            if name_.endswith(".weight") and any(part in name_ for part in ("score.", "cls_logits", "cls_score")):
                weight.normal_(0, 1.0 if name_.startswith("score.") else 0.1)
    return network


def task_of(network: Any) -> Any:
    mean, std = (torch.full((1, 1, 1, 1), value) for value in (0.4, 0.2))
    return SimpleNamespace(model=network, spec=SPEC, views=None, merge=0.5, mean=mean, std=std)


def started_with(portable: Any, folder: Path) -> Started:
    networks: dict[str, Any] = {}
    for name, part in portable.parts.items():
        own = onnx_format.write(part, folder / f"{name}.onnx", None, IDENTITY)
        networks[name] = Network(folder, own)
    return Started(folder, folder, {"input": portable.facts["input"]}, networks, 2)


@pytest.mark.parametrize(
    "name",
    [
        "yolo",
        *(pytest.param(name, marks=pytest.mark.slow) for name in
          ("fcos", "retinanet", "faster_rcnn", "faster_rcnn_mobilenet")),
    ],
)  # fmt: skip
def test_every_detector(name: str, tmp_path: Path) -> None:
    network = network_of(name)
    portable = portable_boxes(task_of(network), REQUEST)
    started = started_with(portable, tmp_path)
    x = torch.rand(3, 1, *SIZE)
    found = detect(started, portable.facts["input"]["detectors"][0], x.numpy())
    with torch.no_grad():
        own = network.detect((x - 0.4) / 0.2)
    assert len(own.scores_N) > 1
    for image, (boxes, scores, labels) in enumerate(found):
        these = own.image_N == image
        rows = [np.column_stack([b, 1e3 * s, 1e3 * n]) for b, s, n in  # 1e-5 of a score weighs as 0.01 pixels
                ((boxes, scores, labels), (own.boxes_N4[these], own.scores_N[these], own.labels_N[these]))]  # fmt: skip
        assert len(rows[0]) == len(rows[1])
        if not len(rows[0]):
            continue  # neither sees anything in this image
        apart = np.abs(rows[0][:, None] - rows[1]).max(-1)  # of equal scores any may come first
        assert max(apart.min(0).max(initial=0), apart.min(1).max(initial=0)) < 0.02


def test_each_member_of_an_ensemble_has_its_graph_and_rule() -> None:
    members = [network_of("yolo"), network_of("yolo", 1)]
    members[1].overlap = 0.3
    portable = portable_boxes(task_of(Ensemble(members)), REQUEST)
    assert list(portable.parts) == ["model", "member_2"]
    rules = [detector["stages"][0] for detector in portable.facts["input"]["detectors"]]
    assert [(rule["graph"], rule["suppression"]["overlap"]) for rule in rules] == [("model", 0.65), ("member_2", 0.3)]
    assert Suppression(**rules[0]["suppression"]) == Suppression(0.65, 100, 0.005)


def test_a_detector_of_others_that_does_not_say_what_it_proposes_is_refused() -> None:
    class Own(Detector):
        def forward(self, x_BCHW: torch.Tensor, truth: Any = None) -> Any:
            return x_BCHW

        def detect(self, x_BCHW: torch.Tensor) -> Any:
            return x_BCHW

    with pytest.raises(UsageError, match=r"Own doesn't say what it proposes .* method parted"):
        portable_boxes(task_of(Own()), REQUEST)


def test_boxes_of_views_are_fused_as_the_task_fuses_them(tmp_path: Path) -> None:
    network = network_of("yolo")
    task = task_of(network)
    task.views = BoxViews(3, flip_horizontal=True, flip_vertical=True)
    portable = portable_boxes(task, REQUEST)
    assert list(portable.parts) == ["model", "model_view_2", "model_view_3"]
    started = started_with(portable, tmp_path)
    x = torch.rand(3, 1, *SIZE)
    detector = portable.facts["input"]["detectors"][0]
    found = detect(started, detector, x.numpy())
    with torch.no_grad():
        seen = [(network.detect((view - 0.4) / 0.2), place) for view, place in task.views(x)]
    own = fuse_detections([d._replace(boxes_N4=moved(d.boxes_N4, place, back=True)) for d, place in seen])
    given = [[tuple(np.asarray(f[d.image_N == n]) for f in d[:3]) for n in range(3)] for d, _ in seen]
    for view, (_, place) in zip(given, seen, strict=True):
        view[:] = [(placed_back(boxes, place.numpy()), *more) for boxes, *more in view]
    for image, (boxes, scores, labels) in enumerate(fused(given)):  # by itself, as near scores fuse by the last bit
        these = own.image_N == image
        np.testing.assert_allclose(boxes, own.boxes_N4[these], atol=1e-3)
        np.testing.assert_allclose(scores, own.scores_N[these], atol=1e-6)
        np.testing.assert_array_equal(labels, own.labels_N[these])
    assert len(found) == 3 and sum(len(scores) for _, scores, _ in found) > 100
    alone = detect(started, {"stages": detector["stages"]}, x.numpy())
    assert sum(len(scores) for _, scores, _ in alone) != len(own.scores_N)


def test_a_view_is_two_matrices() -> None:
    views = BoxViews(5, flip_horizontal=True, flip_vertical=True)
    x = torch.rand(2, 3, *SIZE)
    for view, (seen, place) in zip(views.further(*SIZE), list(views(x))[1:], strict=True):
        torch.testing.assert_close(ViewOf(view, SIZE)(x), seen, atol=1e-6, rtol=0)
        assert view.place(*SIZE) == pytest.approx(place.tolist())


def test_a_detector_that_branches_by_what_it_sees_is_told_with_its_line(tmp_path: Path) -> None:
    class Branches(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            boxes = x[:, 0, :1, :4] if x.max() > 1 else x[:, 0, 1:2, :4]
            return boxes, boxes[..., 0], boxes[..., 0].long()

    class Own(Detector):
        def forward(self, x_BCHW: torch.Tensor, truth: Any = None) -> Any:
            return x_BCHW

        def detect(self, x_BCHW: torch.Tensor) -> Any:
            return x_BCHW

        def parted(self, channels: int, size: tuple[int, int]) -> Any:
            return [models.Stage(Branches(), Suppression(0.5, 10))]

    portable = portable_boxes(task_of(Own()), REQUEST)
    with pytest.raises(MedtrainError, match=r"can't be traced: at `boxes = "):
        onnx_format.write(portable.parts["model"], tmp_path / "m.onnx", None, IDENTITY)


@pytest.mark.parametrize("deep", [False, True])
def test_tiles_are_cut_as_training_cuts_them(deep: bool, tmp_path: Path) -> None:
    from medtrain.data.batches.box_places import grids, places
    from medtrain.data.batches.box_samples import BoxImages, tile_samples, whole_samples
    from medtrain.io.store.pixels import cache_images

    draw = np.random.default_rng(0)
    sizes = [(70, 50), (40, 90)]
    files = []
    for number, size in enumerate(sizes):  # deep: an 8-bit picture among deeper ones
        kind, white = (np.uint16, 65535) if deep and number else (np.uint8, 255)
        pixels = draw.integers(0, white + 1, size, kind)
        pixels.flat[:2] = 0, white
        files.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(pixels).save(files[-1])
    files.insert(1, str(tmp_path / "broken.png"))
    Path(files[1]).write_bytes(b"\x89PNG\r\n\x1a\nxx")
    form, facts = ImageForm((64, 64)), {"tile": 32, "tile_overlap": 0.25, "tile_whole": True}
    size_N2 = np.array([sizes[0], form.size, sizes[1]], np.int64)
    errors: dict[int, str] = {}
    samples = list(samples_of([Case(file, file, file) for file in files], size_N2, form, facts, errors))
    assert list(errors) == [1]
    cache = cache_images(files, form, tmp_path / "cache")
    rows = np.array([0, 2])
    whole = whole_samples(rows, rows, places(size_N2[rows], form), form.size)
    data = BoxImages(cache, tile_samples(whole, grids(size_N2[rows], facts, form), 32, True))
    batch = data.__getitems__(list(range(len(data))))
    assert len(samples) == len(data) > 4
    x = batch["x"].numpy() / (1 if deep else np.float32(255))
    np.testing.assert_allclose(np.stack([sample.x_CHW for sample in samples]), x, atol=1e-7)
    np.testing.assert_array_equal(np.stack([sample.place_4 for sample in samples]), batch["place"])
    assert [(sample.case, sample.number) for sample in samples] == list(
        zip(batch["case"].tolist(), batch["instance"].tolist(), strict=True)
    )
