"""Waiting for the jobs of a sweep: each change is told, until none waits or runs any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from medtrain.io import record
from medtrain.launch.slurm import queue
from medtrain.launch.slurm.cluster import submitted
from medtrain.launch.slurm.queue import State

POLL_S = 5.0
UNKNOWN_FOR_S = 60.0  # so long SLURM may not know a job that was just submitted


def waiting(sweep: Path, known: Mapping[str, State]) -> set[str]:
    """Name the folders of a sweep whose jobs wait or run."""
    return {name for name, job in submitted(sweep).items() if job in known and not known[job].ended}


def wait(
    sweep: Path, names: Sequence[str], changed: Callable[[Path], None], look: Callable[[], None] = lambda: None
) -> dict[str, str]:
    """Wait until none of these jobs waits or runs any more; tell each change. Returns how SLURM says that each ended.

    Args:
        changed: called with the sweep's folder when a job has ended.
        look: called whenever SLURM is asked.

    Raises:
        KeyboardInterrupt: the person waits no longer; the jobs go on.
    """
    shown: dict[str, str] = {}
    since = time.monotonic()
    try:
        while True:
            ids = {name: job for name, job in submitted(sweep).items() if name in names}
            known = queue.states(ids.values())
            if known is not None:
                queue.settle(sweep, known)
            patient = known is None or time.monotonic() - since < UNKNOWN_FOR_S
            open_jobs = [name for name, job in ids.items() if not _over(sweep / name, (known or {}).get(job), patient)]
            for name, job in ids.items():
                words = _words(sweep, name, (known or {}).get(job), name in open_jobs)
                if shown.get(name) != words:
                    print(f"job {name} (SLURM {job}): {words}", flush=True)
                    changed(sweep)
                shown[name] = words
            look()
            if not open_jobs:
                return {name: known[job].name for name, job in ids.items() if known and job in known}
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        print(f"the jobs go on; see: medtrain status {sweep}; end them: scancel {' '.join(_arrays(sweep))}", flush=True)
        raise


def _over(folder: Path, state: State | None, patient: bool) -> bool:
    """Tell whether a job has ended; between two starts of a requeued job SLURM's word counts, not the folder's."""
    if state is not None:
        return state.ended and (state.name != "COMPLETED" or not record.is_alive(record.look(folder)))
    return not patient or record.look(folder).get("status") in queue.ENDED


def _words(sweep: Path, name: str, state: State | None, is_open: bool) -> str:
    fields = record.look(sweep / name)
    if not is_open and state is not None and not fields:  # a worker, which has no run
        return "ended" if state.name == "COMPLETED" else queue.why(sweep, submitted(sweep)[name], state)
    if not is_open or state is None:
        return record.status(fields) + (f": {fields['error']}" if fields.get("error") else "")
    if state.waits:
        return (
            f"{'preempted, ' * (fields.get('status') == 'preempted')}waiting{f' ({state.reason})' * bool(state.reason)}"
        )
    return f"{state.name.lower()} on {state.node}"


def _arrays(sweep: Path) -> list[str]:
    return sorted({job.split("_")[0] for job in submitted(sweep).values()})
