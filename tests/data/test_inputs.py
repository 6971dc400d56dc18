"""What predict reads: files, folders, tables without labels; a bad file costs its own row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from medtrain.core.errors import DataError, UsageError
from medtrain.core.spec import DataSpec
from medtrain.data.xray.module import ImageData
from tests.data.tables import config, spoil, write_table

Make = Callable[..., ImageData]


def test_inputs(make: Make, tmp_path: Path) -> None:
    data = make()
    data.prepare()
    spoil(tmp_path)
    cfg, spec = data.cfg | {"patient_pattern": r"\d+"}, data.spec
    folder = ImageData.for_inputs(cfg, spec, tmp_path)
    assert len(folder.cases) == 39 and folder.cases["case"].iloc[:3].tolist() == ["0.png", "1.png", "10.png"]
    assert folder.cases["patient"].iloc[2] == "10"
    bad = folder.cases["case"].tolist().index("3.png")
    assert list(folder.errors) == [bad] and "truncated" in folder.errors[bad]
    batches = list(folder.predict_dataloader())
    assert "y" not in batches[0] and bad not in torch.cat([batch["case"] for batch in batches]).tolist()
    assert sum(len(batch["case"]) for batch in batches) == 38
    one = ImageData.for_inputs(cfg, spec, tmp_path / "7.png")
    assert torch.equal(next(iter(one.predict_dataloader()))["x"][0], data.dataset(np.array([7]))[0]["x"])
    table = write_table(tmp_path, "image,patient\n0.png,a\n5.png,b\n", "inputs.csv")
    listed = ImageData.for_inputs(data.cfg, spec, table)
    assert listed.cases["patient"].tolist() == ["a", "b"] and listed.errors == {1: "no such file"}
    with pytest.raises(UsageError, match="no such file or folder"):
        ImageData.for_inputs(cfg, spec, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        ImageData.for_inputs(cfg, spec, tmp_path / "empty")


def test_real_chest_films_to_predict(test_data: Path, tmp_path: Path) -> None:
    spec = DataSpec("binary", ("0", "1"), 1, (32, 32), mean=(0.449,), std=(0.226,))
    films = ImageData.for_inputs(config(cache_dir=str(tmp_path)), spec, test_data / "xray")
    suffixes = [Path(films.cases["case"][row]).suffix for row in films.errors]
    assert suffixes == [".dcm"] * 2 and len(films.cases) >= 6
    x = torch.cat([batch["x"] for batch in films.predict_dataloader()])
    assert x.shape == (len(films.cases) - 2, 1, 32, 32) and (x.flatten(1).max(1).values > 100).all()
