"""What every kind of target answers, each checked against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.target import DataSpec, Decision, Predicted, Target, kinds, target_from, target_of, target_of_columns
from medtrain.target.binary import Binary
from medtrain.target.boxes import BoxTarget
from medtrain.target.classes import ClassTarget
from medtrain.target.mask import MaskTarget
from medtrain.target.multiclass import Multiclass
from medtrain.target.multilabel import Multilabel
from medtrain.target.ordinal import Ordinal
from medtrain.target.value import Value

NAN = float("nan")
BINARY, MULTICLASS, MULTILABEL = Binary(("well", "sick")), Multiclass(("a", "b", "c")), Multilabel(("x", "y"))
VALUES = {
    BINARY: np.array([0.0, 1.0, NAN]),
    MULTICLASS: np.array([2, 0, -1]),
    MULTILABEL: np.array([[1.0, 0.0], [NAN, 1.0], [NAN, NAN]]),
}
LABELS = {
    BINARY: [[1, 0], [0, 1], [NAN, NAN]],
    MULTICLASS: [[0, 0, 1], [1, 0, 0], [NAN, NAN, NAN]],
    MULTILABEL: [[1, 0], [NAN, 1], [NAN, NAN]],
}
ROWS = pd.DataFrame({"case": ["007", "NA", "z"], "patient": ["p", "q", "q"]})


def test_a_kind_is_found_by_the_name_of_its_file() -> None:
    classes = {"binary": Binary, "multiclass": Multiclass, "multilabel": Multilabel, "ordinal": Ordinal}
    assert kinds().items() >= (classes | {"boxes": BoxTarget, "mask": MaskTarget, "value": Value}).items()
    for name, kind in kinds().items():
        assert kind.kind == name and kind.__module__ == f"medtrain.target.{name}"
    with pytest.raises(ValueError, match="label_kind 'riddle' is none of binary, boxes"):
        target_of("riddle")


@pytest.mark.parametrize("target", [BINARY, MULTICLASS, MULTILABEL, BoxTarget(("nodule",))], ids=lambda t: t.kind)
def test_plain_values_and_back(target: Target) -> None:
    plain = target.to_dict()
    assert plain == {"label_kind": target.kind, "classes": list(target.classes)}
    assert target_from(plain | {"channels": 1, "of": "something else"}) == target
    spec = DataSpec(target, 2, (8, 8), mean=(0.5, 0.4), std=(0.2, 0.3))
    assert spec.to_dict()["label_kind"] == target.kind and DataSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize("target", VALUES, ids=lambda t: t.kind)
def test_values_indicators_and_batches(target: ClassTarget) -> None:
    labels_NC = target.indicators(VALUES[target])
    np.testing.assert_array_equal(labels_NC, LABELS[target])
    np.testing.assert_array_equal(target.coded(labels_NC), VALUES[target])
    y = target.batch_labels(VALUES[target])
    assert y.shape == {BINARY: (3, 1), MULTICLASS: (3,), MULTILABEL: (3, 2)}[target]
    assert y.dtype == (np.int64 if target is MULTICLASS else np.float32)
    np.testing.assert_array_equal(target.from_batch(y), VALUES[target])


@pytest.mark.parametrize(
    ("target", "outputs", "positive", "thresholded"),
    [(BINARY, 1, "sick", ("sick",)), (MULTICLASS, 3, None, ()), (MULTILABEL, 2, None, ("x", "y"))],
    ids=lambda value: getattr(value, "kind", None),
)
def test_heads_and_thresholds(target: ClassTarget, outputs: int, positive: str | None, thresholded: tuple) -> None:
    assert (target.n_outputs, target.positive, target.thresholded) == (outputs, positive, thresholded)
    logits = torch.tensor([[0.3, -1.2, 0.9], [2.0, 0.1, -0.4]])[:, :outputs].double()
    probs = logits.softmax(-1) if target.exclusive else logits.sigmoid()
    columns = target.probabilities(logits.numpy())
    assert columns.shape == (2, len(target.classes))
    np.testing.assert_allclose(columns[:, -outputs:], probs.numpy(), rtol=1e-12)


def test_decisions_by_hand() -> None:
    assert BINARY.decide([[0.4, 0.6], [0.7, 0.3]], [0.6]).tolist() == [1, 0]
    assert BINARY.decide([[0.4, 0.6], [0.7, 0.3]], [[0.7], [0.3]]).tolist() == [0, 1]  # each case its own
    assert MULTICLASS.decide([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]).tolist() == [1, 0]
    assert MULTILABEL.decide([[0.6, 0.1], [0.5, 0.5]], [0.6, 0.5]).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="0 thresholds don't fit binary"):
        BINARY.predict([[0.4, 0.6]], Decision())
    MULTICLASS.check_policy("0.5")
    for policy in ("youden", 0.4):
        with pytest.raises(UsageError, match="no meaning for a multiclass problem"):
            MULTICLASS.check_policy(policy)
    with pytest.raises(UsageError, match=r"eval\.threshold=often"):
        BINARY.check_policy("often")


@pytest.mark.parametrize("target", VALUES, ids=lambda t: t.kind)
def test_columns_are_read_as_they_were_written(target: ClassTarget, tmp_path: Path) -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(len(target.classes)), 3)
    decided = target.decide(probs, [0.5] * len(target.thresholded))
    table = target.table(Predicted(ROWS, probs, decided, VALUES[target], np.zeros(3)))
    file = tmp_path / "predictions.csv"
    table.to_csv(file, index=False)
    rows, read, values = target.read_file(file)
    assert rows["case"].tolist() == ["007", "NA", "z"]
    np.testing.assert_array_equal(read, probs)
    np.testing.assert_array_equal(values, VALUES[target])
    text = pd.read_csv(file, dtype=str, keep_default_na=False)
    np.testing.assert_array_equal(target.labels(text, "prediction"), target.one_hot(decided))
    assert target_of_columns(text) == target
    others = type(target)(tuple(f"other {name}" for name in target.classes))
    with pytest.raises(MedtrainError, match="not the predictions of a run on other"):
        others.read_file(file)


def test_a_label_of_no_class_is_not_read_as_unknown(tmp_path: Path) -> None:
    file = tmp_path / "predictions.csv"
    file.write_text("case,patient,target,prediction,prob_well,prob_sick\na,p,ill,sick,0.1,0.9\n")
    with pytest.raises(MedtrainError, match="ill"):
        BINARY.read_file(file)


def test_what_validation_must_hold() -> None:
    assert BINARY.cannot_choose(np.array([0.0, 1.0]), ["val_auroc"]) is None
    fault = BINARY.cannot_choose(np.array([0.0, 0.0]), ["val_auroc"])
    assert fault is not None and "does not hold cases of every class" in fault[0]
    assert BINARY.cannot_choose(np.array([0.0, 0.0]), ["val_loss"]) is None
    boxes = BoxTarget(("nodule", "mass"))
    assert boxes.cannot_choose(np.array([[0.0, 1.0]]), []) is None
    fault = boxes.cannot_choose(np.zeros((3, 2)), [])
    assert fault is not None and "holds no box" in fault[0]


def test_forms_are_what_others_ask_for() -> None:
    assert all("probabilities" in target.forms for target in VALUES)
    assert BoxTarget(("nodule",)).forms == {"boxes"}
    with pytest.raises(ValueError, match="target 3 with 3 classes"):
        MULTICLASS.indicators(np.array([3]))


@pytest.mark.parametrize("kind", ["multiclass", "ordinal", "value", "mask"])
def test_what_no_threshold_decides_refuses_policies(kind: str) -> None:
    target = DataSpec.of(kind, ("a", "b", "c"), 1).target
    target.check_policy(0.5)
    with pytest.raises(UsageError, match="eval.threshold=youden has no meaning for .*leave it at 0.5"):
        target.check_policy("youden")
