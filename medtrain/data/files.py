"""What the files behind rows have shown, once they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import Problem
from medtrain.data.rows.manifest import Manifest


@dataclass
class Files:
    """Tell what reading the files behind the rows of a manifest has shown.

    Args:
        content: the position of the first row with the same content, for each row.
        identities: what each row is, by `medtrain.io.content`; '' where that is unknown.
        problems: {position: reason} of those that cannot be read.
        read: how many were read now, rather than found in a store.
        warnings: what is worth telling of them.
    """

    content: NDArray[np.int64]
    identities: Sequence[str]
    problems: Mapping[int, str] = field(default_factory=dict)
    read: int = 0
    warnings: Sequence[Problem] = ()


def unreadable(manifest: Manifest, problems: Mapping[int, str]) -> list[tuple[int, Problem]]:
    """List why files cannot be read, {position: reason}, but for what the manifest says already."""
    listed = {n for n, problem in manifest.bad if problem.kind == "missing"}
    return [
        (n, Problem("unreadable", f"{manifest.where[n]} ({manifest.case[n]})", reason))
        for n, reason in sorted(problems.items())
        if n not in listed
    ]
