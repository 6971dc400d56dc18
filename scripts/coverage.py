"""How often do 95 % intervals hold the truth? Those of medtrain, of DeLong or Obuchowski, and of plain percentiles.

    python scripts/coverage.py [--studies 1000] [--replicates 400] [--only NAME ...] [--save ROWS.csv]
    python scripts/coverage.py --document docs/evaluation.md --save ROWS.csv

Simulated studies whose truth is known: few patients, rare findings, models that are nearly perfect, many images of a
patient; boxes, tiles, net benefit, prediction sets, calibration curves, groups, folds, two models. Rows say how often
intervals hold the truth, and their mean width: medtrain's; the reference's (AUROC: DeLong 1988, of clustered images
Obuchowski 1997, both on the logit scale; shares: Korn & Graubard 1998); percentiles of as many bootstrap replicates
over patients. An interval that is null counts as a miss where five patients of each class were there, else it is
counted apart; so is a study in which there is no value (a slope of separated classes). At the end it says which hold
the truth in less than 92 % less two Monte-Carlo errors, and which are wider than a reference that reaches 92 %.

A share of 1,000 studies is known to within 1.7 percentage points at 92 %. What takes long has fewer studies, as rows
say. Takes about twenty minutes of one core (ten with --replicates 200); several may run at once, with other settings
and files. `--document` writes the tables of the docs from the rows that were saved.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from coverage_classes import SETTINGS, study
from coverage_masks import MASKS
from coverage_others import OTHERS
from coverage_results import Result, Row, document, load, save, summarise
from coverage_values import VALUES

Kinds = dict[str, tuple[Callable[[np.random.Generator, int], Mapping[str, Result]], float]]
OF_CLASSES: Kinds = {setting.name: (partial(study, setting), 1.0) for setting in SETTINGS}
KINDS: Kinds = OF_CLASSES | OTHERS | VALUES | MASKS
NUMBERS = {*VALUES, *(name for name in OTHERS if "times" in name)}  # a table of the docs of their own


def rows(names: Sequence[str], studies: int, replicates: int) -> Iterator[Row]:
    """Judge the studies of settings by name."""
    for name in names:
        one, share = KINDS[name]
        rng = np.random.default_rng(0)
        yield from summarise(name, partial(one, rng, replicates), max(1, round(studies * share)))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("studies", 1000), ("replicates", 400)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", nargs="*", default=[], help="settings whose name holds one of these")
    parser.add_argument("--save", type=Path, help="put the rows into this file, beside those of other settings")
    parser.add_argument(
        "--document", type=Path, help="write the tables of this page from the saved rows, judge nothing"
    )
    given = parser.parse_args(argv)
    if given.document:
        saved = load(given.save)
        ordered = [row for name in KINDS for row in saved if row.setting == name]
        document([row for row in ordered if row.setting not in NUMBERS], given.document, "classes")
        document([row for row in ordered if row.setting in NUMBERS], given.document, "numbers")
        return
    names = [name for name in KINDS if not given.only or any(part in name for part in given.only)]
    heads = ["setting", "metric", "medtrain", "DeLong, Obuchowski; Korn & Graubard", "percentiles", "null", "no value"]
    print(f"| {' | '.join([*heads, 'studies'])} |\n" + "|---" * 8 + "|")
    done = []
    for row in rows(names, given.studies, given.replicates):
        ways = ["" if way is None else f"{way[0]:.1f} ({way[1]:.3g})" for way in (row.ours, row.reference, row.plain)]
        cells = [row.setting, row.metric, *ways, str(row.null), str(row.no_value), str(row.studies)]
        print(f"| {' | '.join(cells)} |", flush=True)
        done.append(row)
        if given.save:
            save([row], given.save)
    for told, chosen in (("held too seldom", [r for r in done if r.short]), ("too wide", [r for r in done if r.wide])):
        print(f"{told}: " + ("; ".join(f"{row.setting}: {row.metric}" for row in chosen) or "none"))


if __name__ == "__main__":
    main()
