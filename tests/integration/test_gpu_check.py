"""A dry run of scripts/gpu_check.py: what the first minutes on a GPU need is right before one is paid for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_dry_run_does_all_that_a_cpu_can(tmp_path: Path) -> None:
    figures = tmp_path / "gpu.json"
    words = [sys.executable, str(ROOT / "scripts" / "gpu_check.py"), "--dry-run", "--minutes", "15"]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TMPDIR": str(tmp_path)}
    done = subprocess.run([*words, "--json", str(figures)], capture_output=True, text=True, env=variables, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    report = json.loads(figures.read_text())
    assert "FSDP: no GPU here" in report["left_out"]
    assert {"train", "test", "predict", "explain", "DDP on one device"} <= {row["what"] for row in report["checks"]}
    assert any(row["result"] == "1 kills, 0 with another result" for row in report["checks"])
    assert len({row["network"] for row in report["steps"]}) == 6
    for row in report["steps"]:
        assert row["ours"]["step_s"] > 0 and row["bare"]["step_s"] > 0 and row["loader_per_s"] > 0
        assert 0 <= row["ours"]["data_wait"] <= 1
