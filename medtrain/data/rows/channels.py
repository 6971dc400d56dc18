"""Inputs whose channels lie in a file each, as nnU-Net names them: CASE_0000, CASE_0001, ..."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from medtrain.core.errors import Problem
from medtrain.data.rows.manifest import Manifest
from medtrain.io.table import Listing
from medtrain.io.volume_source import FILES, channels_of

LACKING = "channel_conflict"
ENDING = "|".join(re.escape(ending) for ending in sorted(FILES, key=len)[::-1])
OF_CHANNEL = re.compile(rf"(.+)_(\d{{4}})({ENDING})")


def of_channel(case: str, channel: int, source: str) -> str:
    """Name the file of a channel of a case, with the ending that `source` has."""
    ending = re.search(rf"({ENDING})$", source)
    return f"{case}_{channel:04d}{ending[0] if ending else ''}"


def by_channel(names: Sequence[str], paths: Sequence[str], number: int) -> dict[str, dict[int, int]] | None:
    """Group files CASE_0000, ... by case, where a network takes several channels and a file holds one.

    Args:
        names: of files.
        paths: of the same.
        number: of channels.

    Returns:
        of each case its channels, and which of the files each is; None where files are not called so.
    """
    matched = [OF_CHANNEL.fullmatch(name) for name in names]
    if number < 2 or not any(matched) or channels_of(paths) == number:
        return None
    cases: dict[str, dict[int, int]] = {}
    for position, match in enumerate(matched):
        name, channel = (match[1] + match[3], int(match[2])) if match else (names[position], 0)
        cases.setdefault(name, {})[channel] = position
    return cases


def fault_of(own: Mapping[int, int], number: int) -> str:
    """Tell which channel a case lacks or has too much, or ''."""
    odd = sorted(set(range(number)) ^ own.keys())
    if not odd:
        return ""
    return f"{'lacks' if odd[0] < number else 'has a'} channel {odd[0]:04d}, of the {number} that the network takes"


def channels_together(manifest: Manifest, number: int) -> Manifest:
    """Make a case of the files CASE_0000, ... of a folder, its other channels in `Manifest.beside`; else the same.

    What lacks a channel, or has one too many, is bad.

    Args:
        manifest: a row a file, without labels.
        number: of channels.
    """
    cases = by_channel(manifest.case, manifest.path, number)
    if cases is None:
        return manifest
    names, first = list(cases), [min(own.values()) for own in cases.values()]
    columns = [
        [manifest.path[own.get(channel, one)] for own, one in zip(cases.values(), first, strict=True)]
        for channel in range(number)
    ]
    detail = f"{len(manifest):,} files are {len(cases):,} cases of {number} channels (CASE_0000, CASE_0001, ...)"
    faults = [(n, fault_of(own, number)) for n, own in enumerate(cases.values())]
    called = zip(names, first, strict=True)
    return replace(
        manifest,
        raw=Listing.of(manifest.raw.file, {"path": columns[0]}, names),
        where=names,
        case=names,
        path=columns[0],
        beside=columns[1:],
        patient=[name if manifest.patient[n] == manifest.case[n] else manifest.patient[n] for name, n in called],
        bad=[(n, Problem(LACKING, names[n], fault)) for n, fault in faults if fault],
        warnings=[*manifest.warnings, Problem("together", manifest.raw.file.name, detail, "warning")],
    )


def lacking(manifest: Manifest) -> set[int]:
    """Number the rows that lack a channel, of whose files nothing more need be said."""
    return {n for n, problem in manifest.bad if problem.kind == LACKING}
