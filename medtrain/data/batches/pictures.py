"""Pictures, with labels or boxes: listed, read, and copied from the memory map, a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from medtrain.core.progress import Progress
from medtrain.data.rows.inputs import list_inputs
from medtrain.data.rows.manifest import Manifest
from medtrain.io.cache_root import cache_root
from medtrain.io.image_form import SUFFIXES, ImageForm
from medtrain.io.image_header import Header, read_headers
from medtrain.io.picture_files import pictures_below
from medtrain.io.store.pixels import ImageCache, cache_images

Batch = dict[str, Tensor]


class Pictures(Protocol):
    """Hold pixels by number, and why some could not be read.

    Attributes:
        problems: {number: reason}.
        decoded: how many files were decoded now.
        content: the number of the first picture with the same content, for each.
        identities: what each picture is, by `medtrain.io.content`.
    """

    problems: dict[int, str]
    decoded: int

    @property
    def content(self) -> NDArray[np.int64]: ...

    @property
    def identities(self) -> Sequence[str]: ...

    def __getitem__(self, indices: ArrayLike) -> NDArray[Any]:
        """Give (B, C, H, W), uint8 or uint16."""


def list_pictures(path: Path, cfg: Mapping[str, Any]) -> Manifest:
    """List a row a picture: a file, those in a folder and below it, or a table's; errors as of `list_inputs`."""
    return list_inputs(path, cfg, pictures_below, f"images ({', '.join(SUFFIXES)})")


def open_pictures(
    manifest: Manifest,
    form: ImageForm,
    cfg: Mapping[str, Any],
    progress: Progress | None,
    report: Callable[[str], None],
) -> ImageCache:
    """Open the pictures of a manifest, decoded where the store lacks them."""
    root = cache_root(cfg.get("cache_dir"))
    return cache_images(manifest.path, form, root, progress, report=report, states=manifest.states)


def headers(manifest: Manifest, rows: NDArray[np.int64], progress: Progress | None = None) -> list[Header | None]:
    """Read what the files of these rows say of their pictures, unless the source has told."""
    known = manifest.headers
    if known is not None:
        return [known[row] for row in rows.tolist()]
    return read_headers([manifest.path[row] for row in rows.tolist()], progress)


def numbers(cases: pd.DataFrame, names: Sequence[str]) -> NDArray[np.int64]:
    """Find the row numbers of cases by their names."""
    return np.asarray(pd.Series(np.arange(len(cases)), index=cases["case"])[list(names)], np.int64)


def drawn(positions: Sequence[int | tuple[int, int]]) -> tuple[Tensor, Batch]:
    """Part what a sampler gives, positions or pairs (position, draw): positions (B,), and ``draw`` (B,) if any."""
    index = torch.as_tensor(positions)
    return (index, {}) if index.ndim == 1 else (index[:, 0], {"draw": index[:, 1]})


def scaled(pixels: NDArray[Any]) -> Tensor:
    """Make stored pixels a batch: uint8 as they are, deeper ones float32 in 0..1."""
    return torch.from_numpy(pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32) / np.float32(65535))
