"""Carry out a job: in this process, or as several ranks; errors told to people, and kept in the run folder."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from medtrain.config import allowed
from medtrain.config.compose import load_saved
from medtrain.config.folder import reserve
from medtrain.core.errors import DataError, MedtrainError
from medtrain.core.notice import notice
from medtrain.io import record
from medtrain.io.files import write_text
from medtrain.launch import processes, ranks, together
from medtrain.launch.environment import own_environment

PREEMPTED = 75  # the exit code for "try again later" (sysexits.h)


def start(cfg: DictConfig, folder: Path) -> int:
    """Run a job here, or start its ranks, or give it to those that wait for it; returns the exit code."""
    count = ranks.wanted(cfg) if cfg.verb in processes.JOBS else 1
    if count <= 1:
        together.announce(lambda: _job(cfg, folder.absolute()))
        return execute(cfg, folder)
    with tempfile.TemporaryDirectory(prefix="medtrain_") as temporary:
        job = Path(temporary) / "job.yaml"
        write_text(job, _job(cfg, folder))
        code, told = ranks.run_ranks(count, job, folder)
    fields = record.read(folder)
    stopped = code in (130, 143)
    if cfg.verb == "train" and code and fields.get("status") != ("interrupted" if stopped else "failed"):
        error = None if stopped else _reason(folder, count, code)
        record.RunRecord(folder).finish("interrupted" if stopped else "failed", error)
    if code and not told:
        print(f"error: {_reason(folder, count, code)}", file=sys.stderr)
    return code if stopped or code in (0, 2) else 1


def _job(cfg: DictConfig, folder: Path) -> str:
    return OmegaConf.to_yaml(
        OmegaConf.create({"folder": str(folder), "cfg": OmegaConf.to_container(cfg, resolve=True)})
    )


def _reason(folder: Path, count: int, code: int) -> str:
    """Which process failed and what it said last."""
    logs = sorted(folder.glob("train.rank*.log"))
    lines = [
        line for log in logs for line in log.read_text(errors="replace").splitlines() if line.startswith("error: ")
    ]
    told = f"{lines[-1].removeprefix('error: ')}; " if lines else ""
    return f"{told}one of {count} processes failed (code {code}); see {', '.join(map(str, logs)) or folder}"


def start_of_a_run(cfg: DictConfig) -> int:
    """Run a verb that takes a run: `test` in a folder of that run, `predict` in none that stays."""
    verb = importlib.import_module(f"medtrain.command.{cfg.verb}")
    if cfg.verb in processes.JOBS:
        processes.fit(cfg)  # its faults come before any folder
    if hasattr(verb, "place"):
        return start(cfg, reserve(verb.place(cfg)))
    with tempfile.TemporaryDirectory(prefix="medtrain_") as temporary:
        return start(cfg, Path(temporary))


def execute_saved(job: str) -> int:
    """What a rank does: carry out the saved job, a file of `start` or a run folder that was made ready."""
    ranks.die_with_parent()
    allowed.trust([])
    if Path(job).is_dir():
        return execute(load_saved(job), Path(job))
    whole: Any = OmegaConf.load(job)
    return execute(whole.cfg, Path(whole.folder))


def execute_announced(job: str) -> int:
    """What a process does that waited for its job (`together`): carry it out, its output in its own log."""
    allowed.trust([])
    whole: Any = OmegaConf.create(job)
    folder, rank = Path(whole.folder), processes.global_rank()
    with contextlib.ExitStack() as stack:
        if not folder.is_dir():  # of another machine
            if whole.cfg.verb != "predict":
                print(
                    f"error: {folder} is not there for process {rank}: all machines have to share it", file=sys.stderr
                )
                return 1
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="medtrain_")))
        with _output_to(folder / f"train.rank{rank}.log"):
            code = execute(whole.cfg, folder)
        if code in (1, 2) and not together.first_has_ended():
            print(f"error: {_reason(folder, processes.world(), code)}", file=sys.stderr)
    return code


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """All that this process and its libraries print goes to a file."""
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


@own_environment()
def execute(cfg: DictConfig, folder: Path) -> int:
    """Carry out a job in this process; returns the exit code, prints what went wrong."""
    handler = _log_to(folder)
    before = signal.getsignal(signal.SIGTERM)
    if not notice.listening:  # else the signal has its owner
        signal.signal(signal.SIGTERM, _terminated)
    try:
        if cfg.verb in processes.JOBS:
            processes.fit(cfg)
        importlib.import_module(f"medtrain.command.{cfg.verb}").main(cfg, folder)
        return 0
    except (KeyboardInterrupt, SystemExit) as stopped:
        # Lightning turns an interruption into sys.exit(1)
        if notice.given is not None:
            return PREEMPTED
        print(
            f"interrupted; go on with: medtrain resume={folder}" if cfg.verb == "train" else "interrupted",
            file=sys.stderr,
        )
        return 143 if _was_terminated(stopped) else 130
    except Exception as error:
        if notice.given is not None:  # a rank that was still waiting for one that had stopped
            logging.getLogger("medtrain").info("stopped by %r", error)
            return PREEMPTED
        return tell(error, cfg.debug, folder)
    finally:
        signal.signal(signal.SIGTERM, before)
        logging.getLogger().removeHandler(handler)
        handler.close()
        _leave_group()


def tell(error: Exception, debug: bool, folder: Path | None = None) -> int:
    """Print an error for people (a traceback if `debug`), keep all of it in the run folder; the exit code."""
    logging.getLogger("medtrain").error("%s", "".join(traceback.format_exception(error)))
    if debug:
        traceback.print_exception(error)
    if isinstance(error, MedtrainError):
        text = str(error)
        if isinstance(error, DataError) and folder is not None and len(error.problems) > error.shown:
            text += f"\nthe whole list: {_write_problems(error, folder)}"
    else:
        text = unexpected(error)
        if folder is not None:
            text += f"; the traceback is in {folder / 'train.log'}"
    print(f"error: {text}", file=sys.stderr, flush=True)
    return error.exit_code if isinstance(error, MedtrainError) else 1


def unexpected(error: BaseException) -> str:
    """One line for an error that nobody foresaw."""
    first = (str(error).strip() or type(error).__name__).split("\n")[0]
    if "out of memory" in first.lower():
        return f"{first[:200]}; lower data.batch_size, or set trainer.accumulate_grad_batches"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror}: {error.filename or ''}".rstrip(": ")
    return f"{type(error).__name__}: {first[:300]}"


def _write_problems(error: DataError, folder: Path) -> Path:
    import pandas as pd

    file = folder / "problems.csv"
    rows = [{"severity": p.severity, "kind": p.kind, "where": p.where, "detail": p.detail} for p in error.problems]
    write_text(file, pd.DataFrame(rows).to_csv(index=False))
    return file


def _log_to(folder: Path) -> logging.Handler:
    rank = processes.global_rank()
    handler = logging.FileHandler(folder / ("train.log" if rank == 0 else f"train.rank{rank}.log"), encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    for name in ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()  # to the log, not between the progress bars
        logging.getLogger(name).propagate = True
    logging.captureWarnings(True)
    warnings.filterwarnings("default")
    return handler


class _Terminated(KeyboardInterrupt):
    """SIGTERM, to be handled like Ctrl-C: at once, everything on disk kept."""


def _terminated(number: int, frame: Any) -> None:
    raise _Terminated


def _was_terminated(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, _Terminated):
            return True
        error = error.__cause__ or error.__context__
    return False


def _leave_group() -> None:
    """End the process group, so that the next job of a sweep can make its own."""
    if "torch" in sys.modules:
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()
