"""The flag that a scheduler's signals set: who stops when, and what forked workers do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from medtrain.core.notice import Notice, Preempted


@pytest.fixture
def notice() -> Iterator[Notice]:
    numbers = (signal.SIGUSR2, signal.SIGTERM, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield Notice()
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


def give(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_at_once_where_nobody_looks(notice: Notice, number: int) -> None:
    notice.listen(60)
    with pytest.raises(Preempted):
        give(number)
    assert notice.given == number


def test_a_patient_listener_looks_for_itself(notice: Notice) -> None:
    notice.listen(60)
    notice.patient = True
    give(signal.SIGUSR2)
    give(signal.SIGTERM)  # the scheduler insists: nothing new
    assert notice.given == signal.SIGUSR2
    with pytest.raises(Preempted):
        notice.stop()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_listener_that_takes_too_long_is_stopped(notice: Notice) -> None:
    notice.listen(0.05)
    notice.patient = True
    give(signal.SIGUSR2)
    with pytest.raises(Preempted):
        time.sleep(5)


def test_what_is_being_saved_is_not_cut_short(notice: Notice) -> None:
    notice.listen(0.05)
    notice.patient = True
    give(signal.SIGUSR2)
    notice.heard()
    time.sleep(0.1)


def test_a_forked_worker_goes_on_until_its_parent_ends_it(notice: Notice) -> None:
    notice.listen(60)
    child = os.fork()
    if child == 0:
        give(signal.SIGUSR2)
        give(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143
    assert notice.given is None
