"""What is wanted of an explanation is checked before anything is drawn."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from medtrain.core.errors import UsageError
from medtrain.explain import Covers
from medtrain.target import DataSpec
from medtrain.task.classification.methods import check, methods_of
from medtrain.task.detection.explain import explain_boxes
from medtrain.task.explanation import Explanation, Request


def request(**options: Any) -> Request:
    nothing: Any = None
    return Request(nothing, {"batch_size": 7}, nothing, Path("out"), torch.device("cpu"), **options)


def trained(network: nn.Module, size: tuple[int, ...]) -> Any:
    spec = DataSpec.of("binary", ("no", "yes"), 1, size)
    return SimpleNamespace(model=network.eval(), spec=spec, target=spec.target, inputs=lambda batch: batch["x"])


def test_sizes_of_covers_fit_the_input() -> None:
    covers = request(occlusion_size=[8, 4], occlusion_stride=4, occlusion_fill="lowest").covers((64, 32))
    assert covers == Covers([8, 4], 4, "lowest", at_once=7) and covers.strides((64, 32)) == (4, 4)
    assert request(occlusion_size=99).covers((64, 32)).sizes((64, 32)) == (64, 32)
    for key in ("size", "stride"):
        with pytest.raises(UsageError, match=rf"explain\.occlusion_{key}=\[4, 4\]: give one number, or 3"):
            request(**{f"occlusion_{key}": [4, 4]}).covers((16, 16, 16))


def test_a_network_without_places_is_explained_by_occlusion_and_says_so() -> None:
    task, explanation = trained(nn.Sequential(nn.Flatten(), nn.Linear(256, 1)), (16, 16)), Explanation(())
    methods = methods_of(task, request(), explanation)
    assert methods.names == ["occlusion"] and methods.block("occlusion") == (1, 1)
    assert [note.split(":")[0] for note in explanation.notes] == ["no Grad-CAM", "occlusion"]
    assert check(task, {"x": torch.rand(3, 1, 16, 16)}, methods)["occlusion"]["images"] == 1
    with pytest.raises(UsageError, match="explain.method=occlusion takes any network"):
        methods_of(task, request(method="gradcam"), Explanation(()))


def test_volumes_have_larger_covers() -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(2, 1))
    explanation = Explanation(())
    methods = methods_of(trained(network, (16, 32, 32)), request(method="occlusion"), explanation)
    assert methods.block("occlusion") == (2, 4, 4) and methods.block("gradcam") == (1, 1, 1)
    assert "covers of 4 x 8 x 8 in 16 x 32 x 32, every 2 x 4 x 4" in explanation.notes[0]


@pytest.mark.parametrize("method", ["attention", "gradcam", "occlusion", "contribution"])
def test_boxes_have_no_maps(method: str) -> None:
    with pytest.raises(UsageError, match=f"explain.method={method}: detection shows its boxes alone"):
        explain_boxes(None, request(method=method))
