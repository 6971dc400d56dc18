"""Pictures are embedded once, and probes are trained on their features with the splits of the pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
import torchvision as tv
from PIL import Image

from tests.integration.conftest import Ran


def films(folder: Path, n: int = 60) -> None:
    """Write pictures of which one class is brighter, three a patient, and their table."""
    random, rows = np.random.default_rng(0), []
    for i in range(n):
        bright = (i // 3) % 2
        grey = random.integers(0, 120, (40, 40)) + 100 * bright
        Image.fromarray(grey.astype(np.uint8)).save(folder / f"{i}.png")
        rows.append((f"{i}.png", ["clear", "dense"][bright], f"p{i // 3}"))
    pd.DataFrame(rows, columns=["path", "label", "patient"]).to_csv(folder / "films.csv", index=False)


def test_features_of_films_and_a_probe_on_them(medtrain: Callable[..., Ran], folder: Path) -> None:
    films(folder)
    torch.manual_seed(0)
    network = tv.models.resnet18(weights=None)
    torch.save(network.state_dict(), folder / "w.pth")
    data = ["task=xray_cls", "data=image_table", "data.table=films.csv", "data.positive=dense", "data.image_size=40"]
    data += ["data.num_workers=0", "data.batch_size=16"]
    words = ["embed", *data, "encoder=torchvision", "encoder.name=resnet18", "encoder.size=64", "output=features"]
    refused = medtrain(*words, "encoder.weights=none")
    assert refused.code == 2 and "features of an untrained network are no features of real images" in refused.err
    ran = medtrain(*words, "encoder.weights=w.pth")
    assert ran.code == 0, ran.err
    assert "tensors loaded; 2 of a classifier left out" in ran.out and "60 images, 60 embedded now" in ran.out
    assert "pictures of 40 x 40 px are enlarged to the encoder's 64" in ran.out + ran.err
    again = medtrain(*words, "encoder.weights=w.pth")
    assert "60 images, 0 embedded now" in again.out
    other = medtrain(*words, "encoder.weights=w.pth", "encoder.size=32")
    assert other.code == 1 and "give another folder: output=FOLDER" in other.err

    table = pd.read_csv(folder / "features" / "features.csv")
    row = table[table["case"] == "7.png"].iloc[0]
    x = torch.from_numpy(np.array(Image.open(folder / "7.png"))).float().expand(1, 3, 40, 40) / 255
    x = torch.nn.functional.interpolate(x, (64, 64), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    network.fc = torch.nn.Identity()
    with torch.no_grad():
        expected = network.eval()((x - mean) / std)[0].numpy()
    with h5py.File(folder / "features" / row["bag"]) as file:
        np.testing.assert_allclose(file["features"][0], expected, rtol=2e-3, atol=2e-3)
    assert row["label"] == "dense" if (7 // 3) % 2 else row["label"] == "clear"

    probe = ["task=wsi_mil", "data=feature_bags", "data.table=features/features.csv", "data.columns.case=case"]
    probe += [
        "data.positive=dense",
        "model=linear_probe",
        "trainer.max_epochs=8",
        "optimizer.lr=0.01",
        "data.num_workers=0",
    ]
    trained = medtrain("train", *probe, "hydra.run.dir=run", "eval.bootstrap=50")
    assert trained.code == 0, trained.err
    splits = pd.read_csv(folder / "run" / "splits.csv")
    assert dict(zip(splits["case"], splits["split"], strict=True)) == dict(
        zip(table["case"], table["split"], strict=True)
    )
    metrics = json.loads((folder / "run" / "test_metrics.json").read_text())["metrics"]
    assert metrics["auroc"]["value"] > 0.95
