"""The phantom of chest CT sections: the same from the same seed, in several forms, and giving nothing away."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from medtrain.data.phantom.volume import make_phantom_volume


def test_the_files_are_real_and_give_nothing_away(tmp_path: Path) -> None:
    for name, patients in (("a", 24), ("b", 3)):
        make_phantom_volume(tmp_path / name, patients=patients, seed=1)
    table = pd.read_csv(tmp_path / "a/table.csv")
    images = [nib.load(tmp_path / "a" / name) for name in table["image"]]
    masks = [nib.load(tmp_path / "a" / name) for name in table["mask"]]
    first = np.asarray(images[0].dataobj)
    assert np.array_equal(first, np.asarray(nib.load(tmp_path / "b" / table["image"][0]).dataobj))
    assert first.dtype == np.int16 and first.min() < -800 and first.max() > 0
    assert len({"".join(nib.aff2axcodes(image.affine)) for image in images}) > 2
    assert {name.endswith(".gz") for name in table["image"]} == {True, False}
    for image, mask, diameter in zip(images, masks, table["diameter_mm"], strict=True):
        assert np.allclose(image.affine, mask.affine) and image.shape == mask.shape
        volume = np.asarray(mask.dataobj).sum() * np.prod(image.header.get_zooms())
        assert 0.5 < volume / (np.pi / 6 * diameter**3) < 3.5
    extent = [np.prod(np.array(image.shape) * image.header.get_zooms()) for image in images]
    assert 0.25 < roc_auc_score(table["label"], extent) < 0.75
