"""Boxes of several folders, each laid out as the format has it, as one set of annotations."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

from medtrain.core.errors import Problem
from medtrain.io.boxes.annotations import Annotations


def read_roots(roots: Sequence[Path], read: Callable[[Path], Annotations]) -> Annotations:
    """Read each folder; of several, images are called by their paths from the folder that holds them all.

    Classes come in the order in which they are first named, and have the ids of the first file that names them.
    """
    parts = [read(root) for root in roots]
    if len(parts) == 1:
        return parts[0]
    common = Path(os.path.commonpath([root.absolute() for root in roots]))
    out = Annotations(common, parts[0].unit)
    for root, part in zip(roots, parts, strict=True):
        _add(out, part, root.absolute().relative_to(common).as_posix())
    return out


def _add(out: Annotations, part: Annotations, name: str) -> None:
    """Add what one folder says, with its name before those of images and places."""

    def named(problem: Problem) -> Problem:
        return problem if os.path.isabs(problem.where) else replace(problem, where=f"{name}/{problem.where}")

    start = len(out)
    own = replace(
        part,
        name=[text if os.path.isabs(text) else f"{name}/{text}" for text in part.name],
        where=[f"{name}/{text}" for text in part.where],
        box_where=[f"{name}/{text}" for text in part.box_where],
        image=[image + start for image in part.image],
        bad=[(None if image is None else image + start, named(problem)) for image, problem in part.bad],
        warnings=[named(problem) for problem in part.warnings],
        classes=[text for text in part.classes if text not in out.classes],
    )
    for field in fields(Annotations):
        column = getattr(out, field.name)
        if isinstance(column, list):
            column.extend(getattr(own, field.name))
    out.category_id = {**part.category_id, **out.category_id}
