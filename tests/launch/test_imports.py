"""What is imported when."""

from __future__ import annotations

import subprocess
import sys

from tests.fresh import printed


def test_a_job_on_slurm_owns_its_signals_before_anything_slow_is_imported() -> None:
    script = (
        "import sys, medtrain.verbs, medtrain.launch.slurm.job\n"
        "print({'torch', 'hydra', 'omegaconf'} & sys.modules.keys())"
    )
    assert printed(script) == "set()\n"


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
    assert printed(script).split() == ["True"] * 4


def test_a_training_on_bags_imports_nothing_that_only_other_cases_need() -> None:
    script = (
        "import sys\n"
        "from medtrain.launch import imports\n"
        "imports.begin()\n"
        "import medtrain.command.probe, medtrain.command.train, medtrain.task.mil.module, medtrain.data.batches.bags\n"
        "import medtrain.command.sweep, medtrain.loss, medtrain.model\n"
        "medtrain.model.gated_attention_mil, medtrain.loss.cross_entropy\n"
        "others = ('captum', 'gdcm', 'imagehash', 'nibabel', 'pydicom', 'scipy.stats', 'shapely', 'sklearn')\n"
        "shapes = 'torch.fx.experimental.symbolic_shapes'\n"
        "compiler = {'sympy', 'torch._dynamo.config', 'torch._inductor', shapes, 'triton'}\n"
        "print(sorted(sys.modules.keys() & {*others, *compiler, 'surface_distance', 'torchvision', 'transformers'}))"
    )
    assert printed(script) == "[]\n"


def test_a_process_that_leaves_does_what_python_does_at_the_end() -> None:
    script = (
        "import atexit, sys, threading, time\n"
        "from medtrain.launch import imports\n"
        "imports.leave(1)\n"  # nothing heavy is there
        "class Late:\n"
        "    def __del__(self): print('taken apart', flush=True)\n"
        "late = Late(); sys.modules['torch'] = late\n"
        "atexit.register(print, 'at the end')\n"
        "threading.Thread(target=lambda: time.sleep(0.2) or print('thread')).start()\n"
        "print('main')\n"
        "imports.leave(7)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, "main\nthread\nat the end\n", "")
    closed = script.replace("imports.leave(7)", "sys.stdout.close(); imports.leave(7)")
    assert subprocess.run([sys.executable, "-c", closed], capture_output=True, text=True).returncode == 0
