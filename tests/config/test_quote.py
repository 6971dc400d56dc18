"""Paths as people have them come back from Hydra unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from medtrain.config.quote import quote_paths
from medtrain.core.errors import UsageError

ODD = [
    "a b", "é/ü", "x#1", "a&b", "(copy)", "k=v", "a,b", "it's", 'say "hi"', "back\\slash", "[1]", "{a}", "5", "true",
    "null_", "1e3", "~user", "a:b", "tab\tx", "ends\\", "-m", "a;b", "$HOME", "%41", "*", "?",
]  # fmt: skip


@pytest.mark.parametrize("path", ODD)
@pytest.mark.parametrize("key", ["run", "input", "data.table", "data.root", "+data.root"])
def test_round_trip(key: str, path: str) -> None:
    (token,) = quote_paths([f"{key}={path}"], multirun=False)
    (override,) = OverridesParser.create().parse_overrides([token])
    assert override.value() == path


def test_interpolations_are_refused() -> None:
    with pytest.raises(UsageError, match="interpolation"):
        quote_paths(["input=a${b}"], multirun=False)


def test_folders_of_runs_may_be_patterns() -> None:
    token = "hydra.run.dir=runs/${now:%Y}"
    assert quote_paths([token], multirun=False) == [token]


def test_commas_separate_in_a_sweep_unless_the_path_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (first,) = quote_paths(["data.table=a 1.csv,b.csv"], multirun=True)
    (override,) = OverridesParser.create().parse_overrides([first])
    assert override.is_sweep_override() and [str(v) for v in override.sweep_string_iterator()] == [
        "'a 1.csv'",
        "'b.csv'",
    ]
    (tmp_path / "a,b.csv").touch()
    (second,) = quote_paths(["data.table=a,b.csv"], multirun=True)
    (override,) = OverridesParser.create().parse_overrides([second])
    assert override.value() == "a,b.csv"


def test_other_keys_and_null_are_left_alone() -> None:
    tokens = ["data.batch_size=3", "resume=null", "data.classes=[a,b]", "data.root='a b'"]
    assert quote_paths(tokens, multirun=False) == tokens


def test_a_list_of_annotations_stays_one() -> None:
    """Each path of it is quoted, once."""
    (token,) = quote_paths(["data.annotations=[train (1).json, 'v.json']"], multirun=False)
    (override,) = OverridesParser.create().parse_overrides([token])
    assert [str(value) for value in override.value()] == ["train (1).json", "v.json"]
    (token,) = quote_paths(["data.annotations=all (1).json"], multirun=False)
    assert OverridesParser.create().parse_overrides([token])[0].value() == "all (1).json"
