"""Names of files that an explanation writes, made of the names of cases."""

from __future__ import annotations

import re


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
