"""What is wrong with data, refused as a whole or told and left out, as data.on_bad and data.leakage have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from medtrain.core.errors import DataError, Problem
from medtrain.data.rows.manifest import Manifest
from medtrain.data.settings import skips

BAD_ROWS = "correct them, or leave bad rows out with data.on_bad=skip"
LEAKS = "data.leakage=drop takes leaked rows out of train and val"
Bad = Sequence[tuple[int, Problem]]
APART = 8  # warnings of one kind that are told one by one: of a text of several lines only the first stands in reports


def refuse_or_tell(
    manifest: Manifest,
    bad: Bad,
    leaks: Sequence[Problem],
    warnings: Sequence[Problem],
    cfg: Mapping[str, Any],
    report: Callable[[str], None],
) -> list[Problem]:
    """Raise all that makes data unfit at once, else report the rest; returns what was reported, as warnings.

    Args:
        bad: problems by row, those of reading too.
        warnings: of the whole, reported together by kind.

    Raises:
        DataError: bad rows or leaks that are errors, or no row is left.
    """
    total, faults, skip = len(manifest), manifest.faults, skips(cfg)
    errors = [] if skip else [problem for _, problem in bad] + faults
    errors += [leak for leak in leaks if leak.severity == "error"]
    if errors:
        counts = pd.Series([problem.kind for problem in errors]).value_counts()
        summary = f"{len(errors)} problems in the data ({', '.join(f'{n} {kind}' for kind, n in counts.items())}):"
        advice = [BAD_ROWS] if not skip and (bad or faults) else []
        advice += [LEAKS] if any(leak.severity == "error" for leak in leaks) else []
        raise DataError(summary, errors, "\n".join(advice))
    skipped, of_rows = len({row for row, _ in bad}), [problem for _, problem in bad]
    if bad and skipped == total:
        raise DataError(f"none of the {total} rows can be used:", of_rows)
    notices = [
        (f"left out {skipped} of {total} rows (data.on_bad=skip):", of_rows),
        (f"left out {len(faults)} entries that belong to no row (data.on_bad=skip):", faults),
        (f"{len(leaks)} leaks between splits (data.leakage={cfg.get('leakage')}):", leaks),
    ]
    kinds = dict.fromkeys(warning.kind for warning in warnings)
    notices += [("", [warning for warning in warnings if warning.kind == kind]) for kind in kinds]
    for heading, problems in notices:
        apart = not heading and len(problems) <= APART
        for part in [[problem] for problem in problems] if apart else [problems] * bool(problems):
            report(str(DataError(heading, part)).strip())
    return [replace(problem, severity="warning") for _, problems in notices for problem in problems]
