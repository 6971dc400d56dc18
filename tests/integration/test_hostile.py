"""A sample of scripts/hostile.py: inputs made faulty from seeds end in a result or in a named refusal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KINDS = "table,image,dicom,nifti,bag,json,yaml,checkpoint,run,numbers,mask,nnunet"  # an export takes long


def test_faulty_inputs_of_every_kind(tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "scripts" / "hostile.py"), "--count", "12", "--only", KINDS]
    variables = os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=variables, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    left = [path.name for path in tmp_path.iterdir() if not path.name.startswith("torchinductor")]  # torch's own
    assert done.stdout.endswith("12 inputs, 0 wrong\n") and not left
