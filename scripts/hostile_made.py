"""Data and runs that no fixture has, made once a start from the fixtures' files: for hostile.py.

`value`, `event`: numbers and times to an event of the films; `masks`: volumes with a column of masks; `nnunet`: its raw
folder; `exported`: a run of films as ONNX.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

BASE = {"value": "xray_cls", "event": "xray_cls", "exported": "xray_cls", "masks": "volume_cls", "nnunet": "volume_cls"}
COMMON = ["trainer=cpu", "trainer.max_epochs=1", "eval.bootstrap=0", "data.num_workers=0", "data.cache_dir=cache"]
SEGMENT = ["task=volume_seg", "data.patch_size=16", "data.spacing=3", "model.width=4", *COMMON]
TABLE = ["data.table=data/scans.csv", "data.classes=[bright]"]
TRAIN = {
    "value": ["run=first", "data.target=value", "data.columns.label=size", "data.positive=null", "loss=mse", *COMMON],
    "event": ["run=first", "data.target=event", "loss=cox", "data.positive=null", *COMMON],
    "masks": [*SEGMENT, "data=volume_table", *TABLE],
    "nnunet": [*SEGMENT, "data=nnunet", "data.root=data/raw"],
    "exported": [],
}


def make(task: str, fixtures: Path, place: Path, run: Callable[[list[str], Path], tuple[int, str]]) -> Path:
    """Lay data and a run of a task that has no fixture into place/TASK.

    Args:
        run: the command in a folder; it returns exit code and output.

    Raises:
        RuntimeError: the training on the unchanged data failed.
    """
    here = place / task
    shutil.copytree(fixtures / BASE[task] / "data", here / "data")
    shutil.copytree(fixtures / BASE[task] / "run", first := here / "first")
    config = first / "config.yaml"
    config.write_text(config.read_text().replace(f"/runs_0_1/{BASE[task]}", str(here)))
    if task in ("value", "event"):
        _numbers(here / "data" / "films.csv")
    elif BASE[task] == "volume_cls":
        _masks(here / "data", raw=task == "nnunet")
    words = TRAIN[task] and [*TRAIN[task], "hydra.run.dir=run"]
    code, told = run(words or ["export", "run=first", "output=run/export", "export.cases=2"], here)
    if code:
        raise RuntimeError(f"{task}: {told}")
    if task == "exported":
        shutil.copytree(first, here / "run", dirs_exist_ok=True)
    shutil.rmtree(first)
    shutil.rmtree(here / "cache", ignore_errors=True)
    return here


def _numbers(table: Path) -> None:
    """Add a number, and a time with an event, to each row."""
    rows = list(csv.DictReader(table.open()))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "patient", "size", "time", "event"], extrasaction="ignore")
        writer.writeheader()
        for i, row in enumerate(rows):
            more = {"size": f"{20 + 7.5 * int(row['label']) + i % 5}", "time": 3 + i % 40, "event": int(i % 3 > 0)}
            writer.writerow(row | more)


def _masks(data: Path, raw: bool) -> None:
    """Write a mask of each volume's brighter voxels; as a table, or as nnU-Net's raw folder."""
    import nibabel
    import numpy as np

    folders = (data / "raw" / "imagesTr", data / "raw" / "labelsTr") if raw else (data / "scans", data / "masks")
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    rows, scans = list(csv.DictReader((data / "scans.csv").open())), data / "scans"
    for i, row in enumerate(rows):
        image = nibabel.Nifti1Image.from_filename(data / row["path"])
        voxels = np.asarray(image.dataobj, "f4")
        mask = (voxels > np.quantile(voxels, 0.9)).astype(np.uint8)
        name = f"case_{i:02d}" if raw else Path(row["path"]).stem
        nibabel.save(nibabel.Nifti1Image(mask, image.affine), folders[1] / f"{name}.nii")
        row["mask"] = f"masks/{name}.nii"
        if raw:
            shutil.copy(data / row["path"], folders[0] / f"{name}_0000.nii")
    if raw:
        facts = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "bright": 1}, "file_ending": ".nii"}
        (data / "raw" / "dataset.json").write_text(json.dumps(facts | {"numTraining": len(rows)}))
        (data / "scans.csv").unlink()
        shutil.rmtree(scans)
        return
    with (data / "scans.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "mask", "patient"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
