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
