"""When a process may fork, and what becomes of the fork; each in a process of its own, as threads never end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fresh import printed

BEGUN = "import os, signal, sys, time\nfrom medtrain.launch import forks, imports\nimports.begin()\n"


LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")


@LINUX
def test_a_process_that_has_only_imported_may_fork_until_openmp_has_begun() -> None:
    script = BEGUN + (
        "print(forks.possible())\n"
        "forks.prepare(lambda: None)\n"
        "print(forks.possible(), forks.run(lambda: 7), forks.run(lambda: os.abort()))\n"
        "import torch\n"
        "a = torch.rand(400, 400); (a * 2).sum(); a @ a\n"
        "print(forks.possible())"
    )
    assert printed(script, OMP_NUM_THREADS="2").split() == ["False", "True", "7", "-6", "False"]


def test_a_process_that_did_not_begin_as_the_command_never_forks() -> None:
    script = BEGUN.replace("imports.begin()", "") + "forks.prepare(lambda: None)\nprint(forks.possible())"
    assert printed(script).split() == ["False"]


@LINUX
def test_a_fork_hears_the_signals_of_its_parent() -> None:
    script = BEGUN + (
        "import signal\n"
        "forks.prepare(lambda: None)\n"
        "def work():\n"
        "    try:\n"
        "        time.sleep(60)\n"
        "    except KeyboardInterrupt:\n"
        "        return 130\n"
        "signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))\n"
        "signal.alarm(1)\n"
        "print(forks.run(work), signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    assert printed(script).split() == ["130", "True"]


@LINUX
def test_a_signal_that_comes_while_a_fork_is_made_is_not_lost() -> None:
    script = BEGUN + (
        "forks.prepare(lambda: None)\n"
        "numbers = [signal.SIGINT, signal.SIGTERM]\n"
        "os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), numbers.pop(0)))\n"
        "print(*(forks.run(lambda: time.sleep(60) or 0) for _ in range(2)))\n"
        "print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    )
    assert printed(script).split() == ["130", "-15", "set()"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a parent's death is told by Linux alone")
def test_a_fork_ends_with_its_parent() -> None:
    script = BEGUN + (
        "forks.prepare(lambda: None)\n"
        "forks.run(lambda: print(os.getpid(), flush=True) or time.sleep(100) or 0)"
    )  # fmt: skip
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    job = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    until = time.monotonic() + 10
    while Path(f"/proc/{job}").exists() and "(zombie)" not in Path(f"/proc/{job}/status").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
