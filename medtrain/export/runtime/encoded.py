"""Classes of images by a frozen encoder: pictures of any make in, their features through the head; a CSV out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtrain.export.runtime.classes import one_by_one
from medtrain.export.runtime.columns import with_beside
from medtrain.export.runtime.images import form_of, full_range, tell_notes_of
from medtrain.export.runtime.started import begin
from medtrain.io.image import read_fitted
from medtrain.io.picture_files import pictures_below


def main(network: Any, folder: Path, argv: Sequence[str] | None = None) -> int:
    """Predict images; returns 0, 1 where any could not be read, 2 where nothing could be done."""
    begun = begin(network, folder, argv, with_beside(pictures_below))
    if begun is None:
        return 2
    started, (cases, beside) = begun
    tell_notes_of(cases)
    form, networks = form_of(started.facts["input"]), started.networks
    return one_by_one(
        started,
        cases,
        lambda number: (full_range(read_fitted(cases[number].path, form))[None], beside.of([number])),
        lambda read: networks["head"](features=networks["model"](pixels=read[0])["features"], **read[1]),
    )
