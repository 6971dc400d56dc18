"""Data are a run's own by what they are: known again wherever they lie, and a leak where other data hold them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medtrain.data.phantom.slide import make_phantom_slides
from medtrain.io import record
from tests.integration import test_changed_data as sources
from tests.integration.conftest import Ran
from tests.integration.test_changed_data import USUAL, films

OLD = ["case", "patient", "split", "fold"]  # all that a run of 0.1 kept


def metrics(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "test_metrics.json").read_text()))


def move_images() -> list[str]:
    """The same pixels in another format, under other names and in another order."""
    rows = pd.read_csv("t.csv")
    Path("moved").mkdir()
    for path in rows["path"]:
        Image.open(path).save(Path("moved") / f"x{Path(path).stem}.bmp")
    rows["path"] = [f"x{Path(path).stem}.bmp" for path in rows["path"]]
    rows.iloc[::-1].to_csv("moved/t.csv", index=False)
    return ["data.table=moved/t.csv"]


def move_folder() -> list[str]:
    shutil.copytree("sorted", "moved/deep/sorted")
    return ["data.root=moved/deep/sorted"]


def move_file() -> list[str]:
    shutil.copy("m.npz", "other.npz")
    return ["data.file=other.npz"]


def move_volumes() -> list[str]:
    """Not compressed, and turned."""
    rows = pd.read_csv("t.csv")
    Path("moved").mkdir()
    turn = nib.io_orientation(np.diag([-1, -1, 1, 1.0]))
    for column in ("image", "mask"):
        for name in rows[column]:
            image = nib.load(name)
            plain = nib.Nifti1Image(np.asarray(image.dataobj), image.affine)
            nib.save(plain.as_reoriented(turn), Path("moved") / name.removesuffix(".gz"))
        rows[column] = rows[column].str.removesuffix(".gz")
    rows.to_csv("moved/t.csv", index=False)
    return ["data.table=moved/t.csv"]


def move_bags() -> list[str]:
    """Instances of a bag in another order."""
    rows = pd.read_csv("bags.csv", header=None)
    rows[1] = "moved " + rows[1]
    rows.iloc[::-1].to_csv("elsewhere.csv", index=False, header=False)
    return ["data.table=elsewhere.csv"]


def move_coco() -> list[str]:
    shutil.copytree("coco", "moved")
    return ["data.root=moved"]


KINDS = {
    "image_table": (sources.image_table, move_images),
    "image_folder": (sources.image_folder, move_folder),
    "medmnist": (sources.medmnist, move_file),
    "volume_table": (sources.volume_table, move_volumes),
    "csv_bags": (sources.csv_bags, move_bags),
    "coco": (sources.coco, move_coco),
}


@pytest.mark.parametrize(("make", "move"), KINDS.values(), ids=KINDS.keys())
def test_moved_data_are_known_again(
    make: Callable[[], sources.Source], move: Callable[[], list[str]], medtrain: Callable[..., Ran], folder: Path
) -> None:
    source = make()
    ran = medtrain(*source.words, *USUAL, "hydra.run.dir=run")
    assert ran.code == 0, ran.err
    splits = pd.read_csv("run/splits.csv", dtype=str)
    assert splits["content"].str.fullmatch(r"[pvf]\d:[0-9a-f]{32}").all() and splits["labels"].notna().all()
    moved = move()
    ran = medtrain("test", "run=run", *moved)
    assert ran.code == 0 and f"these are the {len(splits)} cases of run, by their content" in ran.out, ran.err
    again, first = metrics(folder / "run/test_test"), metrics(folder / "run")
    assert again["n_cases"] == first["n_cases"] == (splits["split"] == "test").sum()
    for name, result in first["metrics"].items():
        assert again["metrics"][name]["value"] == pytest.approx(result["value"], abs=1e-6)
    assert sorted(path.name for path in (folder / "run").glob("test_*") if path.is_dir()) == ["test_test"]
    assert record.read("run")["tests_counted"] == 2
    warnings = re.findall(r"warning: (.*)", ran.out)  # some tiny runs predict the same for all; none may be of a leak
    assert not [
        text for text in warnings if not re.match("(validation: )?constant|.*no patient|.*names no patients", text)
    ], ran.out
    splits[OLD].to_csv("run/splits.csv", index=False)  # as 0.1 wrote it
    ran = medtrain("test", "run=run", *moved, "name=old")
    known = make in (sources.image_folder, sources.medmnist, sources.coco)  # by names and labels
    assert ran.code == 0 and ("by their names and labels" in ran.out) == known, ran.err


def test_other_labels_of_moved_data_are_told(medtrain: Callable[..., Ran], folder: Path) -> None:
    """Which is how one tests against other labels on purpose."""
    source = sources.image_table()
    assert medtrain(*source.words, *USUAL, "hydra.run.dir=run").code == 0
    sources.rewrite("t.csv", "label", lambda column: ["1", "0", *column[2:]])
    Path("t.csv").rename("u.csv")
    ran = medtrain("test", "run=run", "data.table=u.csv")
    assert ran.code == 0 and "the labels of 2 cases" in ran.out, ran.err


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, phantom_cache: Path) -> Path:
    """A run on 40 films, beside them."""
    from medtrain.cli import main

    place = tmp_path_factory.mktemp("leaks")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert main([*sources.image_table().words, *USUAL, "hydra.run.dir=run"]) == 0
    return place


def other_table(folder: Path, trained: Path, splits: list[str], patient: str = "other{}") -> pd.DataFrame:
    """Twelve films that the run has not seen, and all that it has in these splits; the run is copied to `folder`."""
    if not (folder / "run").exists():
        shutil.copytree(trained / "run", folder / "run")
    rows = pd.read_csv(trained / "run" / "splits.csv", dtype=str)
    own = rows[rows["split"].isin(splits)]
    draw = np.random.default_rng(7)
    (folder / "new").mkdir(exist_ok=True)
    for n in range(12):
        Image.fromarray(draw.integers(0, 256, (24, 24)).astype(np.uint8)).save(folder / "new" / f"{n}.png")
    paths = [str(trained / case) for case in own["case"]] + [f"new/{n}.png" for n in range(12)]
    patients = [f"elsewhere{n}" for n in range(len(own))] + [patient.format(n) for n in range(12)]
    table = pd.DataFrame({"path": paths, "patient": patients, "label": [n % 2 for n in range(len(paths))]})
    table.to_csv(folder / "other.csv", index=False)
    return own


def test_what_the_run_has_learned_is_a_leak_in_other_data(
    medtrain: Callable[..., Ran], folder: Path, trained: Path
) -> None:
    own = other_table(folder, trained, ["train", "val"])
    words = ["test", "run=run", "data.table=other.csv"]
    ran = medtrain(*words)
    assert ran.code == 1 and f"{len(own)} of {len(own) + 12} cases leak from what run=run was trained on" in ran.err
    assert "data.leakage=drop" in ran.err and "the same content as a case that trained or tuned it" in ran.err
    ran = medtrain(*words, "data.leakage=drop", "name=drop")
    assert ran.code == 0 and "left out" in ran.out, ran.err
    assert metrics(folder / "run/test_drop")["n_cases"] == 12
    assert record.read("run/test_drop")["excluded"] == {"seen_in_training": len(own)}
    ran = medtrain(*words, "data.leakage=warn", "name=warn")
    assert ran.code == 0 and "tested all the same" in ran.out
    assert metrics(folder / "run/test_warn")["n_cases"] == len(own) + 12
    other_table(folder, trained, ["test"])  # what it was only tested on is no leak
    ran = medtrain(*words, "name=seen")
    assert ran.code == 0 and "leak" not in ran.out, ran.err


def test_equal_names_of_patients_are_a_warning_with_their_number(
    medtrain: Callable[..., Ran], folder: Path, trained: Path
) -> None:
    """Two hospitals count from 1; where the person knows that they are the same, data.leakage=error says so."""
    other_table(folder, trained, [], patient="p{}")
    learned = pd.read_csv(trained / "run/splits.csv").query("split != 'test'")["patient"]
    number = len(set(learned) & {f"p{n}" for n in range(12)})
    words = ["test", "run=run", "data.table=other.csv"]
    ran = medtrain(*words, "name=names")
    assert ran.code == 0 and f"{number} patients ({number} cases) bear names of patients" in ran.out, ran.err
    ran = medtrain(*words, "data.leakage=error")
    assert ran.code == 1 and f"{number} of 12 cases leak" in ran.err and "names are local" in ran.err


def test_names_mean_the_same_where_a_common_case_shows_it(
    medtrain: Callable[..., Ran], folder: Path, trained: Path
) -> None:
    """The run's own table, with new films of its patients: the same patients, and a leak."""
    other_table(folder, trained, [], patient="p{}")
    rows = pd.read_csv(trained / "run/splits.csv", dtype=str)
    known = rows[rows["split"] == "test"].iloc[:2]
    more = pd.DataFrame(
        {"path": [str(trained / case) for case in known["case"]], "patient": known["patient"], "label": 1}
    )
    pd.concat([pd.read_csv("other.csv"), more]).to_csv("other.csv", index=False)
    ran = medtrain("test", "run=run", "data.table=other.csv")
    assert ran.code == 1 and "has trained or tuned it" in ran.err


def test_a_run_of_01_can_only_warn_of_names(medtrain: Callable[..., Ran], folder: Path, trained: Path) -> None:
    other_table(folder, trained, [])
    pd.read_csv("run/splits.csv", dtype=str)[OLD].to_csv("run/splits.csv", index=False)
    (folder / "films").mkdir()
    for n in range(12):
        shutil.copy(f"new/{n}.png", f"films/{n:02}.png")
    rows = {"path": [f"films/{n:02}.png" for n in range(12)], "label": [n % 2 for n in range(12)]}
    pd.DataFrame(rows).to_csv("t.csv", index=False)
    ran = medtrain("test", "run=run", "data.table=t.csv", "name=a")
    assert ran.code == 0 and "a run of 0.1, which did not keep what they are" in ran.out, ran.err


def test_a_gate_must_not_have_learned_what_is_tested(medtrain: Callable[..., Ran], folder: Path) -> None:
    boxes = sources.coco()
    names = sorted(path.name for path in Path("coco/images").iterdir())
    rows = {"path": names, "label": [int(name.split("_")[0][1:]) % 2 for name in names]}
    pd.DataFrame(rows | {"split": (["train"] * 7 + ["val", "val", "test"]) * 3}).to_csv("t.csv", index=False)
    words = ["data=image_table", "data.table=t.csv", "data.root=coco/images", *sources.IMAGES, *USUAL]
    assert medtrain(*words, "hydra.run.dir=gate").code == 0
    ran = medtrain(*boxes.words, *USUAL, "eval.gate=gate", "hydra.run.dir=run")
    assert ran.code == 1 and "leak from what eval.gate=gate was trained on" in ran.err
    assert not (folder / "run/checkpoints").exists()  # before any training
    ran = medtrain(*boxes.words, *USUAL, "eval.gate=gate", "data.leakage=drop", "hydra.run.dir=run2")
    assert ran.code == 1 and "train the gate and the detector by one split" in ran.err
    ran = medtrain(*boxes.words, *USUAL, "hydra.run.dir=run3")
    assert ran.code == 0, ran.err
    assert medtrain("test", "run=run3", "eval.gate=gate").code == 1
    ran = medtrain("test", "run=run3", "eval.gate=gate", "data.leakage=drop", "name=rest")
    assert ran.code == 0, ran.err
    assert 0 < metrics(folder / "run3/test_rest")["n_cases"] < metrics(folder / "run3")["n_cases"]
    assert medtrain("test", "run=run3", "eval.gate=gate", "data.leakage=warn", "name=all").code == 0


def test_the_same_pixels_in_two_splits_are_a_leak_in_any_format(medtrain: Callable[..., Ran], folder: Path) -> None:
    names = films(Path("films"), 40)
    Image.open("films/00.png").save("films/00.bmp")
    Image.open("films/01.png").save("films/01.jpg")  # a JPEG of them are other pixels
    rows = {"path": [*names, "00.bmp", "01.jpg"], "split": ["train"] * 24 + ["val"] * 8 + ["test"] * 10}
    pd.DataFrame(rows | {"label": [n % 2 for n in range(42)]}).to_csv("t.csv", index=False)
    words = ["data=image_table", "data.table=t.csv", "data.root=films", *sources.IMAGES, *USUAL]
    ran = medtrain(*words, "hydra.run.dir=run")
    assert ran.code == 1 and "1 duplicate" in ran.err and "row 42 (test)" in ran.err and "row 43" not in ran.err
    ran = medtrain("inspect", *words, "hydra.run.dir=looked")
    found = json.loads((folder / "looked/inspect.json").read_text())["problems"]
    assert [p["kind"] for p in found if p["severity"] == "error"] == ["duplicate"]


def test_moved_slides_are_known_again(medtrain: Callable[..., Ran], folder: Path) -> None:
    """Under other names, as slides and as patients of several."""
    make_phantom_slides(folder / "lab", patients=16, slide_px=512, seed=0)
    words = "task=wsi_mil data=slide_table encoder=descriptor data.tile_px=64 data.mpp=0.5".split()
    rows = pd.read_csv("lab/table.csv")
    rows["slide"] = [f"{n}.tiff" for n in range(len(rows))]
    for unit in ("slide", "patient"):
        run = f"run_{unit}"
        ran = medtrain(*words, f"data.unit={unit}", "data.table=lab/table.csv", *USUAL, f"hydra.run.dir={run}")
        assert ran.code == 0, ran.err
        splits = pd.read_csv(f"{run}/splits.csv")
        assert splits["content"].str.match("[sc]1:").all()
        if unit == "slide":
            (folder / "disk").mkdir()
            for n, old in enumerate(pd.read_csv("lab/table.csv")["slide"]):
                shutil.copy(folder / "lab" / old, folder / "disk" / f"{n}.tiff")
            rows.drop(columns="mask").to_csv("disk/table.csv", index=False)
        ran = medtrain("test", f"run={run}", "data.table=disk/table.csv")
        assert ran.code == 0 and f"these are the {len(splits)} cases of {run}, by their content" in ran.out, ran.err
        assert metrics(folder / run / "test_test")["n_cases"] == (splits["split"] == "test").sum()
