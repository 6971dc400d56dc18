"""What is imported when."""

from __future__ import annotations

import subprocess
import sys


def test_a_job_on_slurm_owns_its_signals_before_anything_slow_is_imported() -> None:
    script = (
        "import sys, medtrain.verbs, medtrain.launch.slurm.job\n"
        "print({'torch', 'hydra', 'omegaconf'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_collector_looks_seldom_while_imports_last_and_never_again_at_what_they_made() -> None:
    script = (
        "import gc\n"
        "from medtrain.launch import imports\n"
        "usual = gc.get_threshold()\n"
        "imports.begin(); imports.begin()\n"
        "seldom = gc.get_threshold()\n"
        "imports.end()\n"
        "print(seldom[0] > 50 * usual[0], gc.get_threshold() == usual, gc.get_freeze_count() > 1000)\n"
        "count = gc.get_freeze_count()\n"
        "made = [[] for _ in range(5000)]; imports.end()\n"
        "print(gc.get_freeze_count() <= count)  # what later jobs of a process leave behind can go"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 4
