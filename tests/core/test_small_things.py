"""DataSpec, random streams, suggestions, errors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medtrain.core.errors import DataError, MedtrainError, Problem, UsageError
from medtrain.core.streams import stream, torch_seed
from medtrain.core.words import suggest
from medtrain.target import DataSpec


def test_spec_round_trip_through_json() -> None:
    spec = DataSpec.of("multilabel", ("a", "b", "c"), 1, (64, 48), (0.5, 0.5), (0.4,), (0.2,))
    assert DataSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert (spec.dims, spec.n_logits) == (2, 3)
    assert DataSpec.of("binary", ("no", "yes"), 3).n_logits == 1


def test_spec_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="two classes"):
        DataSpec.of("binary", ("a", "b", "c"), 1)
    with pytest.raises(ValueError, match="label_kind"):
        DataSpec.of("rank", ("a", "b"), 1)  # type: ignore[arg-type]


def test_streams_depend_on_their_path_only() -> None:
    first = stream(0, "augment", 3, 17).random(4)
    assert np.array_equal(first, stream(0, "augment", 3, 17).random(4))
    others = [
        stream(1, "augment", 3, 17),
        stream(0, "augment", 4, 17),
        stream(0, "augment", 3, 18),
        stream(0, "x", 3, 17),
    ]
    assert all(not np.array_equal(first, other.random(4)) for other in others)
    seeds = {torch_seed(0, "step", epoch, batch) for epoch in range(20) for batch in range(50)}
    assert len(seeds) == 1000 and all(0 <= seed < 2**63 for seed in seeds)


def test_suggestions() -> None:
    assert suggest("resnt18", ["resnet18", "densenet121"]) == "did you mean 'resnet18'?"
    assert suggest("zzz", ["b", "a"]) == "there are: a, b"
    assert suggest("x", []) == "there are none"
    assert "(30 in all)" in suggest("zzz", [f"option{i:02}" for i in range(30)])


def test_exit_codes_and_long_lists() -> None:
    assert (MedtrainError.exit_code, UsageError.exit_code) == (1, 2)
    error = DataError("30 bad rows:", [Problem("missing", f"row {i}", "no file") for i in range(30)], "mend them")
    lines = str(error).splitlines()
    assert lines[0] == "30 bad rows:" and lines[1] == "  row 0: no file" and lines[-1] == "mend them"
    assert lines[-2] == "  ... and 10 more" and len(error.problems) == 30
