"""The files of this repository, as git would commit them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def files() -> list[Path]:
    """Tracked files, and new ones that git doesn't ignore; of an unpacked source archive, all files."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        names = [ROOT / name for name in done.stdout.split("\0") if name]
    else:
        names = [p for p in ROOT.rglob("*") if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)]
    return sorted({path for path in names if path.is_file()})


def data_option(name: str) -> dict[str, Any]:
    """A packaged option of data as the command would have it: with what it shares with others; columns are merged."""
    node = yaml.safe_load((ROOT / "configs" / "data" / f"{name}.yaml").read_text(encoding="utf-8"))
    for base in reversed([base for base in node.pop("defaults", []) if isinstance(base, str) and base != "_self_"]):
        shared = data_option(base)
        columns = shared.get("columns", {}) | node.get("columns", {})
        node = shared | node | ({"columns": columns} if columns else {})
    return dict(node)


def pages() -> list[Path]:
    """The pages for people."""
    return [ROOT / name for name in PAGES] + sorted((ROOT / "docs").rglob("*.md"))


def commands(page: Path) -> list[str]:
    """The command lines in a page's bash blocks, continued lines joined."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]
