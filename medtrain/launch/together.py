"""Processes that torchrun or srun has started: the first reads the command and claims the folder, the others follow it.

Each of them runs the same command line, so each would make a folder of its own, or find another run to go on with, and
all would tell the same error. So they agree first, through the store by which they will also meet to train
(`torch.distributed.Store`): nothing is left on a disk that another job could take for its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.core.verb import Verb
from medtrain.launch.processes import Launch, launched

ARRIVAL_S = 600.0  # for all processes of a launch to start: shared file systems make imports slow
ENDING_S = 15.0  # for the others to hear of the end, before the store ends too
POLL_S = 0.05


def together(words: Sequence[str], lead: Callable[[], int], follow: Callable[[str], int]) -> int:
    """Run `lead` in the first process of a launch, and in the others `follow` on the job that `announce` gives out.

    Where `lead` ends without a job, the others end with its exit code. Outside of a launch, just `lead`.

    Args:
        words: the command line, which has to be the same in all.

    Raises:
        UsageError: it isn't, as in an `srun` of several trainings.
        MedtrainError: the processes can't meet.
    """
    global _meeting
    launch = launched()
    if launch is None or launch.world == 1:
        return lead()
    _meeting = _Meeting(launch)
    try:
        return _meeting.lead(list(words), lead) if launch.rank == 0 else _meeting.follow(list(words), follow)
    finally:
        _meeting = None


def announce(job: Callable[[], str]) -> None:
    """Give the other processes, from the first one, the job that they wait for."""
    if _meeting is not None:
        _meeting.store.set("job", job())


def first_has_ended(patience: float = 3.0) -> bool:
    """Ask, in one of the others, whether the first process has ended, or does within `patience` seconds."""
    return _meeting is not None and _meeting.has("over", gone=True, patience=patience)


def alone(verb: Verb, multirun: bool) -> None:
    """Refuse in one of several processes what is no work for them.

    Raises:
        UsageError: a sweep, or a verb of one process.
    """
    launch = launched()
    if launch is None or launch.world == 1 or (verb.ranks and not multirun):
        return
    what = "a sweep (-m) starts the processes of each job itself" if multirun else f"{verb.name} is one process"
    raise UsageError(f"{what}: start it without {launch.by}")


class _Meeting:
    """The meeting place of the processes of a launch: a few keys of the store that PyTorch's process group will use."""

    def __init__(self, launch: Launch) -> None:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # one message where the first process ends, not ten
        import torch

        dist: Any = torch.distributed
        self.launch = launch
        self.gone: Any = (dist.DistError, RuntimeError)  # what a store raises whose process has ended
        if launch.by == "srun":
            from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

            os.environ.setdefault("SLURM_NTASKS_PER_NODE", str(launch.local))  # `srun -n 2` leaves it out
            place: Any = SLURMEnvironment()
            os.environ |= {"MASTER_ADDR": str(place.main_address), "MASTER_PORT": str(place.main_port)}
        try:  # the first process keeps the store until it ends; the process group joins the same one
            whole, _, _ = next(dist.rendezvous("env://", launch.rank, launch.world))
        except (*self.gone, ValueError) as error:
            address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            first = str(error).split("\n")[0][:200]
            raise MedtrainError(f"the {launch.world} processes can't meet at {address}: {first}") from error
        self.store: Any = dist.PrefixStore("medtrain", whole)

    def lead(self, words: list[str], work: Callable[[], int]) -> int:
        code = 1
        try:
            self._same_words(words)
            code = work()
            return code
        except MedtrainError as error:
            code = error.exit_code
            raise
        finally:
            with contextlib.suppress(*self.gone):  # torchrun keeps the store, and may have ended
                self.store.set("over", str(code))
                failed_at_work = code != 0 and self.has("job")  # the others may wait for this process then, for ever
                patience = 1.0 if failed_at_work else ENDING_S
                self._until(lambda: self.store.add("left", 0) == self.launch.world - 1, patience)

    def follow(self, words: list[str], work: Callable[[str], int]) -> int:
        """Follow in silence: what there is to say, the first process says."""
        try:
            self.store.set(f"words{self.launch.rank}", json.dumps(words))
            while not self.has("job"):
                if self.has("over"):
                    code = int(self.store.get("over"))
                    self.store.add("left", 1)
                    return code
                time.sleep(POLL_S)
            job = self.store.get("job").decode()
        except self.gone:
            return 1
        try:
            return work(job)
        finally:
            with contextlib.suppress(*self.gone):
                self.store.add("left", 1)

    def has(self, key: str, *, gone: bool = False, patience: float = 0.0) -> bool:
        """Tell whether the key is there, or will be soon; `gone` is the answer where the store is no more."""
        try:
            return self._until(lambda: self.store.check([key]), patience)
        except self.gone:
            if gone:
                return True
            raise

    def _same_words(self, words: list[str]) -> None:
        others = [f"words{rank}" for rank in range(1, self.launch.world)]
        if not self._until(lambda: self.store.check(others), ARRIVAL_S):
            raise MedtrainError(f"not all of {self.launch.world} processes have come within {ARRIVAL_S:.0f} s")
        for rank, key in enumerate(others, 1):
            if (given := json.loads(self.store.get(key))) != words:
                differ = next((pair for pair in zip_longest(words, given) if pair[0] != pair[1]), ("", ""))
                raise UsageError(
                    f"{self.launch.by} started process {rank} with {differ[1] or 'nothing'} where process 0 has "
                    f"{differ[0] or 'nothing'}: they are one run; start different runs one by one, or by -m"
                )

    @staticmethod
    def _until(true: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() >= end:
                return False
            time.sleep(POLL_S)
        return True


_meeting: _Meeting | None = None  # of this process, while it acts with others
