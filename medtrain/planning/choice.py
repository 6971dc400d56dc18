"""A choice with its reason, and the flowchart as the list of rules that make them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from medtrain.planning.facts import Facts
from medtrain.planning.limits import FEWEST_EPOCHS, MOST_VIEWING


@dataclass(frozen=True)
class Choice:
    """A key to set, and why.

    Args:
        key: of the configuration, such as ``data.image_size``, or a group, such as ``model``.
        value: as YAML has it.
        reason: with the measured fact behind it.
        goes_with: groups whose options it was chosen for, and that no rule chooses, or others than the key's own: a
            rate for a network.
    """

    key: str
    value: Any
    reason: str
    goes_with: Collection[str] = ()


Rule = Callable[[Facts], "Choice | list[Choice] | None"]
AnyRule = TypeVar("AnyRule", bound=Rule)
RULES: list[tuple[frozenset[str], Rule]] = []


def rule(*kinds: str) -> Callable[[AnyRule], AnyRule]:
    """Add a rule for data of these kinds to the flowchart."""

    def add(function: AnyRule) -> AnyRule:
        RULES.append((frozenset(kinds), function))
        return function

    return add


def choose(kind: str, facts: Facts) -> list[Choice]:
    """Walk the flowchart for data of a kind."""
    made = [function(facts) for kinds, function in RULES if kind in kinds]
    return [choice for some in made if some for choice in (some if isinstance(some, list) else [some])]


def fitting(choices: Iterable[Choice], given: Collection[str]) -> dict[str, Choice]:
    """Leave out what was chosen for a group of which the person has chosen an option, or above a key that they set.

    Args:
        given: keys and groups that the person has set.

    Returns:
        {key: choice}; a later one of a key counts. What is given itself stays, so that it can be told.
    """
    listed = list(choices)
    theirs = {choice.key for choice in listed if "." not in choice.key} & set(given)
    return {choice.key: choice for choice in listed if "." not in choice.key or _serves(choice, theirs, given)}


def _serves(choice: Choice, theirs: Collection[str], given: Collection[str]) -> bool:
    """Tell whether the choice of a key still makes sense beside groups and keys that the person has set."""
    beneath = any(key.startswith(f"{choice.key}.") for key in given)
    return choice.key.partition(".")[0] not in theirs and not beneath and not set(choice.goes_with) & set(given)


def folds_or_time(planned: int, epoch: float, rest: float, folds: int, hours: float) -> str:
    """Say why one split is trained rather than folds that would hardly learn; '' where they do, or it doesn't either.

    Args:
        planned, epoch, rest, hours: as of `fit_to_time`.
        folds: that would be trained.
    """
    left, alone = _epochs_in(hours / folds, epoch, rest), min(planned, _epochs_in(hours, epoch, rest))
    if left >= FEWEST_EPOCHS * planned or alone <= left:
        return ""
    short = f"{folds} folds would leave {left} of {planned} epochs each, plan.hours={hours:g}"
    return f"check: {short}; one split has up to {alone}"


def _epochs_in(hours: float, epoch: float, rest: float) -> int:
    return max(1, int((hours * 3600 - rest) / max(epoch, 1e-9)))


def fit_views_to_time(views: float, trainings: int, hours: float) -> Choice | None:
    """Test by one view of a case, where several would take the time that training needs.

    Args:
        views: seconds of the test that more views than one take, measured.
        trainings, hours: as of `fit_to_time`.
    """
    took = trainings * views / 3600
    if took <= MOST_VIEWING * hours:
        return None
    return Choice("eval.tta", 0, f"eight more looks in the test would take {took:.1f} h, plan.hours={hours:g}")


def fit_to_time(planned: int, epoch: float, rest: float, trainings: int, hours: float) -> Choice | None:
    """Shorten a training that would take longer than the time there is.

    Args:
        planned: epochs.
        epoch: its seconds, measured.
        rest: seconds of a training that do not depend on the epochs.
        trainings: one, or one a fold, one after the other.
        hours: there are.

    Returns:
        None where they suffice; the reason is marked as one to be read where fewer than half of the epochs are left.
    """
    room = _epochs_in(hours / trainings, epoch, rest)
    if room >= planned:
        return None
    whole = trainings * (planned * epoch + rest) / 3600
    mark = "check: " * (room < planned / 2)
    return Choice("trainer.max_epochs", room, f"{mark}{planned} epochs would take {whole:.1f} h, plan.hours={hours:g}")
