"""run.json: beats, ends, and whether its process is alive."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from medtrain.core import process
from medtrain.core.errors import MedtrainError
from medtrain.io import record
from medtrain.io.files import read_json, write_json
from medtrain.io.record import RunRecord

OLD = "2020-01-01T00:00:00+00:00"


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


def test_a_fresh_process_with_an_old_number_is_not_the_run(tmp_path: Path) -> None:
    own = process.identity()
    started = own["process"]["started"]
    here = {"status": "running", "heartbeat": record.now()} | own
    assert record.is_alive(here)
    assert not record.is_alive(here | {"process": own["process"] | {"started": started - 1}})
    elsewhere = here | {"process": own["process"] | {"boot": "another"}}
    assert record.is_alive(elsewhere) and not record.is_alive(elsewhere | {"heartbeat": OLD})
    assert record.is_alive(here | {"heartbeat": OLD})  # stopped for a while, but there


def test_who_watches_hears_a_beat_or_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "LOST_AFTER_S", 1.5)
    fields = {"status": "running", "host": "far", "heartbeat": record.now()}
    write_json(tmp_path / "run.json", fields)
    assert not record.is_alive(record.watch(tmp_path))
    monkeypatch.setattr(record, "LOST_AFTER_S", 30.0)
    write_json(tmp_path / "run.json", fields | {"heartbeat": record.now()})
    later = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    threading.Timer(0.2, lambda: write_json(tmp_path / "run.json", fields | {"heartbeat": later})).start()
    assert record.is_alive(record.watch(tmp_path))


DAMAGE = {
    "empty": b"",
    "cut": b'{"status": "runn',
    "no text": b"\xff\xfe{}",
    "a list": b"[1, 2]",
    "null": b"null",
    "deep": b"[" * 100_000,
    "a status of another kind": b'{"status": ["running"]}',
    "a number as text": b'{"status": "running", "pid": "7"}',
    "no moment": b'{"status": "running", "heartbeat": "yesterday"}',
    "a moment without a zone": b'{"status": "running", "heartbeat": "2026-01-01T00:00:00"}',
    "not a number": b'{"best_score": NaN}',
    "a node that is none": b'{"fingerprints": [1]}',
    "overrides": b'{"overrides": [1]}',
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_record_is_named_and_costs_itself_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(MedtrainError, match=r"run\.json: damaged: "):
        record.read(tmp_path)
    fields = record.look(tmp_path)
    assert record.status(fields) == "damaged" and str(tmp_path) in fields["error"]


def test_records_as_they_have_been_are_read() -> None:
    files = sorted((Path(__file__).parents[1] / "fixtures/runs_0_1").rglob("run.json"))
    assert files and all(record.read(file.parent) for file in files)


def test_what_a_killed_process_left_is_swept_and_what_is_written_is_not(tmp_path: Path) -> None:
    script = f"""
import os, sys, time
from medtrain.io.files import atomic_path
with atomic_path(os.path.join({str(tmp_path / "checkpoints")!r}, sys.argv[1])) as path:
    path.write_bytes(b"x" * 1000)
    print("ready", flush=True)
    time.sleep(60)
"""
    call = [sys.executable, "-c", script]
    killed = subprocess.Popen([*call, "best.ckpt"], stdout=subprocess.PIPE)
    writing = subprocess.Popen([*call, "last.ckpt"], stdout=subprocess.PIPE)
    for each in (killed, writing):
        assert each.stdout is not None and each.stdout.readline() == b"ready\n"
    killed.kill()
    killed.wait()
    (tmp_path / ".mine.tmp").write_text("a person's own")
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    run = RunRecord(tmp_path).start()
    left = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert run.swept == 1000 and len(left) == 1 and left[0].startswith(".last.ckpt.")
    writing.kill()
    writing.wait()
    run.finish("finished")
    assert not list((tmp_path / "checkpoints").iterdir()) and (tmp_path / ".mine.tmp").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.tmp", "checkpoints", "run.json"]


def test_the_last_words_fit_on_a_disk_that_is_full(small_disk: Path) -> None:
    run = RunRecord(small_disk, verb="train").start()
    with pytest.raises(OSError, match="No space"), open(small_disk / "fill", "wb") as file:
        while True:
            file.write(b"x" * 4096)
            file.flush()
    with pytest.raises(OSError, match="No space"):
        run.update(epoch=3)
    run.finish("failed", "cannot write the checkpoint: No space left on device")
    fields = record.read(small_disk)
    assert fields["status"] == "failed" and "No space" in fields["error"]
