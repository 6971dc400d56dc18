"""A run on nnU-Net's raw folder with a file a channel: learned, predicted and exported by the names of files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from tests.data.test_nnunet import raw_folder
from tests.integration.conftest import Ran

SMALL = "data.patch_size=16 model.width=4 trainer=cpu trainer.max_epochs=1 task.mirror=false eval.bootstrap=0".split()


def test_channels_in_files_of_their_own(medtrain: Callable[..., Ran], folder: Path) -> None:
    root = raw_folder(folder / "Dataset001_Balls", channels=2, channel_names={"0": "T1", "1": "T2"})
    ran = medtrain("task=volume_seg", "data=nnunet", f"data.root={root}", *SMALL, "hydra.run.dir=run")
    assert ran.code == 0, ran.out + ran.err
    assert "4 images have no masks (labelsTs): not used; predict takes them" in ran.out + ran.err
    assert json.loads((folder / "run" / "run.json").read_text())["spec"]["channels"] == 2
    predicted = medtrain("predict", "run=run", f"input={root / 'imagesTs'}", "output=p.csv")
    assert predicted.code == 0, predicted.err
    table = pd.read_csv(folder / "p.csv")
    assert table["mask"].tolist() == ["p_masks/case_14.nii.gz", "p_masks/case_15.nii.gz"]
    pytest.importorskip("onnxruntime")
    exported = medtrain("export", "run=run", "output=made", "export.cases=2")
    assert exported.code == 0 and "voxels have another label" in exported.out, exported.err
    again = medtrain("predict", "run=made", f"input={root / 'imagesTs'}", "output=q.csv")
    assert again.code == 0, again.err
    other = pd.read_csv(folder / "q.csv")
    assert other["mask"].tolist() == ["q_masks/case_14.nii.gz", "q_masks/case_15.nii.gz"]
    for one, two in zip(table["mask"], other["mask"], strict=True):
        first, second = nib.load(folder / one), nib.load(folder / two)
        image = nib.load(root / "imagesTs" / Path(one).name.replace(".nii", "_0000.nii"))
        assert first.shape == image.shape and np.array_equal(first.affine, image.affine)
        np.testing.assert_array_equal(np.asarray(first.dataobj), np.asarray(second.dataobj))
