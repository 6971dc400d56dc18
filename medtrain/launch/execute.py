"""Carry out a job in this process; errors are told to people, and kept in the run folder."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import sys
import termios
import traceback
import warnings
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from medtrain.core.errors import DataError, MedtrainError
from medtrain.core.notice import notice
from medtrain.core.verb import Place, Verb
from medtrain.io.files import write_text
from medtrain.launch import imports, processes
from medtrain.launch.environment import own_environment

PREEMPTED = 75  # the exit code for "try again later" (sysexits.h)
INTERRUPTED, TERMINATED, HUNG_UP = 130, 143, 129  # 128 + the number of SIGINT, of SIGTERM, of SIGHUP
STOPPED = (INTERRUPTED, TERMINATED, HUNG_UP)
FULL = (errno.ENOSPC, errno.EDQUOT)
PROBLEMS = "problems.csv"  # all faults of data, in the folder of whoever met them


@own_environment()
def execute(verb: Verb, cfg: DictConfig, folder: Path) -> int:
    """Carry out a job in this process; returns the exit code, prints what went wrong."""
    handler = _log_to(folder)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    if not notice.listening:  # else the signal has its owner
        signal.signal(signal.SIGTERM, _terminated)
    if before[signal.SIGHUP] != signal.SIG_IGN:  # else the person wants it to go on without them: nohup
        signal.signal(signal.SIGHUP, _terminated)
    try:
        if verb.ranks:
            processes.fit(cfg)
        command = verb.command
        imports.end()
        command.main(cfg, folder)
        return 0
    except (KeyboardInterrupt, SystemExit) as stopped:
        if notice.given is not None:
            return PREEMPTED
        if not is_stop(stopped):
            return tell(stopped, cfg.debug, folder)
        advice = f"; go on with: medtrain resume={folder}" if verb.place is Place.RUN else ""
        _say(f"interrupted{advice}")
        return 128 + (stopped_by(stopped) or signal.SIGINT)
    except Exception as error:
        if (number := stopped_by(error)) is not None:
            return 128 + number
        if notice.given is not None:  # a rank that was still waiting for one that had stopped
            logging.getLogger("medtrain").info("stopped by %r", error)
            return PREEMPTED
        return tell(error, cfg.debug, folder)
    finally:
        for number, former in before.items():
            signal.signal(number, former or signal.SIG_DFL)
        logging.getLogger().removeHandler(handler)
        handler.close()
        _leave_group()


def tell(error: BaseException, debug: bool, folder: Path | None = None) -> int:
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
    _say(f"error: {text}")
    return error.exit_code if isinstance(error, MedtrainError) else 1


def unexpected(error: BaseException) -> str:
    """Describe in one line an error that nobody foresaw."""
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code!r}): a library, or code of your own, has ended the process"
    first = (str(error).strip() or type(error).__name__).split("\n")[0]
    if "out of memory" in first.lower():
        return f"{first[:200]}; lower data.batch_size, or set trainer.accumulate_grad_batches"
    if isinstance(error, OSError) and error.errno is not None:
        advice = "; free some space, then resume" if error.errno in FULL else ""
        return f"{error.strerror}: {error.filename or ''}".rstrip(": ") + advice
    return f"{type(error).__name__}: {first[:300]}"


def _write_problems(error: DataError, folder: Path) -> Path:
    import pandas as pd

    file = folder / PROBLEMS
    rows = [{"severity": p.severity, "kind": p.kind, "where": p.where, "detail": p.detail} for p in error.problems]
    write_text(file, pd.DataFrame(rows).to_csv(index=False))
    return file


def _log_to(folder: Path) -> logging.Handler:
    rank = processes.global_rank()
    handler = _Log(folder / ("train.log" if rank == 0 else f"train.rank{rank}.log"), encoding="utf-8")
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


class _Log(logging.FileHandler):
    """A log whose disk may be full: that costs the log, not what a person is told."""

    def handleError(self, record: logging.LogRecord) -> None:
        return


class _Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, to be handled like Ctrl-C: at once, everything on disk kept."""


def _terminated(number: int, frame: Any) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a shell that goes may send several; nothing cuts the closing short
    raise _Terminated(number)


def is_stop(error: BaseException | None) -> bool:
    """Tell whether a person or a signal ended the work: Lightning turns an interruption into sys.exit(1).

    A SystemExit of other code is a fault of the run like any other.
    """
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def stopped_by(error: BaseException | None) -> int | None:
    """Find the signal that ended the work, also where closing it has failed since: the terminal is gone, say."""
    while error is not None:
        if isinstance(error, _Terminated):
            return int(error.args[0])
        if isinstance(error, OSError) and error.errno == errno.EIO and _is_hung_up():
            return int(signal.SIGHUP)  # which is about to come
        error = error.__cause__ or error.__context__
    return None


def _is_hung_up() -> bool:
    """Tell whether a terminal that this process writes to is gone."""
    for stream in (1, 2):
        try:
            termios.tcgetattr(stream)
        except termios.error as error:
            if error.args[0] == errno.EIO:
                return True
    return False


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone, or be a file on a full disk
        print(text, file=sys.stderr, flush=True)


def _leave_group() -> None:
    """End the process group, so that the next job of a sweep can make its own."""
    if "torch" in sys.modules:
        import torch.distributed as dist

        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()
