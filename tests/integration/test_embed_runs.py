"""The verb embed: phantoms, a user's slides with a bad one among them, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import pandas as pd

from tests.integration.conftest import Ran
from tests.slide_files import slide_file

SMALL = ["data.tile_px=64", "data.num_workers=0"]


def test_phantoms_are_embedded_once(medtrain: Callable[..., Ran], folder: Path) -> None:
    words = ["embed", "task=wsi_mil", "data.patients=10", "data.slide_px=512", "data.bags=bags", *SMALL]
    first = medtrain(*words)
    assert first.code == 0, first.err
    assert "encoder: descriptor (colour and texture, not trained), 46 features a tile" in first.out
    assert "SYNTHETIC data: " in first.out and not (folder / "outputs").exists()
    table = pd.read_csv(folder / "bags" / "embed.csv", keep_default_na=False)
    assert len(table) >= 10 and (table["error"] == "").all() and (table["tiles"] > 5).all()
    times = {path: path.stat().st_mtime_ns for path in (folder / "bags").glob("*.h5")}
    assert len(times) == len(table)
    assert medtrain(*words).code == 0
    assert times == {path: path.stat().st_mtime_ns for path in (folder / "bags").glob("*.h5")}
    other = medtrain(*words, "data.mpp=1.0")
    assert other.code == 1 and "was made otherwise: mpp 0.5 (now 1.0)" in other.err


def test_ones_own_slides_without_labels(medtrain: Callable[..., Ran], folder: Path) -> None:
    slide_file(folder / "good é.tiff", 512)
    (folder / "bad.svs").write_text("no slide")
    (folder / "slides.csv").write_text("slide\ngood é.tiff\nbad.svs\n", encoding="utf-8")
    words = ["embed", "task=wsi_mil", "data=slide_table", "data.table=slides.csv", "data.bags=bags", *SMALL]
    refused = medtrain(*words, "encoder=torchvision", "encoder.name=resnet18", "encoder.weights=none")
    assert refused.code == 2 and "features of an untrained network are no features of real slides" in refused.err
    ran = medtrain(*words)
    assert ran.code == 1
    assert "error: 1 of 2 slides have no bag" in ran.err and "bad.svs: not a slide that OpenSlide can read" in ran.err
    with h5py.File(folder / "bags" / "good é.h5") as file:
        assert file["features"].shape[1] == 46


def test_what_is_no_slide_or_no_encoder(medtrain: Callable[..., Ran], folder: Path) -> None:
    ran = medtrain("embed", "data.patients=12")
    assert ran.code == 2 and "embed needs encoder=NAME" in ran.err
    ran = medtrain("embed", "task=wsi_mil", "encoder=timm", "encoder.nam=x")
    assert ran.code == 2 and "encoder.nam=x: no such key" in ran.err
    ran = medtrain("embed", "task=wsi_mil", "encoder._target_=os.system")
    assert ran.code == 2 and "os.system" in ran.err
    ran = medtrain("embed", "task=wsi_mil", "data.tile_px=8")
    assert ran.code == 2 and "it must be at least 32" in ran.err
