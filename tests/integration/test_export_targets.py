"""export through the command: what else is predicted than classes, cases of several files, and networks of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from medtrain.io.files import read_json
from tests.integration.conftest import TINY, Ran

h5py = pytest.importorskip("h5py")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SHORT = ["trainer=cpu", "trainer.max_epochs=1", "data.num_workers=0", "eval.bootstrap=20"]


def agreed(made: Path) -> bool:
    """Whether the proof holds, and no decision changed."""
    parity = read_json(made / "parity.json")
    return parity["cases"] > 0 and parity["largest"] <= 1e-5 and not parity["changed"]


def test_times_to_an_event_in_volumes_of_two_files(folder: Path, medtrain: Callable[..., Ran]) -> None:
    draw, rows = np.random.default_rng(0), []
    for number in range(60):
        for image in "ab":
            voxels = draw.normal(number % 5, 9, (14, 12, 10)).astype(np.float32)
            nibabel.save(nibabel.Nifti1Image(voxels, np.diag([4.0, 4.0, 4.0, 1.0])), folder / f"{number}{image}.nii.gz")
        rows.append([f"{number}a.nii.gz", f"{number}b.nii.gz", 1 + draw.exponential(20), number % 3 != 0])
    table = pd.DataFrame(rows, columns=["first", "second", "time", "event"]).astype({"event": int})
    table.to_csv("t.csv", index=False)
    words = ["task=volume_cls", "data=volume_table", "data.table=t.csv", "data.columns.path=[first,second]", *SHORT]
    words += ["data.target=event", "eval.horizons=[12,24]", "data.patch_size=9", "model=resnet10_3d", "model.width=8"]
    ran = medtrain("train", *words, "hydra.run.dir=run")
    assert ran.code == 0, ran.err
    ran = medtrain("export", "run=run", "output=made", "export.cases=4")
    assert ran.code == 0, ran.err
    assert agreed(folder / "made")
    assert read_json("made/model.json")["input"]["channels"] == 2
    small = nibabel.Nifti1Image(np.zeros((5, 5, 5), np.float32), np.eye(4))
    nibabel.save(small, folder / "small.nii.gz")
    cells = {"first": ["0a.nii.gz", "1a.nii.gz"], "second": ["0b.nii.gz", "small.nii.gz"]}
    pd.DataFrame(cells).to_csv("new.csv", index=False)
    tables = []
    for run in ("run", "made"):
        ran = medtrain("predict", f"run={run}", "input=new.csv", f"output={run}.csv")
        assert ran.code == 1, ran.err
        tables.append(pd.read_csv(f"{run}.csv"))
    assert tables[1]["error"].notna().tolist() == [False, True]
    assert "another image of the case has 5 x 5 x 5 voxels" in tables[1]["error"][1]
    pd.testing.assert_frame_equal(*tables, atol=1e-5)


def test_quantities_of_bags(folder: Path, medtrain: Callable[..., Ran]) -> None:
    draw, rows = np.random.default_rng(0), ["slide_id,label,patient"]
    for number in range(60):
        x = draw.normal(number / 30, 1, (int(draw.integers(3, 9)), 8)).astype(np.float32)
        with h5py.File(folder / f"s{number}.h5", "w") as file:
            file["features"] = x
        rows.append(f"s{number},{40 + number + draw.normal():.2f},P{number}")
    (folder / "bags.csv").write_text("\n".join(rows) + "\n")
    words = ["task=wsi_mil", "data=feature_bags", "data.table=bags.csv", f"data.root={folder}", "data.target=value"]
    ran = medtrain("train", *words, *SHORT, "hydra.run.dir=run")
    assert ran.code == 0, ran.err
    ran = medtrain("export", "run=run", "output=made")
    assert ran.code == 0, ran.err
    assert agreed(folder / "made")


def test_a_network_of_others_that_cannot_be_traced(
    folder: Path, medtrain: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDTRAIN_CONFIG_DIR", str(folder))
    (folder / "branching.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self, spec) -> None:\n"
        "        super().__init__()\n        self.last = nn.Linear(1, spec.n_logits)\n\n    def forward(self, x):\n"
        "        return self.last(x.mean((2, 3)) if x.max() > 9 else x.amax((2, 3)))\n"
    )
    words = [word for word in TINY if not word.startswith("model")]
    ran = medtrain("train", *words, "model=custom", "model._target_=branching.Net", "hydra.run.dir=run")
    assert ran.code == 0, ran.err
    before = sorted((folder / "run").iterdir())
    ran = medtrain("export", "run=run")
    assert ran.code == 1, ran.err
    assert "the network can't be traced: at `return self.last(x.mean((2, 3)) if x.max() > 9" in ran.err
    assert "branching.py:" in ran.err
    assert len(ran.err.strip().splitlines()) <= 3
    assert sorted((folder / "run").iterdir()) == before
