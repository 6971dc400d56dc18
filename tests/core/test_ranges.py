"""What annotations say of plain values, and of calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Protocol, TypedDict, Union

import pytest
import torch

from medtrain.core.errors import UsageError
from medtrain.core.ranges import (
    Above,
    Amount,
    AtLeast,
    AtMost,
    Below,
    Between,
    Count,
    Degrees,
    Inside,
    Part,
    Share,
    checked,
    fault,
    hints,
)

NAN, INF = float("nan"), float("inf")


class Colour(Enum):
    RED = "red"


class Settings(TypedDict):
    size: int


class Closeable(Protocol):
    def close(self) -> None: ...


FITS: list[tuple[Any, Any]] = [
    (1, int), (1, float), (1.5, float), (-1, float), ("a", str), (True, bool), ([1], list), ({"a": 1}, dict),
    (None, int | None), (None, Literal["a"] | None),
    (None, Optional[int]), (1, Optional[int]), (1e-3, Union[float, torch.Tensor]),  # noqa: UP007, UP045
    ("n", Literal["n", "s", "m"]), (3, Literal[1, 3]), ("auto", float | Literal["auto"]),
    (0.5, float | Literal["auto"]),
    (0, Amount), (0, Share), (1, Share), (0, Part), (0.999, Part), (0.5, Inside), (1, Count), (360, Degrees),
    (None, Annotated[int, AtLeast(1)] | None), (2, Annotated[int, AtLeast(1)] | None),
    ([1, 2.5], list[float]), ([], list[int]), ([1, 2], Sequence[int]),
    ([0.9, 0.999], tuple[float, float]), ([1, 1], tuple[int, int, int, int]),
    ([1, 2, 3], tuple[int, ...]), ({"days": 1}, dict[str, int]),
    ({"a": "x"}, Mapping[str, str]), ([[1]], list[list[int]]),
    (0.1, float | torch.Tensor), ("cpu", str | torch.device),
    # what a YAML can't hold is the function's own affair
    ("x", torch.Tensor), (3, torch.nn.Module), ("x", torch.dtype | None), ("red", Colour), ("red", Colour | int),
    ("x", Callable[[int], int]), ("x", Callable[[int], int] | float), ("a", Path), ("x", Any), (object, object),
    ("x", Closeable | int), ({"size": 1}, Settings | int), (5, type[int]), ("x", "not resolved"),
    # what is still to be replaced or built
    ("${task.monitor}", int), ({"_target_": "torch.nn.Linear"}, float), ([{"_target_": "a.B"}], list[int]),
]  # fmt: skip


@pytest.mark.parametrize(("value", "annotation"), FITS, ids=str)
def test_fits(value: Any, annotation: Any) -> None:
    assert fault(value, annotation) == ""


REFUSED: list[tuple[Any, Any, str]] = [
    (True, int, "true or false, where a whole number is wanted"),
    (True, float, "true or false, where a number is wanted"),
    (1, bool, "a number, where true or false is wanted"),
    (1.5, int, "a number, where a whole number is wanted"),
    (2.0, int, "a number, where a whole number is wanted"),
    ("3", int, "text, where a whole number is wanted"),
    ("fast", float | torch.Tensor, "text, where a number is wanted"),
    (3, str, "a number, where text is wanted"),
    (3, str | list[str] | None, "a number, where text or a list is wanted"),
    (None, int, "null, where a whole number is wanted"),
    (None, Literal["a", "b"], "it can be a, b"),
    ([1], float, "a list, where a number is wanted"),
    ({"a": 1}, float | None, "a map, where a number is wanted"),
    ("abc", Sequence[str], "text, where a list is wanted"),
    (64, Literal["n", "s", "m"], "it can be n, s, m"),
    (True, Literal[1, 3], "it can be 1, 3"),
    ("atuo", float | Literal["auto"] | list[float] | None, "it can be auto, or a number or a list"),
    (-1, Amount, "it must be at least 0"),
    (NAN, Amount, "it must be at least 0"),
    (0, Count, "it must be at least 1"),
    (0, Annotated[int, AtLeast(1)] | None, "it must be at least 1"),
    (0, Annotated[float, Above(0)], "it must be above 0"),
    (361, Degrees, "it must be at most 360"),
    (10, Annotated[float, AtLeast(0), Below(10)], "it must be below 10"),
    (1, Inside, "it is not between 0 and 1"),
    (0, Annotated[float, Between(0, 1)] | None, "it is not between 0 and 1"),
    (1.5, Share, "it must be a share: at least 0 and at most 1"),
    (1.0, Part, "it must be a share: at least 0 and below 1"),
    (INF, Annotated[float, AtMost(5)], "it must be at most 5"),
    ([1, "x"], list[float], "x in it: text, where a number is wanted"),
    ([8, 0], list[Count], "0 in it: it must be at least 1"),
    ([1, True], list[int], "True in it: true or false, where a whole number is wanted"),
    ([None], list[int], "None in it: null, where a whole number is wanted"),
    (["a", 2], tuple[str, str], "2 in it: a number, where text is wanted"),
    ({"a": 1}, dict[str, str], "1 in it: a number, where text is wanted"),
    ([8, 32, 5], Sequence[Literal[8, 16, 32]], "5 in it: it can be 8, 16, 32"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "annotation", "text"), REFUSED, ids=str)
def test_refused(value: Any, annotation: Any, text: str) -> None:
    assert fault(value, annotation) == text


def test_one_name_that_cannot_be_resolved_hides_no_other() -> None:
    def build(size: int, net: Nowhere, names: Sequence[str] = ()) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Annotated as people do for type checkers."""

    assert hints(build) == {"size": int, "names": Sequence[str], "return": type(None)}


def test_a_class_is_called_by_its_init() -> None:
    assert hints(torch.optim.AdamW)["eps"] is float


def test_a_checked_call_refuses_values_not_types() -> None:
    @checked("loss")
    def build(labels: Any, gamma: Amount = 2.0, mode: Literal["a", "b"] = "a", n: Count = 1) -> tuple[Any, ...]:
        """Return what came."""
        return labels, gamma, mode, n

    assert build([1], 0, "b", n=3.5) == ([1], 0, "b", 3.5)  # type: ignore[arg-type]
    assert build([1], torch.tensor(-1.0))[1] == -1  # type: ignore[arg-type]
    with pytest.raises(UsageError) as error:
        build([1], -1.0, mode="c")  # type: ignore[arg-type]
    assert str(error.value) == "loss.gamma=-1.0: it must be at least 0\nloss.mode=c: it can be a, b"
    with pytest.raises(TypeError, match="labels"):
        build()  # type: ignore[call-arg]
    assert build.__name__ == "build" and build.__doc__ == "Return what came."
