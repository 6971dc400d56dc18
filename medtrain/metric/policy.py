"""The grammar of `eval.threshold`: a number, a rule by name, or NAME@X; read in one place for every target."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from medtrain.core.errors import UsageError

SURE = "+"  # after a share: the lower end of its interval has to reach it


class Parsed(NamedTuple):
    """A policy that was read.

    Args:
        name: ``fixed``, a rule, or what has to reach `value`.
        value: the threshold that is fixed, or what has to be reached; NaN for a rule.
        sure: the lower end of the 95 % interval has to reach it, not the value in the validation data.
    """

    name: str
    value: float = math.nan
    sure: bool = False


@dataclass(frozen=True)
class Grammar:
    """The policies that a target takes, beside a number from 0 to 1.

    Args:
        rules: names alone.
        shares: NAME@X with 0 < X <= 1, or NAME@X+.
        rates: NAME@X with X > 0.
    """

    rules: Sequence[str]
    shares: Sequence[str]
    rates: Sequence[str] = ()

    def parse(self, policy: str | float) -> Parsed:
        """Read a policy.

        Raises:
            UsageError: it is none of these.
        """
        text = str(policy).strip()
        if text in self.rules:
            return Parsed(text)
        named = re.fullmatch(r"(\w+)@([0-9.]+(?:e-?\d+)?)(\+?)", text)
        try:
            read = Parsed(named[1], float(named[2]), bool(named[3])) if named else Parsed("fixed", float(text))
        except ValueError:
            read = Parsed("")
        most = {"fixed": 1.0, **dict.fromkeys(self.shares, 1.0), **dict.fromkeys(self.rates, math.inf)}.get(read.name)
        least = 0.0 if read.name == "fixed" else math.nextafter(0, 1)
        sure = not read.sure or (read.name in self.shares and read.value < 1)
        if isinstance(policy, bool) or most is None or not least <= read.value <= most or not sure:
            raise UsageError(f"eval.threshold={policy} is not {self.allowed}.")
        return read

    @property
    def allowed(self) -> str:
        """Say which policies there are."""
        named = [*self.rules, *(f"{name}@X" for name in (*self.shares, *self.rates))]
        limits = "0 < X <= 1" + "".join(f", of {name} X > 0" for name in self.rates)
        if not named[1:]:
            return f"a number from 0 to 1 or {named[0]}"
        example = f"{self.shares[0]}@0.95"
        return (
            f"a number from 0 to 1, {', '.join(named[:-1])} or {named[-1]} with {limits} "
            f"(such as {example}; {example}{SURE}: the lower end of its interval reaches it)"
        )


PROBABILITIES = Grammar(("youden",), ("sensitivity", "specificity"))
RISKS = Grammar(("best",), ())  # a number is a quantile of the validation cases' risks
BOXES = Grammar(("f1",), ("sensitivity",), ("fp_per_image",))
parse_policy = PROBABILITIES.parse
parse_box_policy = BOXES.parse
