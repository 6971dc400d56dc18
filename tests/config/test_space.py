"""The space of a search, from Hydra's words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from medtrain.config import compose, space, tuning
from medtrain.core.errors import UsageError

pytest.importorskip("optuna")


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
        study = tuning.open_study(tmp_path, "max")
        study.sampler = tuning.make_sampler(sampler, space_, number, several=False)
        trial = study.ask()
        drawn.append(tuple(tuning.draw(trial, space_)))
        study.tell(trial, number)
    assert len(set(drawn)) >= 4
    assert [t.value for t in tuning.open_study(tmp_path, "max").trials] == list(range(6))


def test_a_trial_that_was_half_drawn_is_not_run_with_the_default_of_the_rest() -> None:
    a, b = dimension("a=x,y"), dimension("b=interval(0,1)")
    of_x = space.Dimension("a.z", ("1", "2"), group="a", options=("x",))
    assert tuning.drawn_words({"a": "y", "b": 0.5}, [a, b, of_x]) == ["a=y", "b=0.5"]
    assert tuning.drawn_words({"a": "x", "b": 0.5}, [a, b, of_x]) is None
    assert tuning.drawn_words({"a": "y"}, [a, b]) is None
