"""Names of files that are written for cases, made of the names of these."""

from __future__ import annotations

import re
from collections.abc import Iterable


def safe_name(name: str) -> str:
    """Keep letters, digits, dots, dashes and underscores of a name, its ending left out."""
    stem = re.sub(r"(\.nii)?\.\w{2,4}$", "", name)
    return re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._")[-80:] or "image"


def unique_names(names: list[str]) -> list[str]:
    """Make names distinct by a number, upper and lower case counting as one."""
    taken: set[str] = set()
    distinct = []
    for name in names:
        number, new = 2, name
        while new.lower() in taken:
            number, new = number + 1, f"{name}_{number}"
        taken.add(new.lower())
        distinct.append(new)
    return distinct


def names_of_maps(cases: Iterable[str]) -> list[str]:
    """Name the label map of each case: its file's name, folders joined, and a number where two would be one."""
    stems = [case.replace("/", "_").removesuffix(".gz").removesuffix(".nii") for case in cases]
    return [f"{stem}.nii.gz" for stem in unique_names(stems)]
