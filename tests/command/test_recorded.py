"""The run record ends in the status that the work ends in, whatever ends it."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from medtrain.command.recorded import recorded
from medtrain.core.errors import DataError
from medtrain.io.files import read_json

CFG = OmegaConf.create({"verb": "train", "seed": 3})


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyboardInterrupt(), "interrupted", None),
        (DataError("the table is empty"), "failed", "the table is empty"),
        (RuntimeError("CUDA out of memory. Tried"), "failed", "lower data.batch_size"),
        (OSError(28, "No space left on device", "last.ckpt"), "failed", "No space left on device: last.ckpt"),
    ],
)
def test_what_ends_the_work_is_kept(error: BaseException, status: str, words: str | None, tmp_path: Path) -> None:
    with pytest.raises(type(error)), recorded(CFG, tmp_path) as record:
        assert record is not None and read_json(tmp_path / "run.json")["status"] == "running"
        raise error
    fields = read_json(tmp_path / "run.json")
    assert fields["status"] == status and fields["seed"] == 3 and "ended" in fields
    assert "error" not in fields if words is None else words in fields["error"]


def test_who_finishes_says_so_alone(tmp_path: Path) -> None:
    with recorded(CFG, tmp_path) as record:
        assert record is not None
        record.finish("finished")
    assert read_json(tmp_path / "run.json")["status"] == "finished"


def test_other_ranks_keep_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medtrain.launch.global_rank", lambda: 1)
    with recorded(CFG, tmp_path) as record:
        assert record is None
    assert not (tmp_path / "run.json").exists()
