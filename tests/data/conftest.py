"""Image data of a small table, as several tests use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medtrain.data.batches.images import ImageData
from tests.data.tables import config, write_images, write_table


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., ImageData]:
    """Image data of 40 images, two a patient; columns replace or add to those of the table."""

    def build(
        cfg: dict[str, Any] | None = None, deep: bool = False, columns: dict[str, Any] | None = None, **options: Any
    ):
        if not (tmp_path / "0.png").exists():
            write_images(tmp_path, 40, deep)
        labels = [n // 2 % 2 for n in range(40)]
        table = {"path": [f"{n}.png" for n in range(40)], "label": labels, "patient": [f"p{n // 2}" for n in range(40)]}
        frame = pd.DataFrame(table | (columns or {}))
        text = frame.to_csv(index=False)
        node = config(table=write_table(tmp_path, text), image_size=8, cache_dir=str(tmp_path / "cache"), batch_size=4)
        node |= {**(cfg or {}), "columns": node["columns"] | (cfg or {}).get("columns", {})}
        return ImageData(node, report=said.append, **options)

    said: list[str] = []
    build.said = said  # type: ignore[attr-defined]
    return build


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with six images."""
    write_images(tmp_path, 6)
    return tmp_path
