"""MedMNIST's 3D files: whole volumes in the file's own size, through the data module of the 2D ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medtrain.core.errors import UsageError
from medtrain.inspection import inspect_data
from tests.data.tables import opened
from tests.repository import data_option


def test_volumes_as_they_are(tmp_path: Path) -> None:
    draw, arrays = np.random.default_rng(0), {}
    for split, count in (("train", 8), ("val", 4), ("test", 5)):
        arrays[f"{split}_images"] = draw.integers(0, 256, (count, 6, 7, 8), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 2)[:, None]
    np.savez(tmp_path / "nodules.npz", **arrays)
    cfg = data_option("medmnist")
    cfg |= {"file": str(tmp_path / "nodules.npz"), "cache_dir": str(tmp_path / "cache")}
    data = opened("medmnist", cfg, report=lambda text: None)
    batch = next(iter(data.test_dataloader()))
    assert torch.equal(batch["x"][:, 0], torch.from_numpy(arrays["test_images"]))
    assert data.spec.size == (6, 7, 8) and data.spec.channels == 1 and data.spec.dims == 3
    assert data.pixels(["test/0"]).shape == (1, 1, 7, 8)
    assert inspect_data(opened("medmnist", cfg, report=lambda text: None)).cases["split"].value_counts()["train"] == 8
    with pytest.raises(UsageError, match="holds volumes, taken as they are"):
        opened("medmnist", cfg | {"image_size": 32}).prepare()
