"""The space of a search, from Hydra's words."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from medtrain.config import compose, space, trials, tuning
from medtrain.core.errors import UsageError
from medtrain.io.study import JOURNAL, make_sampler, mend, open_study

optuna = pytest.importorskip("optuna")


def dimension(word: str) -> space.Dimension:
    return space.dimension(OverridesParser.create().parse_overrides([word])[0])


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("a=1,b", space.Dimension("a", ("1", "b"))),
        ("a=choice(x,y,x)", space.Dimension("a", ("x", "y"))),
        ("a=interval(0,1)", space.Dimension("a", low=0.0, high=1.0)),
        ("a=int(interval(1,9))", space.Dimension("a", low=1, high=9)),
        ("a=tag(log,interval(1e-5,1e-2))", space.Dimension("a", low=1e-5, high=1e-2, log=True)),
        ("a=tag(log,int(interval(8,512)))", space.Dimension("a", low=8, high=512, log=True)),
        ("a=range(1,6,2)", space.Dimension("a", ("1", "3", "5"), 1, 5, 2)),
    ],
)
def test_words_of_hydra(word: str, wanted: space.Dimension) -> None:
    assert dimension(word) == wanted
    assert isinstance(dimension(word).low, type(wanted.low))


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("a=interval(2,1)", "nothing lies in it"),
        ("a=tag(log,interval(0,1))", "above 0"),
        ("a=tag(log,choice(1,2))", "not for a choice"),
    ],
)
def test_empty_and_senseless_spaces_are_refused(word: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        dimension(word)


@pytest.mark.parametrize(
    ("sampler", "words", "text"),
    [
        ("grid", ["a=interval(0,1)"], "a is an interval"),
        ("cmaes", ["a=1,2"], "a is no number"),
        ("gird", ["a=1,2"], "it can be tpe"),
        ("tpe", [], "nothing to search"),
    ],
)
def test_what_does_not_go_together_is_refused(sampler: str, words: list[str], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        space.refuse_misfit(sampler, [dimension(word) for word in words])


def test_fallbacks_of_samplers_are_told() -> None:
    a, b = dimension("a=interval(0,1)"), dimension("b=x,y,z")
    dependent = space.Dimension("model.c", low=0.0, high=1.0, group="model", options=("n",))
    assert space.fallbacks("tpe", [a, b, dependent], 11) == space.fallbacks("random", [a], 1) == []
    assert "first 10 trials at random, so here all of them" in space.fallbacks("tpe", [a], 10)[0]
    assert "model.c is not there in all trials, and is drawn at random" in space.fallbacks("gp", [a, dependent], 11)[0]
    assert "5 of 6 combinations" in space.fallbacks("grid", [b, dimension("c=1,2")], 5)[0]
    assert space.fallbacks("grid", [b], 3) == []


def composed(*words: str) -> compose.Composition:
    return compose.compose(["hydra/sweeper=optuna", *words], multirun=True)


def test_a_key_counts_with_the_options_that_have_it() -> None:
    composition = composed("model=resnet18,densenet121", "model.checkpointing=true,false", "seed=1,2")
    read = {d.key: d for d in compose.dimensions(composition.loader, compose.swept_words(composition))}
    assert (read["model.checkpointing"].group, read["model.checkpointing"].options) == ("model", ("densenet121",))
    assert read["seed"].group is None


@pytest.mark.parametrize("word", ["optimizer.lrr=interval(0,1)", "model.sttem=a,b", "optimizer.lr=interval(0,a)"])
def test_every_word_is_checked_before_the_first_trial(word: str) -> None:
    with pytest.raises(UsageError, match=word.partition("=")[0]):
        composed("model=resnet18,densenet121", word)


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "grid", "cmaes"])
def test_a_study_goes_on_with_other_draws(sampler: str, tmp_path: Path) -> None:
    space_ = [dimension("a=range(1,20)"), dimension("b=range(1,20)")]
    drawn = []
    for number in range(6):  # opened anew each time, as after a kill
        study = open_study(tmp_path, ["max"])
        study.sampler = make_sampler(sampler, {d.key: d.choices for d in space_}, 7, number, several=False)
        trial = study.ask()
        drawn.append(tuple(tuning.draw(trial, space_)))
        study.tell(trial, number)
    assert len(set(drawn)) >= 4
    assert [t.value for t in open_study(tmp_path, ["max"]).trials] == list(range(6))


def test_a_grid_that_is_gone_on_with_has_each_combination_once(tmp_path: Path) -> None:
    choices = {"a": ["1", "2"], "b": ["x", "y", "z"]}
    drawn = []
    for number in range(6):
        study = open_study(tmp_path, ["max"])
        study.sampler = make_sampler("grid", choices, 0, number, several=False)
        assert not study.sampler.is_exhausted(study)
        trial = study.ask()
        drawn.append(tuple(trial.suggest_categorical(key, values) for key, values in choices.items()))
        tuning.tell(study, number, trials.Outcome("finished", (0.5,)) if number else trials.Outcome("failed"))
    assert sorted(drawn) == sorted(itertools.product(*choices.values()))


def test_a_trial_that_was_half_drawn_is_drawn_to_its_end(tmp_path: Path) -> None:
    a, b = dimension("a=x,y"), dimension("b=interval(0,1)")
    study = open_study(tmp_path, ["max"])
    study.ask().suggest_categorical("a", ["x", "y"])  # killed here
    study = open_study(tmp_path, ["max"])
    known = study.trials[0]
    words = tuning.draw(optuna.trial.Trial(study, known._trial_id), [a, b])
    assert words[0] == f"a={known.params['a']}" and words[1].startswith("b=0.")
    assert open_study(tmp_path, ["max"]).trials[0].params.keys() == {"a", "b"}


def test_half_a_line_of_the_journal_is_cut_off(tmp_path: Path) -> None:
    study = open_study(tmp_path, ["max"])
    study.tell(study.ask(), 0.5)
    journal = tmp_path / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"wor')
    assert mend(tmp_path) == 17 and journal.read_bytes() == whole and mend(tmp_path) == 0
    assert [t.value for t in open_study(tmp_path, ["max"]).trials] == [0.5]


def test_other_objectives_are_another_search(tmp_path: Path) -> None:
    open_study(tmp_path, ["max"])
    with pytest.raises(UsageError, match="other objectives"):
        open_study(tmp_path, ["min"])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["n_trials=0"], "whole number from 1"),
        (["parallel=0"], "whole number from 1"),
        (["timeout=0"], "above 0"),
        (["seed=-1"], "from 0 on"),
        (["pruner=medain"], "none, median, hyperband"),
        (["objectives={val_auroc:max,val_loss:min}", "pruner=median"], "no order to prune by"),
        (["objectives={val_auroc:max,val_loss:min}", "sampler=cmaes"], "for one objective"),
        (["objectives={val_auroc:up}"], "write"),
        (["inner_folds=true"], "needs data.folds"),
        (["inner_folds=true", "+data.folds=2"], "from 3 on"),
        (["inner_folds=true", "+data.folds=3", "pruner=median"], "no epochs to compare"),
        (["inner_folds=true", "+data.folds=3", "+data.val_after=1"], "sets it, to all in turn"),
        (["inner_folds=yes_please"], "true or false"),
        (["objectives={test_auroc:max}"], "test_auroc is none"),
        (["objectives={wall_time_s:min}", "pruner=median"], "not known after each epoch"),
    ],
)
def test_keys_that_cannot_be_are_refused_before_the_first_trial(words: list[str], text: str) -> None:
    composition = composed(
        "optimizer.lr=interval(1e-5,1e-3)",
        *(word.lstrip("+") if word[0] == "+" else f"hydra.sweeper.{word}" for word in words),
    )
    with pytest.raises(UsageError, match=text):
        trials.check(composition.cfg, [dimension("optimizer.lr=interval(1e-5,1e-3)")])
