"""The verb inspect by the real command: what it writes, what it prints, how it ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtrain.data.phantom.xray import make_phantom_xray
from tests.dicom_files import dataset
from tests.integration.conftest import Ran

TINY = "inspect data.patients=24 data.image_size=32".split()


def listed(folder: Path) -> dict:
    return json.loads((folder / "inspect.json").read_text())


def test_clean_data(real: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    ran = real(*TINY)
    assert ran.code == 0, ran.err
    (run,) = (folder / "outputs" / "xray_cls").glob("*_inspect")
    assert str(run.relative_to(folder) / "inspect.json") in ran.out and "no problems found" in ran.out
    assert "SYNTHETIC" in ran.out
    found = listed(run)
    assert found["problems"] == [] and found["synthetic"] is True
    assert found["counts"]["images"] == found["counts"]["used"] == sum(s["images"] for s in found["splits"].values())
    assert sum(s["patients"] for s in found["splits"].values()) == found["counts"]["patients"] == 24
    assert {name: row["images"] for name, row in found["imbalance"]["train"].items()}.keys() == {"0", "1"}
    assert found["images_per_s"] > 0 and found["classes"] == ["0", "1"]
    assert Image.open(run / "contact_sheet.png").width > 600 and not (run / "suspicious.png").exists()
    assert json.loads((run / "run.json").read_text())["status"] == "finished"


def test_a_bad_table_ends_with_1_and_lists_all(medtrain: Callable[..., Ran], folder: Path) -> None:
    make_phantom_xray(folder / "films", patients=24, image_size=32, seed=0)
    files = sorted((folder / "films" / "images").glob("*.png"))
    files[1].write_bytes(files[1].read_bytes()[:200])
    shutil.copy(files[2], files[3])
    inverted = np.asarray(Image.open(files[4]))
    Image.fromarray(inverted.max() - inverted).save(files[4])
    command = "inspect data=image_table data.table=films/table.csv data.image_size=32 hydra.run.dir=bad"
    ran = medtrain(*command.split())
    assert ran.code == 1 and "errors in the data" in ran.err and "bad/inspect.json" in ran.err
    assert len(ran.err.strip().splitlines()) <= 3
    kinds = {problem["kind"] for problem in listed(folder / "bad")["problems"]}
    assert {"unreadable", "duplicate", "inverted"} <= kinds
    for problem in listed(folder / "bad")["problems"]:
        assert set(problem) == {"severity", "kind", "where", "detail"}
        assert problem["severity"] in ("error", "warning", "note")
    assert (folder / "bad" / "suspicious.png").is_file()
    again = medtrain(*command.split())
    assert again.code == 2 and "already holds a run" in again.err


def test_a_validation_split_that_cannot_choose(medtrain: Callable[..., Ran], folder: Path) -> None:
    lines = ["path,label,patient,split"]
    draw = np.random.default_rng(0)
    for n in range(12):
        Image.fromarray(draw.integers(0, 256, (16, 16)).astype(np.uint8)).save(folder / f"{n}.png")
        split = ("train", "val", "test")[n % 3]
        lines.append(f"{n}.png,{0 if split == 'val' else n % 2},p{n},{split}")
    (folder / "table.csv").write_text("\n".join(lines))
    ran = medtrain(
        *"inspect data=image_table data.table=table.csv data.image_size=16 data.cache_dir=c hydra.run.dir=out".split(),
        "inspect.near_duplicates=false",
    )
    assert ran.code == 1
    found = {(p["severity"], p["kind"], p["where"]) for p in listed(folder / "out")["problems"]}
    assert found == {("error", "no_validation", "val"), ("warning", "absent_class", "val")}


def test_nothing_of_a_header_gets_out(
    medtrain: Callable[..., Ran], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDTRAIN_CACHE", str(folder / "cache"))
    draw = np.random.default_rng(0)
    lines = ["path,label,split"]
    for n in range(12):
        pixels = draw.integers(0, 3000, (20, 16)).astype(np.uint16)
        ds = dataset(pixels, 12, PatientID=f"QID77-{n // 2}", PatientName="Zyxwvu^Quentin")
        ds.save_as(folder / f"f{n}.dcm")
        lines.append(f"f{n}.dcm,{n // 2 % 2},{('train', 'val', 'test')[n % 3]}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    ran = medtrain(*"inspect data=image_table data.table=table.csv data.image_size=16 hydra.run.dir=out".split())
    assert ran.code == 1
    problems = listed(folder / "out")["problems"]
    assert [p["kind"] for p in problems].count("patient_leak") == 6
    assert listed(folder / "out")["images"]["bits"] == {"12": 12}
    told = [ran.out, ran.err] + [p.read_bytes().decode("latin1") for p in (folder / "out").iterdir()]
    assert not [secret for secret in ("QID77", "Zyxwvu") if any(secret in text for text in told)]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("inspect data=image_table", "data.table is needed"),
        ("inspect data=image_table data.table=nowhere.csv", "nowhere.csv"),
        ("inspect -m model=resnet18,resnet50", "no sweep of it"),
        ("inspect inspect.near=false", "no such key; there are: near_duplicates"),
    ],
)
def test_usage(line: str, text: str, medtrain: Callable[..., Ran], folder: Path) -> None:
    ran = medtrain(*line.split())
    assert ran.code == 2 and text in ran.err, ran.err
