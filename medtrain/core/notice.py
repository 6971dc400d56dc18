"""A notice to stop: a flag that a signal sets, which training honours between two batches.

A scheduler that needs the machine back sends a signal some time before it kills. Saving from within a signal handler
would catch the run in the middle of a step, so the handler only sets a flag. Where nothing looks at the flag (data
being prepared, a test), or no batch ends in time, the process stops where it is.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

HURRY_S = 10.0  # after a SIGTERM a scheduler kills, often 30 s later


class Preempted(KeyboardInterrupt):
    """The request to stop now, since the machine is wanted back, and to go on later from the last checkpoint."""


class Notice:
    """The one owner of the signals that a scheduler sends.

    Attributes:
        given: the signal that came, None so far.
        owner: the process that listens, 0 for none.
        patient: is there someone who looks at `given` and stops in good time?
    """

    def __init__(self) -> None:
        self.given: signal.Signals | None = None
        self.patient = False
        self._patience_s, self.owner, self._ended = 0.0, 0, False

    def listen(self, patience_s: float) -> None:
        """Take over SIGUSR2 and SIGTERM from now on.

        Args:
            patience_s: how long a patient listener has after SIGUSR2; after SIGTERM it has 10 s at most.
        """
        self.given, self.patient, self.owner = None, False, os.getpid()
        self._patience_s = patience_s
        self.own()

    @property
    def listening(self) -> bool:
        """Tell whether this process owns the signals (and is no worker that it forked)."""
        return self.owner == os.getpid()

    def own(self) -> None:
        """Take the signals (again, after a library has set handlers of its own)."""
        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, self._receive)
        signal.signal(signal.SIGALRM, self._too_late)

    def heard(self) -> None:
        """Cancel the deadline, since somebody acts on the notice: what is being saved must not be cut short."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def stop(self) -> None:
        """Stop here, where everything is saved."""
        self.heard()
        raise Preempted

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if not self.listening:
            self._in_a_worker(number)
        elif self.given is None:
            self.given = signal.Signals(number)
            if not self.patient:
                raise Preempted
            hurry = self._patience_s if number == signal.SIGUSR2 else min(self._patience_s, HURRY_S)
            signal.setitimer(signal.ITIMER_REAL, hurry)

    def _too_late(self, *_: Any) -> None:
        if self.listening:
            raise Preempted

    def _in_a_worker(self, number: int) -> None:
        """Ignore a scheduler's first signal in a worker, whose batches until the stop are still wanted.

        A second SIGTERM is its parent's, which wants it to end.
        """
        if number == signal.SIGTERM:
            if self._ended:
                os._exit(128 + number)
            self._ended = True


notice = Notice()
