"""Tables and pictures to test with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medtrain.data.batches import module_of
from medtrain.data.rows.manifest import Manifest, read_manifest
from medtrain.target import DataSpec
from tests.repository import data_option


def config(option: str = "image_table", **changed: Any) -> dict[str, Any]:
    """The packaged data node with changes; columns are merged."""
    node = data_option(option)
    columns = node["columns"] | changed.pop("columns", {})
    assert columns.keys() == node["columns"].keys() and not changed.keys() - node.keys()
    return node | {"num_workers": 0} | changed | {"columns": columns}


def opened(name: str, cfg: dict[str, Any], **options: Any) -> Any:
    """The data module of a source with this data node."""
    return module_of({**cfg, "name": name})({**cfg, "name": name}, **options)


def write_table(folder: Path, text: str, name: str = "table.csv") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def write_images(folder: Path, count: int, deep: bool = False, seed: int = 0) -> list[str]:
    """Noise, 12x10 pixels each, called 0.png and so on; with `deep` every third of 12 bit."""
    draw = np.random.default_rng(seed)
    for n in range(count):
        high, dtype = (4096, np.uint16) if deep and n % 3 == 2 else (256, np.uint8)
        Image.fromarray(draw.integers(0, high, (12, 10)).astype(dtype)).save(folder / f"{n}.png")
    return [f"{n}.png" for n in range(count)]


def spoil(folder: Path) -> None:
    """Truncate 3.png and remove 5.png."""
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:70])
    (folder / "5.png").unlink()


def read(folder: Path, text: str, spec: DataSpec | None = None, **changed: Any) -> Manifest:
    """The manifest of a table with this text."""
    return read_manifest(config(table=write_table(folder, text), **changed), spec)
