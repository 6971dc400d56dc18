"""Classification of cases: one image, or many instances of a case (patches of a volume) pooled into one prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from medtrain.augment import mixup
from medtrain.core.errors import UsageError
from medtrain.core.pool import attend_cases, pool_cases
from medtrain.data.base import Data
from medtrain.data.settings import case_column
from medtrain.export.portable import ExportRequest, Portable
from medtrain.io.files import beside, write_text
from medtrain.metric import SURE, EvalOptions
from medtrain.model import Ensemble, dropout_passes, score_instances, show_columns
from medtrain.report import write_failures
from medtrain.target import DataSpec, Decision, Outcome, Predicted, Target
from medtrain.target.binary import Binary
from medtrain.target.cases import CaseTarget
from medtrain.target.sets import table_of_sets
from medtrain.task.base import Batch, Task, first_rows, scaled, shape_of
from medtrain.task.classification.out_of_fold import ClassJudge
from medtrain.task.classification.views import views
from medtrain.task.explanation import Explanation, Request
from medtrain.task.gathering import Outputs


class Classification(Task):
    """A classifier of batches ``{"x", "y", "case"}``; several rows may belong to one case.

    Args:
        loss: ``loss(logits_BK, y) -> scalar``; None where nothing is trained.
        augment: ``augment(x, ids, seed, epoch) -> x`` on inputs in 0..1; only in training. Its ids are the cases, or
            rows (case, instance, draw) of batches with these, so that patches and repeats in an epoch all differ.
        pool: how the instances of a case make its prediction: mean, max or noisy_or of their probabilities; attention,
            of networks with a `ScoringHead`. Training learns from cases, by the instances in the batch, where these are
            images or attention weighs them; else from each patch of a volume by itself.
        mixup: alpha of mixup in training; 0 for none.
        views: ``views(x_BCHW)`` yields versions of inputs in 0..1 whose probabilities are averaged in the end.
        mc_dropout: passes with dropout whose spread is a case's uncertainty in the end; 0 for none.
    """

    mean: Tensor
    std: Tensor
    usual_target: ClassVar[type[Target]] = Binary

    def __init__(
        self,
        *args: Any,
        loss: nn.Module | None = None,
        augment: nn.Module | None = None,
        pool: str = "mean",
        mixup: float = 0.0,
        views: nn.Module | None = None,
        mc_dropout: int = 0,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.loss, self.augment, self.pool, self.mixup, self.views = loss, augment, pool, mixup, views
        self.mc_dropout = mc_dropout
        assert isinstance(self.spec.target, CaseTarget)
        self.target = self.spec.target
        shape = (1, -1, *[1] * self.spec.dims)
        self.register_buffer("mean", torch.tensor(self.spec.mean or (0.0,)).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(self.spec.std or (1.0,)).view(shape), persistent=False)

    @classmethod
    def usual_spec(cls, task: Mapping[str, Any], data: Mapping[str, Any]) -> DataSpec:
        dims = int(task["dims"])
        size = data.get("patch_size" if dims == 3 else "image_size")
        return DataSpec(cls.usual_target(("0", "1")), int(data.get("channels") or 1), shape_of(size, dims))

    @classmethod
    def judge_of_files(cls, spec: DataSpec, evaluation: Mapping[str, Any]) -> ClassJudge:
        assert isinstance(spec.target, CaseTarget)
        return ClassJudge(spec.target)

    @classmethod
    def options(
        cls, task: Mapping[str, Any], evaluation: Mapping[str, Any], augment: Mapping[str, Any], spec: DataSpec
    ) -> dict[str, Any]:
        refuse_pool(spec, task["pool"])
        if spec.covariates and task.get("mixup"):
            raise UsageError(
                "task.mixup mixes images, but no columns beside them (data.covariates): leave one of them out"
            )
        return {
            "pool": task["pool"],
            "mixup": task.get("mixup") or 0.0,
            "views": views(evaluation.get("tta") or 0, augment, spec.dims),
            "mc_dropout": evaluation.get("mc_dropout") or 0,
        }

    @classmethod
    def check(cls, task: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Refuse attention as the pool where it has nothing to learn from, and mixup of cases of several images."""
        if task.get("dims") == 2 and task.get("mixup") and case_column(data):
            raise UsageError("data.columns.case makes cases of several images, task.mixup mixes single ones: take one")
        if task.get("pool") != "attention":
            return
        if task.get("dims") == 2:
            if not case_column(data):
                raise UsageError(
                    "task.pool=attention weighs the patches of a volume, or the images of a case (data.columns.case); "
                    "a single image takes model.attention=true"
                )
            return
        if task.get("mixup"):
            raise UsageError("task.pool=attention learns from whole cases, task.mixup mixes patches: take one of them")
        if data.get("patch_label") == "mask":
            raise UsageError("task.pool=attention learns from the labels of cases: it takes data.patch_label=case")
        if (data.get("patches_per_volume") or 1) < 2:
            raise UsageError(
                "task.pool=attention needs several patches of a case at a time: data.patches_per_volume=4, say"
            )

    @classmethod
    def fit_network(cls, network: nn.Module, task: Mapping[str, Any]) -> nn.Module:
        """Add a score of each patch where attention pools them."""
        return score_instances(network) if task.get("pool") == "attention" else network

    def inputs(self, batch: Batch) -> Tensor:
        """Prepare the network's input: scaled to 0..1, augmented in training, normalised; show the columns beside."""
        self.show(batch)
        x = scaled(batch["x"])
        if self.training and self.augment is not None:
            x = self.augment(x, self._ids(batch, "draw"), seed=self.seed, epoch=self.current_epoch)
        return (x - self.mean) / self.std

    def show(self, batch: Batch, rows: Any = slice(None)) -> None:
        """Show the network the columns beside these rows of a batch, where there are any."""
        columns_BC = batch.get("columns")
        show_columns(self.model, None if columns_BC is None else columns_BC[rows])

    def forward(self, batch: Batch) -> Tensor:
        """Compute logits (B, K), one row an instance, `spec.n_logits` columns; of an `Ensemble` (B, S, K).

        With the pool attention there is a column more, the instance's score.
        """
        logits: Tensor = self.model(self.inputs(batch))
        return logits

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        assert self.loss is not None
        if not self.mixup:
            logits, y = self(batch), batch["y"]
            if self._learns_cases(batch):
                visit = batch.get("visit", batch["case"])
                logits, y = self._of_cases(logits, visit)[0], y[first_rows(visit[:, None])]
            return {"loss": self.loss(logits, y)}
        x, partner, share = mixup(self.inputs(batch), self.mixup, self.seed, *self.place)
        logits, y = self.model(x), batch["y"]
        return {"loss": share * self.loss(logits, y) + (1 - share) * self.loss(logits, y[partner])}

    def _learns_cases(self, batch: Batch) -> bool:
        """Tell whether the loss is that of cases, whose instances are pooled, rather than of each instance."""
        return self.pool == "attention" or ("instance" in batch and self.spec.dims == 2)

    def outputs(self, batch: Batch) -> dict[str, Any]:
        known = {key: batch[key] for key in ("case", "instance", "y") if key in batch}
        return known | {"logits": self(batch).float()}

    def final_outputs(self, batch: Batch) -> dict[str, Any]:
        """Compute `outputs`, each instance averaged over its views; ``passes`` (B, S, K) with dropout.

        The passes say how unsure the network is. They change no prediction, as the decision was fitted without them.
        """
        outputs = self._over_views(batch)
        if not self.mc_dropout:
            return outputs
        ids = self._ids(batch).tolist()
        passes = dropout_passes(self.model, self.inputs(batch), ids, self.mc_dropout, self.seed)
        return outputs | {"passes": passes.float()}

    def _over_views(self, batch: Batch) -> dict[str, Any]:
        if self.views is None:
            return self.outputs(batch)
        seen = [self.outputs(batch | {"x": x}) for x in self.views(scaled(batch["x"]))]
        number = torch.arange(len(batch["case"]), device=seen[0]["logits"].device).repeat(len(seen))
        whole, k = torch.cat([view["logits"] for view in seen]), self.spec.n_logits
        scores = whole[..., k:].unflatten(0, (len(seen), -1)).mean(0)  # of the pool attention, else nothing
        return seen[0] | {"logits": torch.cat([self._pooled(whole[..., :k], number, "mean")[0], scores], -1)}

    @staticmethod
    def _ids(batch: Batch, *more: str) -> Tensor:
        """Give what tells each row of a batch from all others: (B, 1) or wider."""
        return torch.stack([batch[key] for key in ("case", "instance", *more) if key in batch], 1)

    def batch_size(self, batch: Batch) -> int:
        return int(batch["visit"].max()) + 1 if "visit" in batch and self._learns_cases(batch) else len(batch["case"])

    def cases(self, outputs: Outputs) -> dict[str, Tensor]:
        """Make one row a case, by case number: ``case``, ``logits``, and ``y`` where it is known.

        Repeated rows (the padding of the last batch) are dropped. Batches with an ``instance`` number hold several
        instances a case: these are pooled as probabilities and turned back into logits, which a temperature fits.
        """
        joined = {key: torch.cat([batch[key] for batch in outputs]) for key in outputs[0]}
        keys = torch.stack([joined["case"], joined["instance"]], 1) if "instance" in joined else joined["case"][:, None]
        joined = {key: value[first_rows(keys)] for key, value in joined.items()}
        if "instance" not in joined:
            return joined
        cases = {}
        for key in joined.keys() & {"logits", "passes"}:
            cases[key], cases["case"] = self._of_cases(joined[key], joined["case"])
        return cases | ({"y": joined["y"][first_rows(joined["case"][:, None])]} if "y" in joined else {})

    def _of_cases(self, logits: Tensor, cases_N: Tensor) -> tuple[Tensor, Tensor]:
        """Pool logits of cases from those of their instances; with the cases' numbers, ascending."""
        if self.pool == "attention":
            return attend_cases(logits[..., :-1], logits[..., -1], cases_N)
        return self._pooled(logits, cases_N, self.pool)

    def _pooled(self, logits: Tensor, numbers_N: Tensor, how: str) -> tuple[Tensor, Tensor]:
        """Pool probabilities to logits, one row a number; with the numbers in ascending order.

        Args:
            logits: (N, K), or (N, S, K) of members or passes, which stay apart.
        """
        pooled, numbers = pool_cases(logits, numbers_N, how, **self.target.pooling)
        return pooled.to(logits.dtype), numbers

    def score(self, outputs: Outputs) -> dict[str, float]:
        cases = self.cases(outputs)
        assert self.loss is not None
        with torch.no_grad():
            loss = self.loss(cases["logits"], cases["y"])
        calm = max(1.0, float(cases["logits"].abs().max()) / SURE)  # so that sure cases don't tie at 1
        probs_NC = self._probs(cases["logits"], calm).mean(axis=1)
        return {"loss": float(loss)} | self.target.score(probs_NC, self._values(cases["y"]))

    def fit_decision(self, outputs: Outputs, policy: str | float, cases: pd.DataFrame | None = None) -> Decision:
        known = self.cases(outputs)
        patients = None if cases is None else cases["patient"].iloc[known["case"].numpy()].tolist()
        return self.target.fit_decision(known["logits"].numpy(), self._values(known["y"]), policy, patients)

    def complete_decision(self, decision: Decision, learned: Outputs) -> Decision:
        known = self.cases(learned)
        return self.target.completed(decision, known["logits"].numpy(), self._values(known["y"]))

    def evaluate(
        self,
        outputs: Outputs,
        cases: pd.DataFrame,
        decision: Decision,
        options: EvalOptions,
    ) -> Outcome:
        predicted = self.predicted(outputs, cases, decision)
        return self.target.judge(predicted, decision, options.of_cases(predicted.rows.index.tolist()))

    def predictions(self, outputs: Outputs, cases: pd.DataFrame, decision: Decision) -> pd.DataFrame:
        predicted = self.predicted(outputs, cases, decision)
        return self.target.table(predicted).set_index(predicted.rows.index)

    def save(self, output: Path, outputs: Outputs, inputs: Data, decision: Decision) -> None:
        """Write a CSV: a row an input in order, the columns of predictions and ``error``; FILE.sets.csv beside it."""
        tables = []
        if outputs:
            predicted = self.predicted(outputs, inputs.cases, decision)
            tables = [self.target.table(predicted).set_index(predicted.rows.index)]
            sets = table_of_sets(self.target, predicted.rows, predicted.probs, decision)
            if sets is not None:
                write_text(beside(output, "sets", ".csv"), sets.to_csv(index=False))
        if inputs.errors:
            bad = inputs.cases.iloc[list(inputs.errors)][["case", "patient"]].assign(error=list(inputs.errors.values()))
            tables.append(bad.set_index(pd.Index(list(inputs.errors))))
        whole = pd.concat(tables).sort_index()
        error = whole.pop("error") if "error" in whole else ""
        write_text(output, whole.assign(error=error).to_csv(index=False))

    def draw_mistakes(self, folder: Path, data: Data, most: int) -> None:
        write_failures(folder, data.pixels, most)

    def explain(self, request: Request) -> Explanation:
        """Write attention maps and Grad-CAM over the images, or through the volumes."""
        if self.spec.dims == 2:  # late: training explains nothing, and exports nothing
            from medtrain.task.classification.explain_images import explain_images

            return explain_images(self, request)
        from medtrain.task.classification.explain_volumes import explain_volumes

        return explain_volumes(self, request)

    def portable(self, request: ExportRequest) -> Portable:
        """Make the export of a classifier of images or volumes."""
        if not self.spec.dims:
            return super().portable(request)
        if self.spec.dims == 2:
            from medtrain.task.classification.portable import portable_images

            return portable_images(self, request)
        from medtrain.task.classification.portable_volumes import portable_volumes

        return portable_volumes(self, request)

    def predicted(self, outputs: Outputs, cases: pd.DataFrame, decision: Decision) -> Predicted:
        """Compute probabilities, decisions and uncertainty of the cases; `rows` is indexed by case number."""
        gathered = self.cases(outputs)
        rows = cases.iloc[number := gathered["case"].numpy()].set_index(pd.Index(number))
        values = self._values(gathered["y"]) if "y" in gathered else None
        self.target = self.target.decided_by(decision)
        probs_NSC = self._probs(gathered["logits"], decision.temperature)
        decided = self.target.predict(probs_NSC.mean(axis=1), decision)
        limits = list(decision.thresholds.values())
        predicted = self.target.predictions(rows, probs_NSC, decided, limits, values)
        if "passes" in gathered:
            passes_NSC = self._probs(gathered["passes"], decision.temperature)
            return replace(predicted, doubt=self.target.disagreement(passes_NSC, decided), by="mc_dropout")
        return predicted

    def _values(self, y: Tensor) -> np.ndarray:
        """Read ``y`` of cases, coded as the target has it."""
        return self.target.from_batch(y.numpy())

    def _probs(self, logits: Tensor, temperature: float) -> np.ndarray:
        """Compute probabilities [N, S, C] of S members or passes, one column a class, binary too."""
        logits_NSK = logits.unflatten(0, (-1, 1)) if logits.ndim == 2 else logits
        if not isinstance(self.model, Ensemble):
            flat = logits_NSK.double().flatten(0, 1).numpy()
            return self.target.probabilities(flat, temperature).reshape(*logits_NSK.shape[:2], -1)
        own = zip(
            self.model.readers or [self.target] * len(self.model.members), self.model.temperatures.cpu(), strict=True
        )
        parts = enumerate(own)  # members of a cross-validation have each learned from other cases
        return np.stack(
            [target.probabilities((logits_NSK[:, s].double() / t).numpy(), temperature) for s, (target, t) in parts],
            axis=1,
        )


def refuse_pool(spec: DataSpec, pool: str) -> None:
    """Refuse a pool that makes no sense of what is predicted (UsageError)."""
    if isinstance(spec.target, CaseTarget) and pool not in (*spec.target.pools, "attention"):
        raise UsageError(f"task.pool={pool}: of data.target={spec.target.kind} it is {' or '.join(spec.target.pools)}")
