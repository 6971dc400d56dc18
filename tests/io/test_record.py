"""run.json: beats, ends, and whether its process is alive."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from medtrain.io import record
from medtrain.io.files import read_json
from medtrain.io.record import RunRecord


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
