"""Choose who carries a job out: this process, ranks started for it, or processes that wait for it.

A job is a resolved configuration and a folder. It travels as a text (a job file, or a key of the store by which
processes meet) or lies in a run folder, and says by its key `verb` what is to be done.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from medtrain.config import allowed
from medtrain.config.saved import load_saved
from medtrain.config.start import load_settled
from medtrain.core.verb import LookUp, Place, Verb
from medtrain.io import record
from medtrain.io.files import sha256, write_text
from medtrain.launch import forks, processes, ranks, together
from medtrain.launch.execute import STOPPED, execute


def start(verb: Verb, cfg: DictConfig, folder: Path) -> int:
    """Run a job here, or start its ranks, or give it to those that wait for it; returns the exit code."""
    count = ranks.wanted(cfg) if verb.ranks else 1
    if count <= 1:
        together.announce(lambda: _job_text(cfg, folder.absolute()))
        return execute(verb, cfg, folder)
    with tempfile.TemporaryDirectory(prefix="medtrain_") as temporary:
        job = Path(temporary) / "job.yaml"
        write_text(job, _job_text(cfg, folder))
        code, explained = ranks.run_ranks(count, job, folder)
    if verb.place is Place.RUN:
        _close_record(folder, code, _reason(folder, count, code) if code else "")
    if code and not explained:
        print(f"error: {_reason(folder, count, code)}", file=sys.stderr)
    return code if code in (0, 2, *STOPPED) else 1


def start_apart(verb: Verb, cfg: DictConfig, folder: Path) -> int:
    """Start one job of several in a process of its own, if this one can be forked: a crash is that job's alone."""
    if (verb.ranks and ranks.wanted(cfg) > 1) or not forks.possible():
        return start(verb, cfg, folder)
    code = forks.run(lambda: start(verb, cfg, folder))
    if 128 - code in STOPPED:
        return 128 - code
    if code >= 0:
        if record.look(folder).get("status") != "running":
            return code
        reason = f"its process has ended itself (code {code}): a library, or code of your own"
    else:
        reason = f"its process was ended by {signal.Signals(-code).name}"
    if -code == signal.SIGKILL:
        reason += "; by the kernel, if memory was short: lower data.batch_size or data.num_workers"
    if record.look(folder).get("status") != "finished":  # it has crashed while Python ended
        _close_record(folder, code or 1, reason)
    print(f"error: {folder}: {reason}; the other jobs go on", file=sys.stderr)
    return 1


def execute_saved(job: str, look_up: LookUp, config_sha256: str = "") -> int:
    """Carry out a saved job, as a rank does: a file of `start`, or a run folder that was made ready.

    Args:
        job: the file or folder.
        config_sha256: of the folder's config.yaml as it was made ready; another one is anybody's, and sends nowhere.
    """
    ranks.die_with_parent()
    allowed.trust([])
    if Path(job).is_dir():
        folder = Path(job)
        own = config_sha256 and config_sha256 == sha256(folder / "config.yaml")
        cfg = load_saved(folder) if own else load_settled(folder, "--job", {}, training=True)
    else:
        cfg, folder = _read_job(OmegaConf.load(job))
    return execute(look_up(cfg.verb), cfg, folder)


def execute_announced(job: str, look_up: LookUp) -> int:
    """Carry out the job that this process waited for (`together`), its output in a log of its own."""
    allowed.trust([])
    cfg, folder = _read_job(OmegaConf.create(job))
    verb, rank = look_up(cfg.verb), processes.global_rank()
    with contextlib.ExitStack() as stack:
        if not folder.is_dir():  # of another machine
            if verb.place is not Place.PASSING:
                print(
                    f"error: {folder} is not there for process {rank}: all machines have to share it", file=sys.stderr
                )
                return 1
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="medtrain_")))
        with _output_to(folder / f"train.rank{rank}.log"):
            code = execute(verb, cfg, folder)
        if code in (1, 2) and not together.first_has_ended():
            print(f"error: {_reason(folder, processes.world(), code)}", file=sys.stderr)
    return code


def _job_text(cfg: DictConfig, folder: Path) -> str:
    job = {"folder": str(folder), "cfg": OmegaConf.to_container(cfg, resolve=True)}
    return OmegaConf.to_yaml(OmegaConf.create(job))


def _read_job(job: Any) -> tuple[DictConfig, Path]:
    return job.cfg, Path(job.folder)


def _close_record(folder: Path, code: int, reason: str) -> None:
    """Note in run.json how a job ended that could not note it."""
    status = "interrupted" if code in STOPPED else "failed"
    if code and record.look(folder).get("status") not in (status, record.DAMAGED):
        record.RunRecord(folder).finish(status, None if code in STOPPED else reason)


def _reason(folder: Path, count: int, code: int) -> str:
    """Say which process failed and what it said last."""
    logs = sorted(folder.glob("train.rank*.log"))
    lines = [
        line for log in logs for line in log.read_text(errors="replace").splitlines() if line.startswith("error: ")
    ]
    last = f"{lines[-1].removeprefix('error: ')}; " if lines else ""
    return f"{last}one of {count} processes failed (code {code}); see {', '.join(map(str, logs)) or folder}"


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send all that this process and its libraries print to a file."""
    with open(log, "ab") as file, os.fdopen(os.dup(1), "wb") as out, os.fdopen(os.dup(2), "wb") as err:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
