"""The limits of every metric of detection: which form each has (see `medtrain.metric.interval`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medtrain.metric.bootstrap import Array
from medtrain.metric.interval import NOTHING, RELIABLE, Form, averaged, correlation, missing, spread, write
from medtrain.metric.share import bounded_limits, of_jaccard, rate_form, share_forms

Key = tuple[str | None, str]  # (class or None for the whole, metric)
RATE = "fp_per_negative_image"


class BoxForms:
    """Values and replicates of detection metrics, and how they are written.

    Args:
        classes: C names.
        counts: by patient: ``true`` and ``false`` positives at the threshold and ``boxes`` to find, (C, P);
            ``alarms`` on ``negative`` images, (P,).
        values: of each metric, NaN where undefined.
        drawn: {metric: replicates_R}; empty: no intervals.
    """

    def __init__(
        self,
        classes: Sequence[str],
        counts: Mapping[str, Array],
        values: Mapping[Key, float],
        drawn: Mapping[Key, Array],
    ) -> None:
        self.classes, self.counts, self.values, self.drawn = list(classes), counts, values, drawn
        self.patients = counts["boxes"].shape[1]

    def written(self, key: Key) -> dict[str, Any]:
        """Write a value and its interval."""
        if not self.drawn:
            return write(self.values[key], None)
        return write(self.values[key], self._form(key), self._replicates(key))

    def few(self) -> dict[str, dict[str, int]] | None:
        """Count the patients of classes that fewer than ten patients have; None where there is no such class."""
        patients_C = (self.counts["boxes"] > 0).sum(axis=1)
        pairs = zip(self.classes, patients_C, strict=True)
        return {name: {"positive": int(n)} for name, n in pairs if n < RELIABLE} or None

    def _parts(self, metric: str) -> list[Key]:
        """Name the classes' metrics that one of the whole is the mean of: those with a value."""
        return [(name, metric) for name in self.classes if np.isfinite(self.values.get((name, metric), np.nan))]

    def _replicates(self, key: Key) -> Array:
        """Give the replicates; a mean has none where a class in it has none, lest it be the mean of others."""
        if key[0] is not None or key[1] == RATE:
            return self.drawn[key]
        parts = self._parts(key[1])
        return np.asarray(np.mean([self.drawn[part] for part in parts], axis=0)) if parts else self.drawn[key]

    def _form(self, key: Key) -> Form:
        if not np.isfinite(self.values[key]):
            return Form(NOTHING)
        if key[1] == RATE:
            return rate_form(self.counts["alarms"], self.counts["negative"])
        return self._mean(self._parts(key[1])) if key[0] is None else self._class(key[0], key[1])

    def _mean(self, parts: Sequence[Key]) -> Form:
        forms = [self._form(part) for part in parts]
        if len(forms) == 1:
            return forms[0]
        for part, form in zip(parts, forms, strict=True):
            if reason := missing(self.values[part], form, self.drawn[part]):
                return Form(NOTHING, reason=f"{part[0]}: {reason}")
        related = correlation([self.drawn[part] for part in parts])
        values_C = np.array([self.values[part] for part in parts])
        return Form(averaged(values_C, np.array([form.limits for form in forms]), related))

    def _class(self, name: str, metric: str) -> Form:
        c = self.classes.index(name)
        true_P, false_P, boxes_P = (self.counts[part][c].astype(float) for part in ("true", "false", "boxes"))
        of = {"sensitivity": boxes_P, "ppv": true_P + false_P, "f1": boxes_P + false_P}
        if metric in of:
            form = share_forms(true_P[None], of[metric][None])[1][0]
            return of_jaccard(form) if metric == "f1" else form
        value, variance = self.values[name, metric], spread(self.drawn[name, metric], self.patients)
        if metric.startswith("froc_"):
            return share_forms(value * boxes_P[None], boxes_P[None], np.array([variance]))[1][0]
        k = int((boxes_P > 0).sum())
        return Form(bounded_limits(value, variance, max(1, k), k * min(value, 1 - value)), (k,))
