"""Threads by the cores that a job has, shared among its processes, set before torch is there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from medtrain.launch import threads


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores of a machine of 128, by a quota that no library knows."""
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.setattr(threads, "limits", lambda: {"machine": 128, "affinity": 128, "cgroup": 8})


def test_a_quota_and_ranks_share_the_cores(eight: None) -> None:
    env: dict[str, str] = {}
    threads.settle(env)
    assert env["OMP_NUM_THREADS"] == "8" and env["GOMP_SPINCOUNT"] == threads.SPINS and env["KMP_BLOCKTIME"] == "0"
    threads.settle(env, processes=4)  # the ranks that this process starts
    assert env["OMP_NUM_THREADS"] == "2"
    threads.settle(env, processes=99)
    assert env["OMP_NUM_THREADS"] == "1"


def test_what_a_person_has_set_stays(eight: None) -> None:
    for own in ({"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_NUM_THREADS": "8", "KMP_BLOCKTIME": "9"}):
        env = dict(own)
        threads.settle(env, processes=2)
        assert env == own


def test_where_all_cores_are_ours_the_library_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 4)
    monkeypatch.setattr(threads, "limits", lambda: {"machine": 128, "affinity": 4})
    env: dict[str, str] = {}
    threads.settle(env)
    assert "OMP_NUM_THREADS" not in env
    threads.settle(env, processes=2)
    assert env["OMP_NUM_THREADS"] == "2"


def test_the_command_sets_them_before_anything_loads_a_runtime() -> None:
    script = (
        "import sys, os\nsys.argv[1:] = ['--version']\nfrom medtrain.cli import entry\nentry()\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\nprint(os.environ['GOMP_SPINCOUNT'])"
    )
    env = {name: value for name, value in os.environ.items() if name not in threads.SPINNING}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split()[-1] == threads.SPINS
