"""External validation: a run on tables that name classes otherwise, lack some, come from several sites."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from tests.integration.conftest import TINY, Ran, run_of


@pytest.fixture(scope="module")
def multilabel(tmp_path_factory: pytest.TempPathFactory, phantom_cache: Path) -> Iterator[Path]:
    """A tiny run that knows opacity and nodule."""
    yield from run_of([*TINY, "data.columns.label=[opacity,nodule]"], tmp_path_factory)


def films(folder: Path, names: list[str]) -> None:
    """Noise by these names."""
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (32, 32)).astype(np.uint8)).save(folder / name)


def test_nihs_table(medtrain: Callable[..., Ran], folder: Path, multilabel: Path, test_data: Path) -> None:
    """As published, but for the pictures: 'Infiltration' is our opacity, eleven findings are none of ours."""
    table = test_data / "xray_tables" / "nih_data_entry_head.csv"
    nih = pd.read_csv(table, index_col=False)
    films(folder / "films", nih["Image Index"].tolist())
    words = ["data=image_table", f"data.table={table}", "data.root=films", "data.num_workers=0", "name=nih"]
    ran = medtrain("test", f"run={multilabel}", *words, "data.label_map={Infiltration: opacity, Nodule: nodule}")
    assert ran.code == 0, ran.err
    assert "labels that the model doesn't know count nowhere: 'Atelectasis'" in ran.out
    found = pd.read_csv(multilabel / "test_nih" / "test_predictions.csv")
    metrics = json.loads((multilabel / "test_nih" / "test_metrics.json").read_text())
    assert metrics["n_cases"] == len(nih) and metrics["n_patients"] == nih["Patient ID"].nunique()
    for ours, theirs in (("opacity", "Infiltration"), ("nodule", "Nodule")):
        truth = nih["Finding Labels"].str.split("|").map(lambda labels, name=theirs: name in labels)
        assert (found[f"target_{ours}"] == truth.to_numpy()).all()
        value = metrics["per_class"][ours]["auroc"]["value"]
        assert value == pytest.approx(roc_auc_score(truth, found[f"prob_{ours}"]))


def test_a_class_that_their_table_lacks_has_no_metrics(
    medtrain: Callable[..., Ran], folder: Path, multilabel: Path
) -> None:
    """One column a class, as CheXpert has them; our 'nodule' is not among them, their uncertain ones are unknown."""
    names = [f"CheXpert/patient{n:05}/view1.png" for n in range(12)]
    films(folder, names)
    rows = [f"{name},{('1', '0', '-1')[n % 3]},{n % 2}" for n, name in enumerate(names)]
    Path("chexpert.csv").write_text("Path,Lung Opacity,Fracture\n" + "\n".join(rows) + "\n")
    words = ["data=image_table", "data.table=chexpert.csv", r"data.patient_pattern=patient(\d+)", "name=chexpert"]
    ran = medtrain("test", f"run={multilabel}", *words, "data.label_map={Lung Opacity: opacity}", "data.num_workers=0")
    assert ran.code == 0, ran.err
    assert "nodule: not in this table, so unknown" in ran.out
    metrics = json.loads((multilabel / "test_chexpert" / "test_metrics.json").read_text())
    assert metrics["per_class"]["nodule"]["auroc"] == {"value": None, "ci95": None}
    assert metrics["metrics"]["auroc"]["value"] == metrics["per_class"]["opacity"]["auroc"]["value"] is not None
    found = pd.read_csv(multilabel / "test_chexpert" / "test_predictions.csv")
    assert found["target_nodule"].isna().all() and found["target_opacity"].isna().sum() == 4
    ran = medtrain("test", f"run={multilabel}", *words, "data.label_map={Lung Opacty: opacity}", "data.num_workers=0")
    assert ran.code == 2 and "did you mean 'Lung Opacity'" in ran.err


def test_labels_beyond_a_binary_run(medtrain: Callable[..., Ran], folder: Path, trained: Path) -> None:
    films(folder, [f"{n}.png" for n in range(6)])
    labels = ["well", "sick", "well", "sick", "unclear", "sick"]
    Path("other.csv").write_text(
        "path,label\n" + "\n".join(f"{n}.png,{label}" for n, label in enumerate(labels)) + "\n"
    )
    run = shutil.copytree(trained, folder / "run")
    words = ["test", f"run={run}", "data=image_table", "data.table=other.csv", "data.num_workers=0", "name=other"]
    ran = medtrain(*words, "data.label_map={well: 0, sick: 1}")
    assert ran.code == 1 and "labels that the model doesn't know: 'unclear' (1 rows)" in ran.err
    ran = medtrain(*words, "data.label_map={0: well, 1: sick}", "data.on_bad=skip")  # the other way round
    assert ran.code == 0, ran.err
    place = max(run.glob("test_other*"), key=lambda p: p.stat().st_mtime)
    assert pd.read_csv(place / "test_predictions.csv")["target"].tolist() == [0, 1, 0, 1, 1]


def test_one_site_is_left_out(medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    words = [word for word in TINY if not word.startswith("data.patients")] + ["data.patients=40"]
    words += ["trainer.limit_train_batches=1", "data.leakage=drop", "hydra.sweep.dir=sites"]
    ran = medtrain("-m", *words, "data.split_by=site", "data.fold=0,2")
    assert ran.code == 0, ran.err
    table = pd.read_csv(next(phantom_cache.rglob("xray_v*_40p_*/table.csv"))).set_index("path")
    for job, (fold, site) in enumerate(((0, "north"), (2, "west"))):
        assert f"held out: site {site} (data.fold={fold} of 3 sites)" in ran.out
        run = json.loads((folder / "sites" / str(job) / "run.json").read_text())
        assert run["held_out"] == {"site": site, "fold": fold, "sites": 3}
        splits = pd.read_csv(folder / "sites" / str(job) / "splits.csv").set_index("case")
        assert (table.loc[splits.index, "site"].eq(site) == splits["split"].eq("test")).all()
        assert set(splits["split"]) == {"train", "val", "test"}
        assert splits.groupby("patient")["split"].nunique().max() == 1
    rows = pd.read_csv(folder / "sites" / "sweep.csv")
    assert sorted(rows["data.fold"]) == [0, 2] and rows["best_score"].is_monotonic_decreasing
    ran = medtrain(*words[:-1], "data.split_by=site", "data.fold=3", "hydra.run.dir=run")
    assert ran.code == 2 and "the site column has the parts 0 (north), 1 (south), 2 (west)" in ran.err
