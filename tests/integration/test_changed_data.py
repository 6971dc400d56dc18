"""Data that have changed since a run began: it does not go on, nor is it tested, without a word on what has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from medtrain.io import record
from medtrain.io.files import write_json
from tests.data.boxes import make_coco
from tests.integration.conftest import Ran

USUAL = "trainer=cpu trainer.max_epochs=1 eval.bootstrap=0 data.num_workers=0".split()
IMAGES = "data.image_size=32 data.batch_size=16 model=resnet18".split()
VOLUMES = "task=volume_cls data=volume_table data.patch_size=16 model=resnet10_3d model.width=8".split()
BOXES = "task=lesion_det model=yolo data.image_size=64 data.batch_size=8".split()


@dataclass
class Source:
    """Data of one kind in the working folder, and two ways to change them."""

    words: list[str]
    relabel: Callable[[], None]
    told: str
    more: dict[str, Callable[[], None]] = field(default_factory=dict)


def films(folder: Path, count: int, size: int = 24) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(3)
    for n in range(count):
        pixels = (draw.random((size, size)) * 120 + 60 * (n % 2)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{n:02}.png")
    return [f"{n:02}.png" for n in range(count)]


def rewrite(table: str, column: str, new: Callable[[pd.Series], object]) -> None:
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    rows[column] = new(rows[column])
    rows.to_csv(table, index=False)


def swap(column: pd.Series) -> pd.Series:
    return column.map({"0": "1", "1": "0"})


def image_table() -> Source:
    names = films(Path("films"), 40)
    rows = {"path": [f"films/{name}" for name in names], "label": [n % 2 for n in range(40)]}
    pd.DataFrame(rows | {"patient": [f"p{n // 2}" for n in range(40)]}).to_csv("t.csv", index=False)
    return Source(
        ["data=image_table", "data.table=t.csv", *IMAGES],
        lambda: rewrite("t.csv", "label", swap),
        "the labels of 40 cases",
        {
            "1 cases are new": lambda: Path("t.csv").write_text(
                Path("t.csv").read_text() + f"{films(Path('more'), 1)[0].join(['more/', ''])},0,p99\n"
            ),
            "the patients of": lambda: rewrite("t.csv", "patient", lambda column: [f"q{n}" for n in range(40)]),
        },
    )


def image_folder() -> Source:
    for n, name in enumerate(films(Path("films"), 40)):
        place = Path("sorted") / "ab"[n % 2]
        place.mkdir(parents=True, exist_ok=True)
        (Path("films") / name).rename(place / name)

    def relabel() -> None:
        for file in sorted(Path("sorted/a").iterdir())[:5]:
            file.rename(Path("sorted/b") / file.name)

    return Source(["data=image_folder", "data.root=sorted", "data.positive=b", *IMAGES], relabel, "5 cases are gone")


def medmnist() -> Source:
    draw = np.random.default_rng(0)
    parts = {}
    for split, count in (("train", 30), ("val", 10), ("test", 10)):
        parts[f"{split}_labels"] = (np.arange(count) % 2)[:, None]
        parts[f"{split}_images"] = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    np.savez("m.npz", **parts)

    def relabel() -> None:
        np.savez("m.npz", **{k: 1 - v if k.endswith("labels") else v for k, v in parts.items()})

    words = ["data=medmnist", "data.file=m.npz", "data.batch_size=16", "model=resnet18"]
    return Source(words, relabel, "the labels of 50 cases")


def volume_table() -> Source:
    draw = np.random.default_rng(0)
    for n in range(16):
        for name, voxels in (("v", draw.normal(100, 10, (16, 16, 16))), ("m", np.eye(16)[:, :, None].repeat(16, 2))):
            nib.save(nib.Nifti1Image(voxels.astype(np.float32), np.eye(4)), f"{name}{n:02}.nii.gz")
    rows = {"image": [f"v{n:02}.nii.gz" for n in range(16)], "mask": [f"m{n:02}.nii.gz" for n in range(16)]}
    split = ["train"] * 8 + ["val"] * 4 + ["test"] * 4
    pd.DataFrame(rows | {"label": [n % 2 for n in range(16)], "split": split}).to_csv("t.csv", index=False)

    def redraw() -> None:
        for n in (1, 3, 5):
            nib.save(nib.Nifti1Image(np.ones((16, 16, 16), np.float32), np.eye(4)), f"m{n:02}.nii.gz")

    words = [*VOLUMES, "data.table=t.csv", "data.patch_label=mask", "data.min_share=0.001", "data.batch_size=4"]
    return Source(
        words, redraw, "the labels of 3 cases", {"the split of": lambda: rewrite("t.csv", "split", reversed_)}
    )


def reversed_(column: pd.Series) -> list[str]:
    return column.tolist()[::-1]


def csv_bags() -> Source:
    draw = np.random.default_rng(0)
    rows = [[n % 2, f"b{n}", *draw.normal(n % 2, 1, 5).round(3)] for n in range(30) for _ in range(4)]
    pd.DataFrame(rows).to_csv("bags.csv", index=False, header=False)

    def relabel() -> None:
        pd.DataFrame([[1 - row[0], *row[1:]] for row in rows]).to_csv("bags.csv", index=False, header=False)

    return Source(["task=wsi_mil", "data=feature_bags", "data.table=bags.csv"], relabel, "the labels of 30 cases")


def coco() -> Source:
    images = {f"p{n}_0.png": [("nodule", (4, 4, 12, 12))] if n % 2 else [] for n in range(30)}
    make_coco(Path("coco"), images)

    def move_boxes() -> None:
        file = Path("coco/annotations.json")
        content = json.loads(file.read_text())
        for annotation in content["annotations"][:5]:
            annotation["bbox"][0] += 20
        file.write_text(json.dumps(content))

    return Source([*BOXES, "data=coco", "data.root=coco"], move_boxes, "the labels of 5 cases")


KINDS = [image_table, image_folder, medmnist, volume_table, csv_bags, coco]


def stop(run: str) -> None:
    """Make a finished run one that was stopped before its last epoch."""
    write_json(Path(run) / "run.json", record.read(run) | {"status": "interrupted"})


def put_back(folder: Path, files: dict[Path, bytes]) -> None:
    for path in {path for path in folder.rglob("*.png") if "run" not in path.parts} - files.keys():
        path.unlink()
    for path, content in files.items():
        path.write_bytes(content)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_it_is_said_what_has_changed(kind: Callable[[], Source], medtrain: Callable[..., Ran], folder: Path) -> None:
    source = kind()
    ran = medtrain(*source.words, *USUAL, "hydra.run.dir=run")
    assert ran.code == 0, ran.err
    first = (folder / "run" / "config.yaml").read_text()
    again = medtrain("test", "run=run")
    assert again.code == 0, again.err
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "run" not in path.parts}
    source.relabel()
    tested = medtrain("test", "run=run", "name=changed")
    assert tested.code != 0 and source.told in tested.err
    assert not (folder / "run/test_changed/test_metrics.json").exists()
    stop("run")
    ran = medtrain("resume=run", "trainer.max_epochs=2")
    assert ran.code == 1 and source.told in ran.err, ran.err + ran.out
    assert "put the data back" in ran.err
    assert (folder / "run" / "config.yaml").read_text() == first  # nothing of the attempt stays
    put_back(folder, files)
    ran = medtrain("resume=run", "trainer.max_epochs=2")  # which may still be raised
    assert ran.code == 0 and "going on after epoch 1" in ran.out, ran.err
    for told, change in source.more.items():
        change()
        stop("run")
        ran = medtrain("resume=run", "trainer.max_epochs=3")
        assert ran.code == 1 and told in ran.err, ran.err
        put_back(folder, files)


def test_auto_says_why_it_does_not_go_on(medtrain: Callable[..., Ran], folder: Path) -> None:
    """A changed table is another run, and said so; changed annotations below a root are found where they are read."""
    source = image_table()
    words = [*source.words, *USUAL]
    assert medtrain(*words, "hydra.run.dir=runs/a").code == 0
    stop("runs/a")
    source.relabel()
    ran = medtrain(*words, "resume=auto", "hydra.run.dir=runs/a")
    assert ran.code == 2 and "data.table has changed since" in ran.out and "already holds a run" in ran.err
    boxes = coco()
    words = [*boxes.words, *USUAL]
    assert medtrain(*words, "hydra.run.dir=runs/c").code == 0
    stop("runs/c")
    boxes.relabel()
    ran = medtrain(*words, "resume=auto", "hydra.run.dir=runs/c")
    assert ran.code == 1 and boxes.told in ran.err


def test_a_run_of_01_is_compared_by_what_it_has(medtrain: Callable[..., Ran], folder: Path) -> None:
    source = image_table()
    assert medtrain(*source.words, *USUAL, "hydra.run.dir=run").code == 0
    splits = pd.read_csv("run/splits.csv", dtype=str)
    splits[["case", "patient", "split", "fold"]].to_csv("run/splits.csv", index=False)
    ran = medtrain("test", "run=run")
    assert ran.code == 0, ran.err
    rewrite("t.csv", "label", lambda column: ["1", "0", *column[2:]])
    ran = medtrain("test", "run=run")
    assert ran.code == 1 and "a run of 0.1 doesn't know of which" in ran.err
    stop("run")
    assert medtrain("resume=run", "trainer.max_epochs=2").code == 1


def test_annotations_are_paths_like_others(
    medtrain: Callable[..., Ran], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other annotations are other data; a run's own are found from any working folder, and below a root that moved."""
    boxes = coco()
    names = [f"p{n}_0.png" for n in range(40, 52)]
    make_coco(folder / "new", {name: [("nodule", (4, 4, 12, 12))] for name in names})
    for file in (folder / "new/images").glob("*.png"):  # pictures that the run has not learned
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    (folder / "coco/annotations.json").rename(folder / "boxes (1).json")
    words = [*boxes.words, *USUAL, "data.annotations=boxes (1).json", "data.images=coco/images"]
    assert medtrain(*words, "hydra.run.dir=run").code == 0
    saved = yaml.safe_load((folder / "run/config.yaml").read_text())
    assert saved["data"]["annotations"] == f"{folder}/boxes (1).json"
    ran = medtrain("test", "run=run", "data.annotations=new/annotations.json", "data.images=new/images", "name=new")
    assert ran.code == 0, ran.err
    assert json.loads((folder / "run/test_new/test_metrics.json").read_text())["n_cases"] == 12
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    ran = medtrain("test", f"run={folder / 'run'}")
    assert ran.code == 0 and (folder / "run/test_test/test_metrics.json").is_file(), ran.err
