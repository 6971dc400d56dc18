"""One process at a time fills a cache; the others say whom they wait for, and one of them takes over if it dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease, Timeout

LEASE_SECONDS = 60.0  # a lock whose holder has not been heard of for so long is taken over
PATIENCE = 2.0  # seconds to wait for another process before saying so


@contextmanager
def only_one(lock: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Keep two processes from decoding the same files; network file systems often lack flock, so by a file."""
    lease = SoftFileLease(lock, lease_duration=LEASE_SECONDS, poll_interval=0.2)
    try:
        lease.acquire(timeout=PATIENCE)
    except Timeout:
        owner = lease.owner
        holder = f"process {owner.pid} on {owner.hostname}" if owner else "another process"
        report(f"waiting for {holder}, which is filling the cache {lock.parent}")
        lease.acquire()
    try:
        yield
    finally:
        lease.release()
