"""A fresh Python, for what is imported when."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def printed(script: str, folder: Path | None = None) -> str:
    """Run a script in a fresh Python; returns what it prints."""
    words = [sys.executable, "-c", script]
    return subprocess.run(words, capture_output=True, text=True, check=True, cwd=folder).stdout
