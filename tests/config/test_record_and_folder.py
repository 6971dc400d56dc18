"""run.json and run folders."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from medtrain.config import folder, record
from medtrain.config.record import RunRecord
from medtrain.core.errors import UsageError
from medtrain.io.files import read_json, write_json


def test_a_record_beats_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunRecord, "beat_s", 0.05)
    run = RunRecord(tmp_path, verb="train").start()
    first = read_json(tmp_path / "run.json")
    assert first["status"] == "running" and first["pid"] == os.getpid() and record.is_alive(first)
    time.sleep(0.3)
    assert read_json(tmp_path / "run.json")["wall_time_s"] > first["wall_time_s"]
    run.finish("failed", "no luck")
    last = read_json(tmp_path / "run.json")
    assert last["status"] == "failed" and last["error"] == "no luck" and not record.is_alive(last)
    again = RunRecord(tmp_path).start()  # a resumed run keeps its time and loses its error
    assert again.fields["wall_time_s"] >= last["wall_time_s"] and "error" not in again.fields
    again.finish("finished")


def test_lost_is_what_says_running_and_does_not() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    here = {"status": "running", "host": socket.gethostname(), "pid": gone.pid, "heartbeat": record.now()}
    assert record.status(here) == "lost"
    assert record.status({"status": "running", "host": "x", "heartbeat": record.now()}) == "running"
    assert record.status({"status": "running", "host": "x", "heartbeat": "2020-01-01T00:00:00+00:00"}) == "lost"
    assert record.status({}) == "unknown" and record.status({"status": "finished"}) == "finished"


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
