"""Run folders: new ones, and those to go on in."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from medtrain.config import folder
from medtrain.core import process
from medtrain.core.errors import UsageError
from medtrain.io import record
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


def running(place: Path, **facts: object) -> Path:
    """A run whose record says that it runs, in the process of this test but for `facts`."""
    write_json(place / "run.json", {"status": "running", "heartbeat": record.now(), **process.identity(), **facts})
    return place


def test_a_run_that_lives_is_not_gone_on_with(tmp_path: Path) -> None:
    for name, facts in {"here": {}, "far": {"host": "far", "process": {"boot": "another"}}}.items():
        run = running(tmp_path / name, **facts)
        with pytest.raises(UsageError, match="still running .process .* s ago.; wait for it"):
            folder.to_resume(config(resume=str(run)), tmp_path, None)
    old = running(tmp_path / "far", heartbeat="2020-01-01T00:00:00+00:00", host="far", process={"boot": "another"})
    assert folder.to_resume(config(resume=str(old)), tmp_path, None) == old


def test_a_restarted_container_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = process.identity()["process"]
    same = running(tmp_path / "same", process=own | {"started": own["started"] - 1})  # the same number, another process
    assert folder.to_resume(config(resume=str(same)), tmp_path, None) == same
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(record, "LOST_AFTER_S", 1.2)
    other = running(tmp_path / "other", process=own | {"namespace": 7})  # can't be seen: it is waited for
    assert folder.to_resume(config(resume=str(other)), tmp_path, None) == other
    assert "waiting for a sign of life" in capsys.readouterr().out


def test_a_damaged_record_ends_no_other_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = config(resume="auto")
    write_json(tmp_path / "a" / "run.json", {"status": "failed", "fingerprint": folder.fingerprint(cfg)})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "run.json").write_text('{"status"')
    (tmp_path / "c").mkdir()
    write_json(tmp_path / "c" / "run.json", {"status": "failed", "fingerprint": "another"})
    (tmp_path / "c" / "config.yaml").write_text("a: [")
    assert folder.to_resume(cfg, tmp_path, None) == tmp_path / "a"
    assert f"not going on with {tmp_path / 'b'}" in capsys.readouterr().out
    (tmp_path / "a" / "run.json").unlink()
    assert folder.to_resume(cfg, tmp_path, None) is None
    said = capsys.readouterr().out
    assert f"not going on with {tmp_path / 'b'}" in said and f"not going on with {tmp_path / 'c'}" in said
    with pytest.raises(UsageError, match=r"run\.json: damaged: .*\); give another hydra"):
        folder.claim(tmp_path / "b")


def test_a_half_checkpoint_is_no_reason_to_keep_a_folder(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"status": "failed"})
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".best.ckpt.abcd1234.tmp").write_text("x")
    assert folder.claim(tmp_path) == tmp_path
    (tmp_path / "checkpoints" / "last.ckpt").write_text("x")
    with pytest.raises(UsageError, match="already holds a run"):
        folder.claim(tmp_path)
