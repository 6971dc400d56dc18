"""Classes of images: pictures of any make in, a CSV of probabilities and decisions out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.export.runtime.classes import ClassRows
from medtrain.export.runtime.columns import with_beside
from medtrain.export.runtime.inputs import Case, in_batches
from medtrain.export.runtime.started import begin
from medtrain.io.dicom_notes import note_lines, picture_notes
from medtrain.io.image import read_fitted
from medtrain.io.image_form import ImageForm
from medtrain.io.picture_files import pictures_below
from medtrain.io.store.fill import reason_of


def full_range(pixels: NDArray[Any]) -> NDArray[np.uint16]:
    """Widen pixels of 8 bits to the 16 that the network takes: 255 becomes 65535."""
    return pixels.astype(np.uint16) * np.uint16(257 if pixels.dtype == np.uint8 else 1)


def form_of(facts: Mapping[str, Any]) -> ImageForm:
    """Read the node `input` of model.json."""
    height, width = facts["size"]
    return ImageForm((height, width), facts["channels"], facts["fit"], facts["window"] and tuple(facts["window"]))


def tell_notes_of(cases: Sequence[Case]) -> None:
    """Tell what must not pass in silence of DICOM pictures, as `medtrain predict` does."""
    paths = [case.path for case in cases]
    for line in note_lines(paths, [" ".join(picture_notes(path)) for path in paths]):
        print(f"warning: {line}", file=sys.stderr)


def main(network: Any, folder: Path, argv: Sequence[str] | None = None) -> int:
    """Predict images; returns 0, 1 where any could not be read, 2 where nothing could be done."""
    begun = begin(network, folder, argv, with_beside(pictures_below))
    if begun is None:
        return 2
    started, (cases, beside) = begun
    tell_notes_of(cases)
    form = form_of(started.facts["input"])
    rows = ClassRows(cases, started.facts["target"])
    for batch in in_batches(enumerate(cases), started.batch_size):
        numbers, pixels = [], []
        for number, case in batch:
            try:
                pixels.append(full_range(read_fitted(case.path, form)))
                numbers.append(number)
            except Exception as error:  # a bad file costs only itself
                rows.errors[number] = reason_of(error)
        if numbers:
            rows.add(numbers, started.networks["model"](pixels=np.stack(pixels), **beside.of(numbers)))
    return rows.close(started.output)
