"""Features of pictures and volumes: what an encoder is given, and that nothing is computed twice."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.data.base import Data
from medtrain.data.batches.encoded import EncodedData
from medtrain.data.batches.images import ImageData
from medtrain.data.batches.volumes import VolumeData
from medtrain.encoder import Encoder
from medtrain.encoder.base import Preprocessing
from tests.data.tables import config, write_images, write_table
from tests.repository import data_option
from tests.volumes import nodules


class Means(nn.Module):
    """Mean and standard deviation of each colour of each row of pixels: (B, 6 H); counts the pictures it has seen."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.seen = 0

    def forward(self, x_BCHW: Tensor) -> Tensor:
        self.seen += len(x_BCHW)
        return self.scale * torch.cat([x_BCHW.mean(3), x_BCHW.std(3)], 1).flatten(1)


def means(scale: float = 1.0, random: bool = False, size: int = 8) -> Encoder:
    encoder = Encoder(Means(scale), Preprocessing(size), "means", random)
    encoder.network.seen = 0  # type: ignore[assignment]
    return encoder


def pictures(
    folder: Path, encoder: Encoder, said: list[str] | None = None, deep: bool = False, **keys: Any
) -> EncodedData:
    if not (folder / "0.png").exists():
        write_images(folder, 40, deep)
    lines = [f"{n}.png,{n // 2 % 2},p{n // 2}" for n in range(40)]
    table = write_table(folder, "\n".join(["path,label,patient", *lines]) + "\n")
    node = config(table=table, image_size=8, cache_dir=str(folder / "cache"), batch_size=4, **keys)
    return opened(node, encoder, ImageData, said)


def opened(node: dict[str, Any], encoder: Encoder, kind: type[Data], said: list[str] | None = None) -> EncodedData:
    data = EncodedData(node, read_by=kind, encoder=encoder, report=([] if said is None else said).append)
    data.prepare()
    return data


@pytest.mark.parametrize("deep", [False, True])
def test_a_picture_is_a_bag_of_one_with_the_encoders_features(tmp_path: Path, deep: bool) -> None:
    encoder = means()
    data = pictures(tmp_path, encoder, deep=deep)
    plain = ImageData(data.cfg, report=lambda text: None)
    plain.prepare()
    assert data.cases.equals(plain.cases) and data.content == plain.content
    assert data.fingerprints == plain.fingerprints  # so that a probe compares with a network trained whole
    assert (data.spec.channels, data.spec.size, data.made) == (48, (), 40) and encoder.network.seen == 40
    batch = next(iter(data.test_dataloader()))
    assert batch["offsets"].tolist() == list(range(5)) and batch["y"].shape == (4, 1)
    for x_D, case in zip(batch["x"], data.cases["path"].iloc[batch["case"].numpy()], strict=True):
        grey = np.asarray(Image.open(case))
        scaled = torch.from_numpy(grey.astype(np.float32) / (65535 if deep else 255)).expand(1, 3, -1, -1)
        if grey.shape == (8, 8):
            torch.testing.assert_close(x_D, Means()(scaled)[0].detach(), rtol=0, atol=1e-6)
    train = np.concatenate([data.bags.instances(int(data.slots[row])) for row in data.rows("train")])
    np.testing.assert_allclose(data.spec.mean, train.mean(0), rtol=1e-4, atol=1e-6)


def test_nothing_is_encoded_twice(tmp_path: Path) -> None:
    pictures(tmp_path, means())
    again = means()
    assert pictures(tmp_path, again).made == 0 and again.network.seen == 0
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / "3.png")
    changed = means()
    assert pictures(tmp_path, changed).made == 1 and changed.network.seen == 1
    shutil.copy(tmp_path / "4.png", tmp_path / "5.png")  # a content that is there, under another name
    twin = means()
    data = pictures(tmp_path, twin, leakage="warn")
    assert twin.network.seen == 0
    np.testing.assert_array_equal(data.bags.instances(4), data.bags.instances(5))
    other = means(scale=2.0)  # other weights, other features
    assert pictures(tmp_path, other).made == 39 and other.network.seen == 39
    np.testing.assert_allclose(pictures(tmp_path, other).bags.instances(0), 2 * data.bags.instances(0), rtol=1e-6)
    larger = pictures(tmp_path, means(), window=None, fit="stretch")
    assert larger.made == 39  # another way of reading files


def test_what_is_told_and_what_refused(tmp_path: Path) -> None:
    said: list[str] = []
    pictures(tmp_path, means(size=16), said)
    assert any("pictures of 8 x 8 px are enlarged to the encoder's 16" in line for line in said)
    with pytest.raises(UsageError, match="untrained network are no features of real images"):
        pictures(tmp_path, means(random=True))
    with pytest.raises(MedtrainError, match="features that are no numbers"):
        pictures(tmp_path, means(scale=float("nan")))


def test_colours_go_together_and_other_channels_alone(tmp_path: Path) -> None:
    colour = pictures(tmp_path, means(), channels=3)
    assert colour.spec.channels == 48


@pytest.mark.parametrize("keys", [{"patch_size": [1, 8, 8]}, {"patch_size": [4, 8, 8]}])
def test_a_volume_is_a_bag_of_its_slices(tmp_path: Path, keys: dict[str, Any]) -> None:
    table = nodules(tmp_path)
    given = {"table": str(table), "cache_dir": str(tmp_path / "cache"), "num_workers": 0, "window": [-1000, 200]}
    node, encoder = data_option("volume_table") | given | keys, means()
    data = opened(node, encoder, VolumeData)
    plain = VolumeData(node, report=lambda text: None)
    plain.prepare()
    assert data.cases.equals(plain.cases) and data.noun == "volumes"
    row = int(data.rows("test")[0])
    patches = torch.cat([b["x"][b["case"] == row] for b in plain.eval_dataloader("test")])  # (P, 1, D, H, W)
    slices = patches.permute(0, 2, 1, 3, 4).flatten(0, 1).expand(-1, 3, -1, -1)
    features = data.bags.instances(int(data.slots[row]))
    assert len(features) == len(slices)
    torch.testing.assert_close(torch.from_numpy(np.array(features)), Means()(slices).detach(), rtol=0, atol=1e-5)
    again = means()
    assert opened(node, again, VolumeData).made == 0 and again.network.seen == 0
    assert opened(node | {"window": [-500, 200]}, again, VolumeData).made == len(data.cases)
    with pytest.raises(UsageError, match="data.patch_label=mask"):
        opened(node | {"patch_label": "mask"}, again, VolumeData)


def test_several_pictures_of_a_case_are_one_bag(tmp_path: Path) -> None:
    write_images(tmp_path, 40)
    lines = [f"{n}.png,{n // 4 % 2},p{n // 4},e{n // 2}" for n in range(40)]
    table = write_table(tmp_path, "\n".join(["path,label,patient,exam", *lines]) + "\n")
    node = config(table=table, image_size=8, cache_dir=str(tmp_path / "cache"), batch_size=4, columns={"case": "exam"})
    data = opened(node, means(), ImageData)
    assert data.cases["case"].tolist() == [f"e{n}" for n in range(20)] and data.lengths.tolist() == [2] * 20
    batch = next(iter(data.test_dataloader()))
    assert batch["offsets"].tolist() == list(range(0, 2 * len(batch["case"]) + 1, 2))
    alone = pictures(tmp_path, means())
    case = int(batch["case"][0])
    np.testing.assert_array_equal(
        batch["x"][:2].numpy(), np.concatenate([alone.bags.instances(2 * case + n) for n in (0, 1)])
    )
    assert data.pixels([f"e{case}"]).shape == (1, 1, 8, 8)
