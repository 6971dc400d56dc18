"""What simulated studies of known truth say of intervals: a study, rows of many, and the tables of the docs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtrit

from medtrain.metric.interval import Form, write

Array = NDArray[Any]
Span = tuple[float, float] | None
ENOUGH = 5  # patients of each class from which on an interval that is null counts as a miss
WANTED, SAME = 0.92, 1.01  # coverage; widths up to this ratio are no different
MADE = {  # the marks around each part of the docs
    "classes": ("<!-- made by scripts/coverage.py, not by hand -->", "<!-- end of what scripts/coverage.py made -->"),
    "numbers": ("<!-- numbers by scripts/coverage.py -->", "<!-- end of numbers by scripts/coverage.py -->"),
}


@dataclass(frozen=True)
class Result:
    """One metric of one study.

    Args:
        truth: of the metric.
        value: what the study shows; NaN: no value exists (a slope of separated classes).
        ours, reference, plain: medtrain's interval, that of others, and percentiles; None: none.
        enough: five patients of each class were there.
    """

    truth: float
    value: float
    ours: Span
    reference: Span = None
    plain: Span = None
    enough: bool = True


@dataclass(frozen=True)
class Row:
    """One metric of all studies of a setting: how many % of intervals hold the truth, and their mean width.

    Args:
        ours, reference, plain: (held, width); None where there is no such interval.
        null: studies without an interval that had fewer than five patients of a class, which don't count.
        no_value: studies in which the metric has no value, which don't count.
        studies: that count.
    """

    setting: str
    metric: str
    ours: tuple[float, float] | None
    reference: tuple[float, float] | None
    plain: tuple[float, float] | None
    null: int
    no_value: int
    studies: int

    @property
    def least(self) -> float:
        """Compute 92 % less two Monte-Carlo errors."""
        return 100 * (WANTED - 2 * float(np.sqrt(WANTED * (1 - WANTED) / max(1, self.studies))))

    @property
    def short(self) -> bool:
        """Tell whether our intervals hold the truth too seldom."""
        return self.studies > 0 and (self.ours is None or self.ours[0] < self.least)

    @property
    def wide(self) -> bool:
        """Tell whether ours are wider, by more than 1 %, than a reference that holds the truth often enough."""
        ours, other = self.ours, self.reference
        return ours is not None and other is not None and other[0] >= 100 * WANTED and ours[1] > SAME * other[1]


def from_entry(truth: float, entry: Mapping[str, Any], enough: bool = True, **others: Span) -> Result:
    """Take a value and interval as test_metrics.json has them."""
    value, span = entry["value"], entry["ci95"]
    return Result(truth, np.nan if value is None else value, span and (span[0], span[1]), enough=enough, **others)


def from_form(truth: float, value: float, form: Form, values_R: Array | None = None, **others: Any) -> Result:
    """Take a value and the form of its interval."""
    return from_entry(truth, write(value, form, values_R), **others)


def korn_graubard(hits_P: Array, cases_P: Array) -> Span:
    """Compute Clopper and Pearson's interval of the effective number of cases (Korn & Graubard 1998)."""
    n, k = cases_P.sum(), int((cases_P > 0).sum())
    if k < 2:
        return None
    share = hits_P.sum() / n
    variance = ((hits_P - share * cases_P) ** 2).sum() / n**2 * k / (k - 1)
    worth = share * (1 - share) / variance if variance > 0 else n
    worth = min(n, worth * (stdtrit(n - 1, 0.975) / stdtrit(k - 1, 0.975)) ** 2)
    x = share * worth
    low = betaincinv(x, worth - x + 1, 0.025) if x > 0 else 0.0
    high = betaincinv(x + 1, worth - x, 0.975) if worth - x > 1e-9 else 1.0
    return float(low), float(high)


def summarise(setting: str, one: Callable[[], Mapping[str, Result]], studies: int) -> Iterator[Row]:
    """Judge so many studies: a row a metric."""
    results = [one() for _ in range(studies)]
    for metric in dict.fromkeys(name for result in results for name in result):
        found = [result[metric] for result in results if metric in result]
        valued = [result for result in found if np.isfinite(result.value)]
        counted = [result for result in valued if result.ours is not None or result.enough]
        ours, reference, plain = (
            _held([(result.truth, getattr(result, way)) for result in counted])
            for way in ("ours", "reference", "plain")
        )
        null, no_value = len(valued) - len(counted), len(found) - len(valued)
        yield Row(setting, metric, ours, reference, plain, null, no_value, len(counted))


def _held(pairs: Sequence[tuple[float, Span]]) -> tuple[float, float] | None:
    """Compute coverage in % and mean width of one way; None where it has no interval at all."""
    widths = [span[1] - span[0] for _, span in pairs if span is not None]
    if not widths:
        return None
    held = np.mean([span is not None and span[0] <= truth <= span[1] for truth, span in pairs])
    return round(100 * float(held), 1), float(f"{np.mean(widths):.4g}")


def save(rows: Iterable[Row], path: Path) -> None:
    """Write rows beside those that a file has; one of the same setting and metric gives way."""
    known = {(row.setting, row.metric): row for row in [*(load(path) if path.exists() else []), *rows]}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for row in known.values():
            ways = [part for way in (row.ours, row.reference, row.plain) for part in way or ("", "")]
            writer.writerow([row.setting, row.metric, *ways, row.null, row.no_value, row.studies])


def load(path: Path) -> list[Row]:
    """Read rows that were saved."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    return [
        Row(line[0], line[1], _pair(line[2:4]), _pair(line[4:6]), _pair(line[6:8]), *map(int, line[8:]))
        for line in lines
    ]


def _pair(cells: Sequence[str]) -> tuple[float, float] | None:
    return (float(cells[0]), float(cells[1])) if cells[0] else None


COLUMNS = {"auroc": 3, "sensitivity": 3, "f1": 2, "mcc": 2, "brier": 2, "calibration_slope": 2, "ece_debiased": 1}
HEADS = ("AUROC", "sensitivity", "F1", "MCC", "Brier", "slope", "ECE")


def document(rows: Sequence[Row], path: Path, part: str) -> None:
    """Write the tables of a part of the docs between its marks; without rows they stay as they are."""
    if not rows:
        return
    settings: dict[str, dict[str, Row]] = {}
    for row in rows:
        settings.setdefault(row.setting, {})[row.metric] = row
    wide = {name: own for name, own in settings.items() if "brier" in own}
    heads = ["95 % intervals hold the truth in % of studies", *HEADS, "studies"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"] * bool(wide)
    for name, own in wide.items():
        cells = [name, *(_cell(own, metric) for metric in COLUMNS), f"{own['brier'].studies:,}"]
        lines.append(f"| {' | '.join(cells)} |")
    none = [(name, row.no_value) for name, own in wide.items() if (row := own["calibration_slope"]).no_value]
    lines += ["", "Studies without a slope, separated, which don't count: " + _listed(none), ""] * bool(wide)
    lines += [
        "| other intervals | value | held: these / others' / percentiles | mean width | studies |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        if row.setting not in wide:
            held, width = (_joined([way and way[i] for way in (row.ours, row.reference, row.plain)]) for i in (0, 1))
            lines.append(f"| {row.setting} | {row.metric} | {held} | {width} | {row.studies:,} |")
    short, broad = ([f"{row.setting}: {row.metric}" for row in rows if getattr(row, k)] for k in ("short", "wide"))
    lines += ["", "Below 92 % less two Monte-Carlo errors: " + ("; ".join(short) or "none") + "."]
    if any(row.reference for row in rows):
        lines += ["", f"Wider than others', by more than 1 %, where these reach 92 %: {'; '.join(broad) or 'none'}."]
    begin, end = MADE[part]
    before, rest = path.read_text(encoding="utf-8").split(begin)
    after = rest.split(end)[1]
    path.write_text(f"{before}{begin}\n\n" + "\n".join(lines) + f"\n\n{end}{after}", encoding="utf-8")


def _listed(pairs: Sequence[tuple[str, int]]) -> str:
    return ("; ".join(f"{name}: {number}" for name, number in pairs) or "none") + "."


def _cell(own: Mapping[str, Row], metric: str) -> str:
    if metric not in own:
        return ""
    row, ways = own[metric], COLUMNS[metric]
    shown = [row.ours, row.reference, row.plain] if ways == 3 else [row.ours, row.plain][:ways]
    return _joined([way and way[0] for way in shown])


def _joined(numbers: Sequence[float | None]) -> str:
    """Join what there is by slashes; the last ones that there aren't are left out."""
    while numbers and numbers[-1] is None:
        numbers = numbers[:-1]
    return " / ".join("-" if number is None else f"{number:.3g}" for number in numbers)
