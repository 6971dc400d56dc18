"""Threads of a process that computes on CPUs: no more than its share of the cores, and asleep soon when they wait.

OpenMP's threads spin while they wait for each other, by default for milliseconds. Where other programs want the same
cores, a thread that waits keeps away the one that it waits for, in each of the hundreds of parallel parts of a step.
The runtimes read these variables when they are loaded, with torch: they are set before, here and for children.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from medtrain.core.cores import cores, limits

OURS = "MEDTRAIN_THREADS"  # the number of threads, where we chose it
SPINS = "3000"  # turns of GNU's runtime before it sleeps, 300,000 by default: see scripts/benchmarks/threads.py
BLOCKTIME = "0"  # milliseconds of Intel's and LLVM's, 200 by default
SPINNING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def settle(env: MutableMapping[str, str] | None = None, processes: int = 1) -> None:
    """Set the variables of OpenMP that nobody has set, before torch is imported.

    Args:
        env: of this process by default, or of one that is about to start.
        processes: that share the cores on this machine.
    """
    env = os.environ if env is None else env
    known = limits()
    share = max(1, cores() // processes)
    is_ours = env.get("OMP_NUM_THREADS") == env.get(OURS)  # also where neither is set
    if is_ours and share < known.get("affinity", known["machine"]):  # else the libraries' own count is right
        env["OMP_NUM_THREADS"] = env[OURS] = str(share)
    if not any(name in env for name in SPINNING):
        env.update({"GOMP_SPINCOUNT": SPINS, "KMP_BLOCKTIME": BLOCKTIME})
