"""Run folders: new ones, and those to go on in."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from medtrain.config import folder
from medtrain.core.errors import UsageError
from medtrain.io.files import write_json


def test_two_runs_of_one_second_get_two_folders(tmp_path: Path) -> None:
    names = [folder.reserve(tmp_path / "runs" / "now").name for _ in range(3)]
    assert names == ["now", "now_2", "now_3"]


def config(**more: object) -> DictConfig:
    plain = {"verb": "train", "resume": None, "data": {"table": None, "num_workers": 0}, "seed": 0}
    return OmegaConf.create(plain | more)


def test_fingerprints_see_the_table_and_not_the_start(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("path,label\n")
    base = config(data={"table": str(table), "num_workers": 0})
    same = config(data={"table": str(table), "num_workers": 4}, resume="auto", debug=True)
    assert folder.fingerprint(base) == folder.fingerprint(same)
    assert folder.fingerprint(base) != folder.fingerprint(config(data={"table": str(table)}, seed=1))
    before = folder.fingerprint(base)
    table.write_text("path,label\na.png,1\n")
    assert folder.fingerprint(base) != before


def test_what_resume_means(tmp_path: Path) -> None:
    cfg = config(resume="auto")
    own = folder.fingerprint(cfg)
    for name, status, beat in (("a", "interrupted", "1"), ("b", "failed", "3"), ("c", "finished", "9")):
        write_json(tmp_path / name / "run.json", {"status": status, "heartbeat": beat, "fingerprint": own})
    write_json(tmp_path / "d" / "run.json", {"status": "failed", "heartbeat": "8", "fingerprint": "another"})
    assert folder.to_resume(cfg, tmp_path, None) == tmp_path / "b"  # the newest unfinished one of the same kind
    assert folder.to_resume(cfg, tmp_path, tmp_path / "c") == tmp_path / "c"
    assert folder.to_resume(cfg, tmp_path, tmp_path / "d") is None
    assert folder.to_resume(config(), tmp_path, None) is None
    with pytest.raises(UsageError, match="no run there"):
        folder.to_resume(config(resume=str(tmp_path / "zzz")), tmp_path, None)
