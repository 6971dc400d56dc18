"""What the files behind rows have shown, once they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from medtrain.core.errors import Problem
from medtrain.data.rows.manifest import Manifest
from medtrain.data.rows.members import Members, again, without
from medtrain.io.content import of_several


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


def of_cases(files: Files, rows: Manifest, cases: Manifest, members: Members, skip: bool) -> Files:
    """Turn what reading rows has shown into what it shows of cases, which may have several.

    Args:
        rows: the manifest of what was read.
        members: the rows of each case; those that cannot be read are taken out where the case goes without them.
        skip: a case goes without its bad rows, if it has others.
    """
    bad, notes = {}, []
    for case, of in enumerate(members):
        wrong = [row for row in of if row in files.problems]
        if wrong and (len(wrong) == len(of) or not skip):
            bad[case] = "; ".join(files.problems[row] for row in wrong)
        elif wrong:
            members[case] = [row for row in of if row not in files.problems]
            problems = [Problem("unreadable", rows.where[row], files.problems[row]) for row in wrong]
            notes += [without(problem, cases.case[case]) for problem in problems]
    notes += _alike(files.content, rows, members)
    whole = [of_several(sorted({files.identities[row] for row in of})) for of in members]
    return Files(_sharing(files.content, members), whole, bad, files.read, [*files.warnings, *notes])


def _alike(content_N: NDArray[np.int64], rows: Manifest, members: Members) -> list[Problem]:
    """Tell of files of one content in a case, which count that often."""
    notes = []
    for row, before in again(members, content_N.tolist()):
        detail = f"the same content as {rows.where[before]}, in the same case: it counts twice"
        notes.append(Problem("duplicate", rows.where[row], detail, "warning"))
    return notes


def _sharing(content_N: NDArray[np.int64], members: Members) -> NDArray[np.int64]:
    """Number cases that share a content, directly or through others, by the first of them."""
    case_M = np.repeat(np.arange(len(members)), [len(of) for of in members])
    row_M = np.array([row for of in members for row in of], np.int64)
    content_M = pd.factorize(content_N[row_M])[0] + len(members)
    size = len(members) + int(content_M.max(initial=-1)) + 1
    links = coo_matrix((np.ones(len(case_M), np.int8), (case_M, content_M)), shape=(size, size))
    part = connected_components(links, directed=False)[1][: len(members)]
    _, first, inverse = np.unique(part, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], np.int64)
