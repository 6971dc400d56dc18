"""Several predictions a case, of members or of passes: what is said, and how sure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from medtrain.core.errors import MedtrainError
from medtrain.model import Ensemble
from medtrain.model.head import Head
from medtrain.target import DataSpec, Decision
from medtrain.target.binary import Binary
from medtrain.task.classification import Classification
from tests.metric.by_kind import predictions_table

KINDS = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "multilabel": ("a", "b", "c")}
X = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(3))
ROWS = pd.DataFrame({"case": [f"c{i}" for i in range(6)], "patient": [f"p{i}" for i in range(6)]})


def spec_of(kind: str) -> DataSpec:
    return DataSpec.of(kind, KINDS[kind], 1, (4, 4), mean=(0.5,), std=(0.25,))  # type: ignore[arg-type]


def networks(spec: DataSpec, count: int) -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Sequential(nn.Flatten(), nn.Linear(16, spec.n_logits)) for _ in range(count)]


def probs_of(kind: str, logits: Tensor) -> np.ndarray:
    if kind == "multiclass":
        return logits.softmax(-1).numpy()
    p = logits.sigmoid().numpy()
    return np.concatenate([1 - p, p], -1) if kind == "binary" else p


@pytest.mark.parametrize("kind", KINDS)
def test_an_ensemble_predicts_the_mean_of_calibrated_probabilities(kind: str) -> None:
    spec, temperatures = spec_of(kind), [2.0, 0.5, 1.0]
    members = networks(spec, 3)
    task = Classification(spec, Ensemble(members, temperatures)).eval()
    x = (X - 0.5) / 0.25
    with torch.no_grad():
        each = [probs_of(kind, m(x).double() / t) for m, t in zip(members, temperatures, strict=True)]
        outputs = [task.final_outputs({"x": X[half], "case": torch.tensor(half)}) for half in ([4, 0, 2], [1, 3, 5])]
    limits = {"binary": {"yes": 0.4}, "multiclass": {}, "multilabel": dict.fromkeys("abc", 0.4)}[kind]
    found = task.predicted(outputs, ROWS, Decision(0.5, 1.0, limits))
    np.testing.assert_allclose(found.probs, np.mean(each, 0), atol=1e-6)
    sd = np.std(each, axis=0, ddof=1)
    expected = {"binary": sd[:, -1], "multiclass": sd[range(6), found.probs.argmax(1)], "multilabel": sd}[kind]
    assert found.by == "ensemble"
    np.testing.assert_allclose(found.doubt, expected, atol=1e-6)
    table = task.predictions(outputs, ROWS, Decision(0.5, 1.0, limits))
    last = [f"uncertainty_{c}" for c in "abc"] if kind == "multilabel" else ["uncertainty"]
    assert list(table.columns[-len(last) :]) == last and list(table.index) == list(range(6))


def test_members_stay_apart_until_their_instances_are_pooled() -> None:
    """A temperature was fitted on pooled cases, so it comes after the pooling."""
    spec, temperatures = spec_of("binary"), [3.0, 1.0]
    members = networks(spec, 2)
    task = Classification(spec, Ensemble(members, temperatures), pool="max").eval()
    batch = {"x": X, "case": torch.tensor([0, 0, 0, 1, 1, 1]), "instance": torch.arange(6)}
    with torch.no_grad():
        found = task.predicted([task.outputs(batch)], ROWS, Decision(0.5, 1.0, {"yes": 0.5}))
        logits = torch.stack([m((X - 0.5) / 0.25).view(2, 3).amax(1) for m in members], 1)
    expected = (logits / torch.tensor(temperatures)).sigmoid().mean(1)
    np.testing.assert_allclose(found.probs[:, 1], expected, atol=1e-6)


def test_passes_with_dropout_say_how_sure_and_change_no_prediction() -> None:
    spec = spec_of("binary")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), Head(16, 1, 0.5))
    plain = Classification(spec, network, seed=5).eval()
    asked = Classification(spec, network, seed=5, mc_dropout=30).eval()
    batch, decision = {"x": X, "case": torch.arange(6)}, Decision(0.5, 2.0, {"yes": 0.5})
    with torch.no_grad():
        one = plain.predicted([plain.final_outputs(batch)], ROWS, decision)
        two = asked.predicted([asked.final_outputs(batch)], ROWS, decision)
        passes = asked.final_outputs(batch)["passes"]
        again = asked.predicted([asked.final_outputs({k: v[[3]] for k, v in batch.items()})], ROWS, decision)
    np.testing.assert_array_equal(one.probs, two.probs)
    assert (one.by, two.by) == ("confidence", "mc_dropout") and "uncertainty" not in spec.target.table(one)
    np.testing.assert_allclose(two.doubt, (passes[..., 0].double() / 2).sigmoid().std(1), atol=1e-6)
    assert again.doubt[0] == pytest.approx(two.doubt[3], rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_is_read_as_it_was_written(kind: str, tmp_path: Path) -> None:
    spec, draw = spec_of(kind), np.random.default_rng(0)
    probs = draw.dirichlet(np.ones(len(spec.classes)), 6)
    target = draw.integers(0, 2, (6, 3) if kind == "multilabel" else 6).astype(float)
    target.flat[1] = np.nan
    table = predictions_table(spec, ROWS, probs, np.nan_to_num(target), target)
    table.to_csv(tmp_path / "t.csv", index=False)
    rows, read, known = spec.target.read_file(tmp_path / "t.csv")
    np.testing.assert_array_equal(read, probs)
    np.testing.assert_array_equal(known, np.nan_to_num(target, nan=-1) if kind == "multiclass" else target)
    assert rows["case"].tolist() == ROWS["case"].tolist()
    with pytest.raises(MedtrainError, match="not the predictions of a run on x, y"):
        Binary(("x", "y")).read_file(tmp_path / "t.csv")
