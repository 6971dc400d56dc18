"""Networks for bags as graphs: what ONNX Runtime computes of bags of any size is what the task computes."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from medtrain import model as models
from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed
from medtrain.data.batches.bag_places import laid_out
from medtrain.export.formats import onnx as onnx_format
from medtrain.export.portable import ExportRequest
from medtrain.export.runtime.bags import (
    Placed,
    any_placed,
    arrays_of,
    bags_of_table,
    features_of,
    graph_for,
    main,
    of_patients,
    placed,
    read_file,
    together,
)
from medtrain.export.runtime.inputs import Case
from medtrain.export.runtime.started import Started
from medtrain.io.bags import Bag
from medtrain.model import Ensemble, relevance
from medtrain.target import DataSpec, Decision
from medtrain.task.mil.portable import keep_bag, portable_bags

pytest.importorskip("onnx")
pytest.importorskip("h5py")
runtime = pytest.importorskip("onnxruntime")

IDENTITY = {"run": "r", "version": "0", "checkpoint_sha256": "0" * 64, "task": "t"}
WIDTH = 12
NETWORKS: list[tuple[str, str, dict[str, Any]]] = [
    ("mean_mil", "binary", {}),
    ("max_mil", "multiclass", {}),
    ("topk_mil", "binary", {"k": 3}),
    ("attention_mil", "multilabel", {}),
    ("gated_attention_mil", "multiclass", {}),
    ("gated_attention_mil", "multilabel", {"evidence": "positive"}),
    ("clam_sb", "binary", {}),
    ("clam_mb", "binary", {}),
    ("clam_mb", "multiclass", {}),
    ("dsmil", "binary", {}),
    ("dsmil", "multiclass", {}),
]
CLASSES = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c"), "multilabel": ("a", "b")}


def spec_of(kind: str) -> DataSpec:
    whole = DataSpec.of(kind, CLASSES[kind], WIDTH, ())
    return DataSpec(whole.target, WIDTH, (), mean=tuple(np.linspace(-2, 2, WIDTH)), std=(0.5,) * WIDTH)


def task_of(network: torch.nn.Module, spec: DataSpec) -> Any:
    return SimpleNamespace(model=network.eval(), spec=spec, target=spec.target, mc_dropout=0)


def decision_of(spec: DataSpec) -> Decision:
    return Decision(0.5, 1.3, dict.fromkeys(spec.target.thresholded, 0.45))


@pytest.mark.parametrize(("name", "kind", "more"), NETWORKS)
def test_bags_of_any_size_one_by_one_get_what_a_batch_of_them_gets(
    name: str, kind: str, more: dict[str, Any], tmp_path: Path
) -> None:
    spec = spec_of(kind)
    torch.manual_seed(0)
    network = getattr(models, name)(spec, hidden=[16], **more).eval()
    part = portable_bags(task_of(network, spec), ExportRequest(decision_of(spec), {})).parts["model"]
    onnx_format.write(part, tmp_path / "m.onnx", None, IDENTITY)
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    lengths = [1, 2, 37]
    x = torch.randn(sum(lengths), WIDTH)
    packed = Packed(x, torch.tensor([0, 1, 3, 40]))
    with torch.no_grad():
        probs_NC = spec.target.probabilities(network(packed).double().numpy(), 1.3)
        seen = relevance(network, packed)
    assert ("attention" in part.outputs) == (seen is not None)
    for row, features in enumerate(x.split(lengths)):
        named = dict(zip(part.outputs, session.run(list(part.outputs), {"features": features.numpy()}), strict=True))
        np.testing.assert_allclose(named["probabilities"], probs_NC[row], atol=1e-6)
        np.testing.assert_array_equal(
            named["decision"], spec.target.predict(probs_NC[row : row + 1], decision_of(spec))[0]
        )
        if seen is not None:
            np.testing.assert_allclose(named["attention"], seen.split(lengths)[row], atol=1e-6)


def assert_as_in_the_run(network: torch.nn.Module, spec: DataSpec, bags: Packed, probs: Any, attention: Any) -> None:
    """Hold what a graph gives of one bag against what the network gives, at a temperature of 1.3."""
    with torch.no_grad():
        expected = spec.target.probabilities(network(bags).double().numpy(), 1.3)[0]
        seen = relevance(network, bags)
    np.testing.assert_allclose(probs, expected, atol=1e-6)
    assert seen is not None
    np.testing.assert_allclose(attention, seen, atol=1e-6)


def test_transmil_has_a_graph_for_small_bags_and_one_for_large_ones(tmp_path: Path) -> None:
    spec = spec_of("binary")
    torch.manual_seed(0)
    network = models.transmil(spec, hidden=[24], landmarks=12).eval()
    portable = portable_bags(task_of(network, spec), ExportRequest(decision_of(spec), {}))
    assert portable.facts["input"]["graphs"] == {"up_to_9": 9}  # 9 tokens and the class token; 16 and it are more
    facts: dict[str, Any] = {"input": portable.facts["input"]}
    networks = {}
    for name, part in portable.parts.items():
        onnx_format.write(part, tmp_path / f"{name}.onnx", None, IDENTITY)
        session = runtime.InferenceSession(str(tmp_path / f"{name}.onnx"), providers=["CPUExecutionProvider"])
        networks[name] = partial(session.run, list(part.outputs))
    started = Started(tmp_path, tmp_path, facts, networks, 1)
    for length in (1, 2, 4, 5, 9, 10, 16, 17, 200):
        x = torch.randn(length, WIDTH)
        bag = Packed(x, torch.tensor([0, length]))
        probs, _, attention = graph_for(started, length)({"features": x.numpy()})  # type: ignore[call-arg]
        assert_as_in_the_run(network, spec, bag, probs, attention)


@pytest.mark.parametrize("reach", [1, 2])
def test_tiles_see_those_around_them_as_in_the_run(reach: int, tmp_path: Path) -> None:
    spec = spec_of("binary")
    torch.manual_seed(0)
    network = models.neighbour_mil(spec, hidden=[16], rounds=2, reach=reach).eval()
    portable = portable_bags(task_of(network, spec), ExportRequest(decision_of(spec), {"tile_edge": 256.0}))
    assert portable.facts["input"]["reach"] == reach
    part = portable.parts["model"]
    onnx_format.write(part, tmp_path / "m.onnx", None, IDENTITY)
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    draw = np.random.default_rng(0)
    for lengths, unplaced in (([1], ()), ([9], ()), ([40, 7, 5], (1,)), ([3], (0,))):
        bags = []
        for number, length in enumerate(lengths):
            coords = None if number in unplaced else draw.integers(0, 5, (length, 2)) * 200.0 + 1000
            bag = Bag(draw.normal(size=(length, WIDTH)).astype(np.float32), coords, {"tile": None, "unit": "px"})
            bags.append(placed(bag.x, bag, tmp_path / "bag.h5", 256.0))
        arrays = arrays_of(bags, reach)
        probs, _, attention = session.run(list(part.outputs), arrays)
        places = laid_out((len(bag.x_ND), bag.coords_N2, 256.0) for bag in bags)
        packed = Packed(torch.from_numpy(arrays["features"]), torch.tensor([0, sum(lengths)]), torch.from_numpy(places))
        assert_as_in_the_run(network, spec, packed, probs, attention)


def test_bags_without_any_place_are_known_as_such() -> None:
    x = np.zeros((2, 3), np.float32)

    def read(number: int) -> Placed:
        if number == 0:
            raise ValueError("bad")
        return Placed(x, np.zeros((2, 2)) if number == 2 else None, 1.0)

    assert (any_placed([0, 1], read), any_placed([0, 1, 2], read)) == (False, True)


def test_an_ensemble_of_bags_tells_its_spread(tmp_path: Path) -> None:
    spec = spec_of("binary")
    torch.manual_seed(0)
    members = [models.gated_attention_mil(spec, hidden=[16]) for _ in range(2)]
    network = Ensemble(members, [1.5, 0.7]).eval()
    part = portable_bags(task_of(network, spec), ExportRequest(decision_of(spec), {})).parts["model"]
    onnx_format.write(part, tmp_path / "m.onnx", None, IDENTITY)
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    x = torch.randn(9, WIDTH)
    probs, _, uncertainty, _ = session.run(list(part.outputs), {"features": x.numpy()})
    bag = Packed(x, torch.tensor([0, 9]))
    with torch.no_grad():
        logits = [member(bag).double().numpy() / own for member, own in zip(members, (1.5, 0.7), strict=True)]
    expected = np.stack([spec.target.probabilities(of, 1.3) for of in logits], 1)
    np.testing.assert_allclose(probs, expected.mean(1)[0], atol=1e-6)
    decided = spec.target.predict(expected.mean(1), decision_of(spec))
    np.testing.assert_allclose(uncertainty, spec.target.disagreement(expected, decided)[0], atol=1e-6)


def test_predict_reads_bags_and_says_what_is_none(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, WIDTH)).astype(np.float16)
    read = features_of(read_file(keep_bag(x, tmp_path / "b")).x, WIDTH)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, x)
    with pytest.raises(ValueError, match="has 12 features, where the model takes 13"):
        features_of(x, WIDTH + 1)
    for name, text in (("slide.svs", "medtrain embed"), ("bag.pt", "needs torch")):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(ValueError, match=text):
            read_file(tmp_path / name)


class Sums:
    """A network whose probability is the mean of all features."""

    def __init__(self, *parts: Any) -> None:
        pass

    def __call__(self, features: np.ndarray) -> dict[str, np.ndarray]:
        p = np.float64(features.mean())
        return {"probabilities": np.array([1 - p, p]), "decision": np.array(int(p >= 0.5)), "attention": features[:, 0]}


def test_bags_of_one_csv_are_predicted_in_their_order(tmp_path: Path) -> None:
    facts = {
        "reads": "bags", "writes": "a CSV", "run": "r", "batch_size": 1, "networks": {"model": {}},
        "input": {"channels": 2, "graphs": {}}, "target": {"classes": ["no", "yes"]}, "rows": {},
    }  # fmt: skip
    (tmp_path / "model.json").write_text(json.dumps(facts))
    (tmp_path / "b.csv").write_text("1,B,0.5,1\n0,A,0.25,0.25\n1,B,1,0.5\n0,C,x,1\n")
    assert main(Sums, tmp_path, [str(tmp_path / "b.csv"), str(tmp_path / "o.csv")]) == 1
    rows = (tmp_path / "o.csv").read_text().splitlines()
    assert rows[:3] == ["case,patient,prediction,prob_no,prob_yes,error", "B,B,yes,0.25,0.75,", "A,A,no,0.75,0.25,"]
    assert "no finite number in column 3 of row 4" in rows[3]


def test_tables_name_bags_or_the_slides_that_they_are_of(tmp_path: Path) -> None:
    keep_bag(np.zeros((2, WIDTH), np.float32), tmp_path / "s1")
    facts = {"columns": {"path": None, "patient": None, "case": None}, "patient_pattern": None}
    for head, line, patient in (
        ("slide_id,case_id", "s1.svs,P7", "P7"),
        ("bag;patient", "s1;P8", "P8"),
        ("path", "s1.h5", str(tmp_path / "s1.h5")),  # without patients each file is one, as `predict` writes it
    ):
        (tmp_path / "t.csv").write_text(f"{head}\n{line}\n")
        (case,) = bags_of_table(tmp_path / "t.csv", facts)
        assert (case.path, case.patient) == (str(tmp_path / "s1.h5"), patient)
        assert case.name == re.split("[,;]", line)[0]
    (tmp_path / "t.csv").write_text("label\n1\n")
    with pytest.raises(UsageError, match="has no column called bag, slide"):
        bags_of_table(tmp_path / "t.csv", facts)


def test_bags_of_a_patient_are_one_and_a_bad_one_spoils_it() -> None:
    cases = [Case(f"s{n}", patient, f"s{n}.h5") for n, patient in enumerate("ABAC")]
    whole, members = of_patients(cases)
    assert [(case.name, case.patient, case.path) for case in whole] == [
        ("A", "A", "s0.h5"), ("B", "B", "s1.h5"), ("C", "C", "s3.h5"),
    ]  # fmt: skip
    assert members == [[0, 2], [1], [3]]

    def read(number: int) -> Any:
        if number > 2:
            raise ValueError(f"bad {number}")
        return Placed(np.full((number + 1, 2), number, np.float32))

    assert arrays_of(together([2, 0], read), None)["features"][:, 0].tolist() == [2, 2, 2, 0]
    with pytest.raises(ValueError, match="^bad 3; bad 4$"):
        together([3, 0, 4], read)


def test_what_no_graph_of_bags_holds_is_refused() -> None:
    spec = spec_of("binary")
    task = task_of(models.mean_mil(spec, hidden=[]), spec)
    apart = Ensemble([models.neighbour_mil(spec, reach=reach) for reach in (1, 2)])
    with pytest.raises(UsageError, match="members see 1 and 2 tiles around each"):
        portable_bags(task_of(apart, spec), ExportRequest(decision_of(spec), {}))
    task.mc_dropout = 3
    with pytest.raises(UsageError, match="mc_dropout=3"):
        portable_bags(task, ExportRequest(decision_of(spec), {}))
