"""Classification of bags: many instances, one label, and what in the bag the label came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed
from medtrain.export.portable import ExportRequest, Portable
from medtrain.loss import attention_entropy
from medtrain.metric import EvalOptions, tile_auroc
from medtrain.model import BagNetwork, relevance
from medtrain.target import DataSpec, Decision, Outcome
from medtrain.task.base import Batch, refuse_unused, shape_of
from medtrain.task.classification import Classification
from medtrain.task.explanation import Explanation, Request
from medtrain.task.gathering import Outputs


class MultipleInstance(Classification):
    """A classifier of batches ``{"x", "offsets", "y", "case"}``, the instances of all bags one after the other.

    Where bags have places, batches have ``coords`` too, and ``columns`` where columns stand beside them.

    Where evaluated batches say of instances whether they lie in a tumour (``tumour``), the metrics have ``tile_auroc``.

    Args:
        entropy: weight in the loss of the attention's entropy, from 0 to 1 for any size of bag (`attention_entropy`);
            a negative one spreads attention out.
    """

    @classmethod
    def usual_spec(cls, task: Mapping[str, Any], data: Mapping[str, Any]) -> DataSpec:
        target, tiles = cls.usual_target(("0", "1")), data.get("tiles")
        return DataSpec(target, 3, shape_of(data["tile_px"], 2)) if tiles else DataSpec(target, 1)

    @classmethod
    def options(
        cls, task: Mapping[str, Any], evaluation: Mapping[str, Any], augment: Mapping[str, Any], spec: DataSpec
    ) -> dict[str, Any]:
        refuse_unused(task, evaluation, "tta")
        return {"mc_dropout": evaluation.get("mc_dropout") or 0, "entropy": task.get("entropy") or 0.0}

    def __init__(self, *args: Any, entropy: float = 0.0, **more: Any) -> None:
        super().__init__(*args, **more)
        self.entropy = entropy
        if entropy and self.loss is not None and not getattr(self.model, "attends", False):
            raise UsageError(
                f"task.entropy={entropy} needs attention: model=gated_attention_mil or attention_mil, evidence=any"
            )

    def inputs(self, batch: Batch) -> Packed:  # type: ignore[override]
        """Give instances as the data have them: networks for bags standardise them, see `BagNetwork`."""
        return Packed(batch["x"], batch["offsets"], batch.get("coords"), batch.get("columns"))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        if not isinstance(self.model, BagNetwork):
            return super().losses(batch)
        assert self.loss is not None
        evidence = self.model.evidence(self.inputs(batch))
        parts = self.model.losses(evidence, self.loss(evidence.logits, batch["y"]), batch["y"])
        if not self.entropy:
            return parts
        spread = attention_entropy(evidence.weights.mean(1), evidence.offsets).mean()
        return parts | {"entropy": self.entropy * spread}

    def final_outputs(self, batch: Batch) -> dict[str, Any]:
        """Add ``tiles`` to those of `Classification`: of each case (n, 2) relevance, in a tumour."""
        outputs = super().final_outputs(batch)
        relevance_N = relevance(self.model, self.inputs(batch)) if "tumour" in batch else None
        if relevance_N is None:
            return outputs
        pairs = torch.stack([relevance_N.float(), batch["tumour"]], 1)
        return outputs | {"tiles": list(pairs.split(batch["offsets"].diff().tolist()))}

    def cases(self, outputs: Outputs) -> dict[str, Tensor]:
        return super().cases([{key: value for key, value in batch.items() if key != "tiles"} for batch in outputs])

    def evaluate(self, outputs: Outputs, cases: pd.DataFrame, decision: Decision, options: EvalOptions) -> Outcome:
        outcome = super().evaluate(outputs, cases, decision, options)
        if any("tiles" in batch for batch in outputs):
            tiles = {int(c): t.numpy() for b in outputs for c, t in zip(b["case"], b["tiles"], strict=True)}
            patients = cases["patient"].iloc[list(tiles)].tolist()
            area = tile_auroc(
                [t[:, 0] for t in tiles.values()], [t[:, 1] for t in tiles.values()], patients, options.bootstrap
            )
            outcome.metrics["metrics"]["tile_auroc"] = area
        return outcome

    def portable(self, request: ExportRequest) -> Portable:
        """Make the export of a classifier of bags of features."""
        from medtrain.task.mil.portable import portable_bags  # late: training exports nothing

        return portable_bags(self, request)

    def explain(self, request: Request) -> Explanation:
        """Write heatmaps on the slides, their top tiles, and lesions put together from tiles."""
        from medtrain.task.mil.explain import explain_bags  # late: training explains nothing

        return explain_bags(self, request)
