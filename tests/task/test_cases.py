"""Cases from instances: padding dropped, patches pooled, predictions named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from torch import nn

from medtrain.augment import Augment2d
from medtrain.loss import cross_entropy
from medtrain.metric import EvalOptions
from medtrain.target import DataSpec, Decision
from medtrain.task.classification import Classification
from tests.metric.by_kind import predictions_table

BINARY = DataSpec.of("binary", ("well", "sick"), 1, (4, 4), mean=(0.5,), std=(0.25,))


def task(spec: DataSpec = BINARY, pool: str = "mean") -> Classification:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, spec.n_logits))
    return Classification(spec, net, loss=cross_entropy(spec), pool=pool)


def test_repeated_cases_count_once_and_in_order() -> None:
    outputs = [
        {"case": torch.tensor([2, 5]), "logits": torch.tensor([[2.0], [5.0]]), "y": torch.tensor([[0.0], [1.0]])},
        {"case": torch.tensor([0, 5]), "logits": torch.tensor([[0.0], [5.0]]), "y": torch.tensor([[1.0], [1.0]])},
    ]
    cases = task().cases(outputs)
    assert cases["case"].tolist() == [0, 2, 5]
    assert cases["logits"][:, 0].tolist() == [0, 2, 5] and cases["y"][:, 0].tolist() == [1, 0, 1]


@pytest.mark.parametrize(("pool", "expected"), [("mean", 0.5), ("max", 0.8), ("noisy_or", 1 - 0.8 * 0.2)])
def test_instances_are_pooled_once_each(pool: str, expected: float) -> None:
    logit = torch.logit(torch.tensor([0.2, 0.8, 0.8]))[:, None]
    outputs = [
        {
            "case": torch.tensor([4, 4, 4]),
            "instance": torch.tensor([0, 1, 1]),  # the last patch again: padding
            "logits": logit,
            "y": torch.ones(3, 1),
        }
    ]
    cases = task(pool=pool).cases(outputs)
    assert cases["logits"].sigmoid().item() == pytest.approx(expected, abs=1e-6)
    assert cases["y"].shape == (1, 1)


@pytest.mark.parametrize("patches", [40, 700])
@pytest.mark.parametrize("pool", ["mean", "max", "noisy_or"])
def test_cases_of_any_number_of_patches_stay_apart_to_the_end(pool: str, patches: int) -> None:
    """With probabilities that round to 1, all cases tied, and a temperature gave them one value."""
    rng, sick = np.random.default_rng(0), np.arange(30) % 2
    logits = rng.normal(3, 1, (30, patches)) + np.where(sick, 0.5, 0)[:, None] + 40 * (pool != "noisy_or")
    case = torch.arange(30).repeat_interleave(patches)
    outputs = {"case": case, "instance": torch.arange(patches).repeat(30), "y": torch.tensor(sick)[case][:, None] * 1.0}
    built, table = task(pool=pool), pd.DataFrame({"case": range(30), "patient": range(30)})
    gathered = [outputs | {"logits": torch.tensor(logits.reshape(-1, 1), dtype=torch.float32)}]
    scores = {"mean": -expit(-logits).mean(1), "max": logits.max(1), "noisy_or": np.logaddexp(0, logits).sum(1)}
    expected = roc_auc_score(sick, scores[pool])
    assert built.score(gathered)["auroc"] == pytest.approx(expected)
    decision = built.fit_decision(gathered, "youden")
    probs = built.predicted(gathered, table, decision).probs[:, 1]
    assert roc_auc_score(sick, probs) == pytest.approx(expected) and len(np.unique(probs)) == 30


def test_multiclass_pooling_keeps_probabilities() -> None:
    spec = DataSpec.of("multiclass", ("a", "b", "c"), 1, (4, 4), mean=(0.5,), std=(0.25,))
    probs = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5]])
    outputs = [{"case": torch.zeros(2, dtype=torch.long), "instance": torch.arange(2), "logits": probs.log()}]
    assert torch.allclose(task(spec).cases(outputs)["logits"].softmax(1), probs.mean(0, keepdim=True), atol=1e-6)


def test_inputs_are_scaled_and_normalised() -> None:
    x = torch.tensor([[[[0, 255], [51, 102]]]], dtype=torch.uint8)
    expected = (x / 255.0 - 0.5) / 0.25
    assert torch.allclose(task().eval().inputs({"x": x, "case": torch.tensor([0])}), expected)
    assert torch.allclose(task().eval().inputs({"x": x / 255.0, "case": torch.tensor([0])}), expected)


def test_augmentation_is_for_training_only() -> None:
    class Ones(nn.Module):
        def forward(self, x: torch.Tensor, ids: torch.Tensor, seed: int, epoch: int) -> torch.Tensor:
            return torch.ones_like(x)

    built = Classification(BINARY, nn.Identity(), loss=cross_entropy(BINARY), augment=Ones())
    batch = {"x": torch.zeros(1, 1, 4, 4), "case": torch.tensor([0])}
    assert (built.train().inputs(batch) == 2).all() and (built.eval().inputs(batch) == -2).all()


def test_repeats_in_an_epoch_are_augmented_differently_in_whatever_batch() -> None:
    built = Classification(BINARY, nn.Identity(), loss=cross_entropy(BINARY), augment=Augment2d()).train()
    x, case = torch.rand(1, 1, 4, 4), torch.tensor([7])
    first, second, again = (built.inputs({"x": x, "case": case, "draw": torch.tensor([n])}) for n in (0, 1, 0))
    assert torch.equal(first, again) and not torch.equal(first, second)


def test_predictions_are_named_and_unknown_is_blank() -> None:
    rows = pd.DataFrame({"case": ["x", "y"], "patient": ["p", "q"]})
    table = predictions_table(
        BINARY, rows, np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 0]), np.array([1.0, np.nan])
    )
    assert list(table.columns) == ["case", "patient", "target", "prediction", "prob_well", "prob_sick"]
    assert list(table["target"]) == ["sick", ""] and list(table["prediction"]) == ["sick", "well"]
    spec = DataSpec.of("multilabel", ("a", "b"), 1, (4, 4))
    table = predictions_table(
        spec, rows, np.full((2, 2), 0.5), np.array([[1, 0], [0, 1]]), np.array([[1, np.nan], [0, 1]])
    )
    assert list(table.columns[2:]) == ["target_a", "target_b", "prediction_a", "prediction_b", "prob_a", "prob_b"]
    assert list(table["target_b"]) == ["", "1"]


def test_evaluation_judges_with_the_given_decision() -> None:
    outputs = [{"case": torch.arange(4), "logits": torch.tensor([[-2.0], [0.5], [1.0], [3.0]])}]
    outputs[0]["y"] = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    rows = pd.DataFrame({"case": list("abcd"), "patient": list("pqrs")})
    outcome = task().evaluate(outputs, rows, Decision(0.5, 2.0, {"sick": 0.6}), EvalOptions(0))
    assert outcome.metrics["metrics"]["auroc"]["value"] == 1 and outcome.metrics["n_cases"] == 4
    table = outcome.files["test_predictions.csv"]
    assert table["prob_sick"].iloc[3] == pytest.approx(1 / (1 + np.exp(-1.5)))
    assert list(table["prediction"]) == ["well", "well", "sick", "sick"]
