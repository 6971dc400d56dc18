"""Which process a record means: by its start and its boot, not by its number alone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medtrain.core import process


def test_a_process_knows_itself_and_another_living_one() -> None:
    own = process.identity()
    assert own["pid"] == os.getpid() and own["host"] == socket.gethostname() and process.lives(own) is True
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        theirs = process.identity(other.pid)
        assert process.lives(theirs) is True
        other.kill()
        time.sleep(0.2)
        assert process.lives(theirs) is False  # it has ended, though its parent has not looked yet
    assert process.lives(theirs) is False


def test_a_number_that_another_program_has_now_is_no_proof() -> None:
    own = process.identity()
    before = own | {"process": own["process"] | {"started": own["process"]["started"] - 100}}
    assert process.lives(before) is False  # a restarted container: the same host name, the same number 1


@pytest.mark.parametrize("differs", ["boot", "namespace"])
def test_what_can_not_be_seen_from_here_is_unknown(differs: str) -> None:
    own = process.identity()
    other = own | {"process": own["process"] | {differs: "other"}}
    assert process.lives(other) is None
    assert process.is_here(other) is (differs == "namespace")


def test_records_of_0_2_have_a_number_only() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    host = socket.gethostname()
    assert process.lives({"host": host, "pid": gone.pid}) is False
    assert process.lives({"host": host, "pid": os.getpid()}) is None  # it may be another program's by now
    assert process.lives({"host": f"{host}-other", "pid": gone.pid}) is None
    assert process.lives({}) is None


def test_a_name_with_brackets_and_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "7").mkdir()
    fields = " ".join(map(str, range(4, 53)))
    (tmp_path / "7" / "stat").write_text(f"7 (a) R 1 (b c) S {fields}\n")
    monkeypatch.setattr(process, "PROC", tmp_path)
    assert process.start_ticks(7) == 22
    (tmp_path / "7" / "stat").write_text(f"7 (python) Z {fields}\n")
    assert process.start_ticks(7) is None and process.start_ticks(8) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="making a namespace takes root")
def test_number_one_of_another_container(tmp_path: Path) -> None:
    words = "from medtrain.core import process; import json; print(json.dumps(process.identity()))"
    call = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", words]
    done = subprocess.run(call, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    if done.returncode:
        pytest.skip("no namespaces here")

    told = json.loads(done.stdout)
    assert told["pid"] == 1 and process.lives(told) is None and process.is_here(told)
