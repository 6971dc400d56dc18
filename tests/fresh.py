"""A fresh Python, for what is imported when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def printed(script: str, folder: Path | None = None, **environment: str) -> str:
    """Run a script in a fresh Python, in two minutes at most; returns what it prints."""
    words, env = [sys.executable, "-c", script], os.environ | environment
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
