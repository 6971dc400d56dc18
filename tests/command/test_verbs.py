"""The table of verbs: each is found by its name, and its file offers what its entry says."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

import pytest

from medtrain.cli import main
from medtrain.core.errors import UsageError
from medtrain.core.verb import Origin, Place, Verb
from medtrain.verbs import VERBS, look_up

CARRIED_OUT = [name for name, verb in VERBS.items() if verb.ready and not verb.stands_for]
ARGUMENTS = {Place.NONE: 1, Place.RUN: 2, Place.BESIDE: 2, Place.BESIDE_LATER: 2, Place.WITHIN: 2, Place.PASSING: 2}


def test_a_verb_is_found_by_its_name() -> None:
    assert all(look_up(name) is verb and verb.name == name for name, verb in VERBS.items())
    with pytest.raises(UsageError, match="'trian': no such verb; did you mean 'train'"):
        look_up("trian")


@pytest.mark.parametrize("name", CARRIED_OUT)
def test_its_file_offers_what_its_entry_says(name: str) -> None:
    verb = VERBS[name]
    assert verb.command.__name__ == f"medtrain.command.{name}"
    parameters = inspect.signature(verb.command.main).parameters
    assert len(parameters) == ARGUMENTS[verb.place]
    assert hasattr(verb.command, "place") == (verb.place is Place.WITHIN)


def test_what_stands_for_another_is_no_file() -> None:
    for verb in VERBS.values():
        if verb.stands_for:
            assert VERBS[verb.stands_for].ready
            assert importlib.util.find_spec(f"medtrain.command.{verb.name}") is None


def test_only_verbs_with_a_folder_run_as_several_processes() -> None:
    assert not [verb.name for verb in VERBS.values() if verb.ranks and verb.place is Place.NONE]


def test_a_verb_is_one_file_and_one_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is neither written nor listed elsewhere: not in cli, launch or config."""
    monkeypatch.chdir(tmp_path)
    toy, places = ModuleType("toy"), list[Path]()
    toy.main = lambda cfg, folder: places.append(folder) or print(cfg.verb, cfg.seed, folder.is_dir())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy", toy)
    monkeypatch.setitem(VERBS, "toy", Verb("toy", "plays", ("", ""), module="toy", place=Place.BESIDE))
    assert main(["toy", "seed=3"]) == 0
    assert capsys.readouterr().out == "toy 3 True\n"
    assert places[0].name.endswith("_toy") and (places[0] / "config.yaml").is_file()
    monkeypatch.setitem(VERBS, "toy", Verb("toy", "plays", ("", ""), module="toy", place=Place.PASSING))
    assert main(["toy", "seed=4"]) == 0
    assert capsys.readouterr().out == "toy 4 True\n" and not places[1].exists()
    assert main(["-m", "toy", "seed=4,5"]) == 2
    assert "toy: no sweep of it" in capsys.readouterr().err
    monkeypatch.setitem(VERBS, "toy", Verb("toy", "plays", ("", ""), module="toy", origin=Origin.RUN))
    assert main(["toy", "seed=4"]) == 2
    assert "toy needs run=DIR" in capsys.readouterr().err
