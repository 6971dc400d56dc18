"""Completion as zsh and fish carry it out; skipped where the shell is not installed (bash: test_hydra_words)."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LIMIT_S = 60


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_completion_in_fish(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    lines = ("medtrain pre", "medtrain model=resnet18", "medtrain data.tab", "medtrain predict run=ru")
    script = f"function medtrain; {sys.executable} -m medtrain $argv; end; medtrain --completion fish | source"
    script += "".join(f'; complete -C "{line}"; echo ==' for line in lines)
    variables = os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    done = subprocess.run(
        ["fish", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=variables, timeout=LIMIT_S
    )
    shown = [part.split() for part in done.stdout.split("==\n")]
    assert shown == [["predict"], ["model=resnet18", "model=resnet18_3d"], ["data.table="], ["run=runs/"], []]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_completion_in_zsh(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    setup = f'PS1=; autoload -U compinit; compinit -D; medtrain() {{ {sys.executable} -m medtrain "$@"; }}; '
    setup += "source <(medtrain --completion zsh); echo rea''dy\n"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(str(shutil.which("zsh")), ["zsh", "-f", "-i"], os.environ | {"TERM": "dumb", "HOME": str(tmp_path)})
    try:
        os.write(terminal, setup.encode())
        assert "ready\r\n" in until(terminal, "ready\r\n")
        for begun, ending in (("medtrain pre", "predict "), ("medtrain predict run=ru", "run=runs/")):
            os.write(terminal, f"{begun}\t".encode())
            assert ending in until(terminal, ending)
            os.write(terminal, b"\x15")  # the line is taken back
        os.write(terminal, b"medtrain data.tab\t")
        assert "le=" in until(terminal, "le=")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def until(terminal: int, mark: str) -> str:
    """What a terminal shows until it shows `mark`."""
    text, end = "", time.monotonic() + LIMIT_S
    while mark not in text and time.monotonic() < end:
        if select.select([terminal], [], [], 0.5)[0]:
            text += os.read(terminal, 65536).decode(errors="replace")
    return text
