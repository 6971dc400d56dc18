"""Every family of networks as a graph: what ONNX Runtime computes is what the task computes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from medtrain import model as models
from medtrain.augment import Views2d
from medtrain.core.pool import POOLS, pool_cases
from medtrain.export.formats import onnx as onnx_format
from medtrain.export.formats import torch_export
from medtrain.export.portable import ExportRequest, Part
from medtrain.model import Ensemble
from medtrain.target import DataSpec, Decision
from medtrain.task.classification.portable import portable_images
from medtrain.task.classification.portable_volumes import portable_volumes

pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

IDENTITY = {"run": "r", "version": "0", "checkpoint_sha256": "0" * 64, "task": "t"}
SIZES = {2: (32, 32), 3: (9, 16, 16)}
KINDS = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "multilabel": ("a", "b")}


def task_of(networks: list[torch.nn.Module], spec: DataSpec, pool: str = "mean") -> Any:
    """What the export of a task looks at."""
    shape = (1, -1, *[1] * spec.dims)
    model = Ensemble(networks, [1.5, 0.7]) if len(networks) > 1 else networks[0]
    mean, std = (torch.full((spec.channels,), value).view(shape) for value in (0.4, 0.2))
    parts: dict[str, Any] = {"views": None, "mc_dropout": 0, "pool": pool, "mean": mean, "std": std}
    return SimpleNamespace(model=model.eval(), spec=spec, target=spec.target, **parts)


def spec_of(kind: str, dims: int) -> DataSpec:
    return DataSpec.of(kind, KINDS[kind], 1, SIZES[dims])


def decision_of(spec: DataSpec) -> Decision:
    return Decision(0.5, 1.3, dict.fromkeys(spec.target.thresholded, 0.45))


def computed(part: Part, file: Path, inputs: dict[str, torch.Tensor]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What the graph in a file computes, and what torch does."""
    onnx_format.write(part, file, None, IDENTITY)
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        own = [np.asarray(value) for value in part.network(*inputs.values())]
    return session.run(list(part.outputs), {key: value.numpy() for key, value in inputs.items()}), own


def refilled(network: torch.nn.Module) -> torch.nn.Module:
    """The network with statistics as after a training, so that nothing is nearly constant."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


def small(spec: DataSpec) -> torch.nn.Module:
    """A network whose graph is made in no time."""
    body = torch.nn.Conv2d(spec.channels, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten()
    return torch.nn.Sequential(*body, torch.nn.Linear(32, spec.n_logits))


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_every_kind_and_their_ensembles(kind: str, tmp_path: Path) -> None:
    spec = spec_of(kind, 2)
    torch.manual_seed(0)
    members = [small(spec) for _ in range(2)]
    task = task_of(members, spec)
    part = portable_images(task, ExportRequest(decision_of(spec), {})).parts["model"]
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 65536, (5, 1, 32, 32), np.uint16))
    theirs, own = computed(part, tmp_path / "m.onnx", {"pixels": pixels})
    for one, other in zip(theirs, own, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    x = (pixels.numpy().astype(np.float32) / np.float32(65535) - np.float32(0.4)) / np.float32(0.2)
    with torch.no_grad():
        logits_SNK = [member(torch.from_numpy(x)).double().numpy() for member in members]
    scaled = zip(logits_SNK, (1.5, 0.7), strict=True)
    probs_NSC = np.stack([spec.target.probabilities(logits / own, 1.3) for logits, own in scaled], 1)
    decided = spec.target.predict(probs_NSC.mean(1), decision_of(spec))
    np.testing.assert_allclose(theirs[0], probs_NSC.mean(1), atol=1e-5)
    np.testing.assert_array_equal(theirs[1], decided)
    np.testing.assert_allclose(theirs[2], spec.target.disagreement(probs_NSC, decided), atol=1e-5)


def test_views_are_averaged_in_the_graph(tmp_path: Path) -> None:
    spec = spec_of("multiclass", 2)
    torch.manual_seed(0)
    task = task_of([small(spec)], spec)
    task.views = Views2d(3, flip_horizontal=True)
    part = portable_images(task, ExportRequest(decision_of(spec), {})).parts["model"]
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 65536, (5, 1, 32, 32), np.uint16))
    theirs, _ = computed(part, tmp_path / "m.onnx", {"pixels": pixels})
    with torch.no_grad():
        views = [task.model((view - 0.4) / 0.2) for view in task.views(pixels.float() / 65535)]
    probs_NC = torch.stack([view.double().softmax(1) for view in views]).mean(0)
    expected = (probs_NC.log() / 1.3).softmax(1).numpy()
    np.testing.assert_allclose(theirs[0], expected, atol=1e-5)


@pytest.mark.parametrize("pool", [*POOLS, "attention"])
@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_instances_of_a_case_are_pooled_as_the_task_pools_them(pool: str, kind: str, tmp_path: Path) -> None:
    spec = spec_of(kind, 3)
    task = task_of([torch.nn.Identity()], spec, pool)
    part = portable_volumes(task, ExportRequest(decision_of(spec), {"patch_size": 9})).parts["pool"]
    width = spec.n_logits + (pool == "attention")
    torch.manual_seed(0)
    instances = torch.randn(7, 1, width) * 3
    theirs, _ = computed(part, tmp_path / "p.onnx", {"instances": instances})
    if pool == "attention":
        weight = instances[..., -1].softmax(0)
        logits = (weight[..., None] * instances[..., :-1]).sum(0)
    else:
        logits, _ = pool_cases(instances[:, 0], torch.zeros(7, dtype=torch.long), pool, spec.target.exclusive)
    expected = spec.target.probabilities(logits.numpy(), 1.3)
    np.testing.assert_allclose(theirs[0], expected[0], atol=1e-6)


NETWORKS = [
    pytest.param(name, 2, marks=[pytest.mark.slow])
    for name in ("resnet34", "resnet50", "resnet101", "densenet121", "densenet169", "densenet201", "convnext_tiny",
                 "efficientnet_b0", "efficientnet_b3")
]  # fmt: skip
NETWORKS += [
    pytest.param("resnet18", 2),
    pytest.param("resnet10_3d", 3),
    *(pytest.param(name, 3, marks=[pytest.mark.slow]) for name in ("resnet18_3d", "resnet50_3d", "densenet121_3d")),
]


@pytest.mark.parametrize(("name", "dims"), NETWORKS)
def test_every_network(name: str, dims: int, tmp_path: Path) -> None:
    spec = spec_of("binary", dims)
    network = refilled(getattr(models, name)(spec, weights="none"))
    make, data = (portable_images, {}) if dims == 2 else (portable_volumes, {"patch_size": 9})
    part = make(task_of([network], spec), ExportRequest(decision_of(spec), data)).parts["model"]
    draw = np.random.default_rng(0)
    key = next(iter(part.inputs))
    shape = (3, 1, *spec.size)
    x = draw.integers(0, 65536, shape, np.uint16) if dims == 2 else draw.random(shape, np.float32)
    theirs, own = computed(part, tmp_path / "m.onnx", {key: torch.from_numpy(x)})
    np.testing.assert_allclose(theirs[0], own[0], rtol=1e-5, atol=1e-5 if dims == 2 else 1e-4)


def test_a_program_of_torch_export_computes_the_same(tmp_path: Path) -> None:
    from medtrain.export.runtime.network_torch_export import Network

    spec = spec_of("binary", 2)
    part = portable_images(task_of([small(spec)], spec), ExportRequest(decision_of(spec), {})).parts["model"]
    facts = torch_export.write(part, tmp_path / "m.pt2", None, IDENTITY)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 65536, (5, 1, 32, 32), np.uint16))
    theirs = Network(tmp_path, facts)(pixels=pixels.numpy())
    with torch.no_grad():
        own = part.network(pixels)
    np.testing.assert_allclose(theirs["probabilities"], own[0].numpy(), atol=1e-6)


class Branches(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) if x.max() > 1 else x.amax((2, 3))


class Decomposes(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.svd(x)[1].sum(-1)


@pytest.mark.parametrize(
    ("network", "text"),
    [(Branches(), "can't be traced: at `return x.mean"), (Decomposes(), "operator aten._linalg_svd")],
)
def test_a_network_that_cannot_be_written_is_told_with_its_operator(
    network: torch.nn.Module, text: str, tmp_path: Path
) -> None:
    from medtrain.core.errors import MedtrainError

    spec = spec_of("binary", 2)
    part = portable_images(task_of([network], spec), ExportRequest(decision_of(spec), {})).parts["model"]
    with pytest.raises(MedtrainError, match="can't be") as caught:
        onnx_format.write(part, tmp_path / "m.onnx", None, IDENTITY)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
