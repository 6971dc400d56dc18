"""An encoder and its head as graphs: what they make of pictures is what features and head make of them in the run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from medtrain import model as models
from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed
from medtrain.data.batches.encoded import of_pictures
from medtrain.data.batches.patch_form import patch_form
from medtrain.data.batches.slices import Slices
from medtrain.data.batches.volume_files import read_cases
from medtrain.encoder.base import Encoder, Preprocessing
from medtrain.export.formats import onnx as onnx_format
from medtrain.export.portable import ExportRequest
from medtrain.export.runtime.images import full_range
from medtrain.export.runtime.network_onnx import Network
from medtrain.export.runtime.slices import judge
from medtrain.export.runtime.started import Started
from medtrain.export.runtime.volumes import read_case
from medtrain.io.store.voxels import VolumeForm
from medtrain.target import DataSpec, Decision
from medtrain.task.probe.portable import portable_features
from tests.repository import data_option

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

IDENTITY = {"run": "r", "version": "0", "checkpoint_sha256": "0" * 64, "task": "t"}
SPEC = DataSpec(DataSpec.of("binary", ("no", "yes"), 8, ()).target, 8, (), mean=(0.1,) * 8, std=(0.5,) * 8)
DECISION = Decision(0.5, 1.3, {"yes": 0.45})


def task() -> Any:
    torch.manual_seed(0)
    network = models.mean_mil(SPEC, hidden=[]).eval()
    return SimpleNamespace(model=network, spec=SPEC, target=SPEC.target, mc_dropout=0)


def encoder_of(side: int) -> Encoder:
    torch.manual_seed(1)
    body = torch.nn.Conv2d(3, 8, 3, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)
    return Encoder(torch.nn.Sequential(*body), Preprocessing(side, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)), "small")


@pytest.mark.parametrize("channels", [1, None])
@pytest.mark.parametrize("side", [20, 48])  # smaller than the pictures, and larger
def test_pictures_get_what_their_features_get(channels: int | None, side: int, tmp_path: Path) -> None:
    encoder, own = encoder_of(side), task()
    data = {"image_size": [32, 32], "channels": channels}
    portable = portable_features(own, ExportRequest(DECISION, data, encoder=encoder))
    assert portable.facts["input"]["channels"] == (channels or 3)
    graphs = {}
    for name, part in portable.parts.items():
        graphs[name] = Network(tmp_path, onnx_format.write(part, tmp_path / f"{name}.onnx", None, IDENTITY))
    grey = np.random.default_rng(0).integers(0, 256, (3, 1, 32, 32), np.uint8)
    features = of_pictures(grey, encoder, colours=False)
    with torch.no_grad():
        logits = own.model(Packed(torch.from_numpy(features), torch.arange(4)))
    expected = SPEC.target.probabilities(logits.double().numpy(), 1.3)
    pixels = full_range(grey if channels else grey.repeat(3, 1))  # grey among coloured ones
    seen = graphs["model"](pixels=pixels)["features"]
    np.testing.assert_allclose(seen, features, atol=1e-5)
    for row in range(3):
        np.testing.assert_allclose(
            graphs["head"](features=seen[row : row + 1])["probabilities"], expected[row], atol=1e-5
        )


@pytest.mark.parametrize("channels", [1, 2])
def test_slices_of_volumes_get_what_their_features_get(channels: int, tmp_path: Path) -> None:
    encoder, draw = encoder_of(20), np.random.default_rng(0)
    spec = DataSpec(DataSpec.of("binary", ("no", "yes"), 8 * channels, ()).target, 8 * channels, ())
    torch.manual_seed(0)
    own: Any = SimpleNamespace(
        model=models.transmil(spec, hidden=[16], landmarks=4).eval(), spec=spec, target=spec.target, mc_dropout=0
    )
    data = data_option("volume_table") | {"patch_size": [4, 12, 10], "spacing": [1.0, 1.0, 1.0], "window": [0.0, 1.0]}
    portable = portable_features(own, ExportRequest(DECISION, data, encoder=encoder))
    assert portable.facts["input"]["channels"] == channels
    networks = {
        name: Network(tmp_path, onnx_format.write(part, tmp_path / f"{name}.onnx", None, IDENTITY))
        for name, part in portable.parts.items()
    }
    assert set(networks) == {"model", "head", *portable.facts["input"]["graphs"]}
    for depth in (3, 9):
        voxels = draw.random((12, 14, depth, channels), np.float32)
        file = tmp_path / f"{depth}.nii.gz"
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), file)
        read = read_cases([[str(file)]], None, VolumeForm((1.0, 1.0, 1.0), window=(0.0, 1.0)), {"cache_dir": tmp_path})
        (pieces,) = Slices(read.cases, patch_form(data), (1.0, 1.0, 1.0)).of([0])
        features = of_pictures(pieces, encoder, colours=False)
        with torch.no_grad():
            logits = own.model(Packed(torch.from_numpy(features), torch.tensor([0, len(features)])))
        started = Started(tmp_path, tmp_path, {"input": portable.facts["input"]}, networks, 5)
        given = judge(started, read_case([str(file)], portable.facts["input"]), {})
        expected = spec.target.probabilities(logits.double().numpy(), 1.3)[0]
        np.testing.assert_allclose(given["probabilities"], expected, atol=1e-5)


def test_half_precision_and_neighbours_are_refused() -> None:
    half = ExportRequest(DECISION, {"image_size": [32, 32]}, half=True, encoder=encoder_of(20))
    with pytest.raises(UsageError, match="fp16"):
        portable_features(task(), half)
    own = task()
    own.model = models.neighbour_mil(SPEC, hidden=[])
    with pytest.raises(UsageError, match="no neighbours"):
        portable_features(own, ExportRequest(DECISION, {"image_size": [32, 32]}, encoder=encoder_of(20)))
