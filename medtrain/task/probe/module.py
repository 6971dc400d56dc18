"""Classification on the features of a frozen encoder: a picture is a bag of one, a volume a bag of its slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medtrain.core.errors import UsageError
from medtrain.export.portable import ExportRequest, Portable
from medtrain.target import DataSpec
from medtrain.task.explanation import Explanation, Request
from medtrain.task.mil import MultipleInstance


class Probe(MultipleInstance):
    """A classifier of features; see `MultipleInstance` for batches and arguments."""

    @classmethod
    def usual_spec(cls, task: Mapping[str, Any], data: Mapping[str, Any]) -> DataSpec:
        return DataSpec(cls.usual_target(("0", "1")), 1)

    @classmethod
    def check(cls, task: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Refuse a pool of the task: the network pools (UsageError)."""
        if (pool := task.get("pool") or "mean") != "mean":
            raise UsageError(
                f"task.pool={pool}: of features the network pools, as model=max_mil, topk_mil, gated_attention_mil do"
            )

    def portable(self, request: ExportRequest) -> Portable:
        """Make the export of a classifier of features, the encoder with it."""
        from medtrain.task.probe.portable import portable_features  # late: training exports nothing

        return portable_features(self, request)

    def explain(self, request: Request) -> Explanation:
        """Write what covers over a picture change, or what each slice of a volume contributes."""
        from medtrain.task.probe.explain import explain_pictures, explain_slices  # late: training explains nothing

        whole: Any = request.data
        return (explain_pictures if whole.whole_cases.spec.dims == 2 else explain_slices)(self, request)
