"""Cases of several rows: what is listed and read row by row, put together by data.columns.case or by patient."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from medtrain.core.errors import UsageError
from medtrain.data.files import Files, of_cases
from medtrain.data.rows.manifest import Manifest
from medtrain.data.rows.members import Members, apart, together
from medtrain.data.settings import case_column, skips


class SeveralRows:
    """The part of `medtrain.data.base.Data` that makes cases of rows.

    Attributes:
        several: may a case have several rows?
        cfg: the data node, with ``of_cases`` where data.columns.case puts rows together.

    Known after `put_together`:
        listed_rows: the manifest of what is read.
        members: positions in it of the rows of each case of the manifest of cases.
    """

    several: ClassVar[bool] = False
    cfg: Mapping[str, Any]
    fixed: Any
    group_by: Sequence[str]
    members: Members
    listed_rows: Manifest

    def with_grouping(self, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """Add to a data node whether rows of one case are put together."""
        return {**cfg, "of_cases": self.several and case_column(cfg) is not None}

    @property
    def grouping(self) -> str | None:
        """Say whose rows are one case, ``case`` or ``patient``; None where each row is its own."""
        return "case" if self.cfg["of_cases"] else None

    def put_together(self, manifest: Manifest) -> Manifest:
        """Make cases of arranged rows.

        Raises:
            UsageError: rows of one case are wanted together, which such data don't have.
        """
        self.listed_rows, self.members = manifest, [[n] for n in range(len(manifest))]
        if self.grouping is None:
            self._refuse_several(manifest)
            return manifest
        known = [column.name for column in self.fixed.spec.covariates] if self.fixed.spec else []
        beside = [*(known or self.cfg.get("covariates") or ()), *self.group_by]
        cases, self.members = together(manifest, self.grouping, beside, skips(self.cfg))
        if manifest.target is None and self.grouping == "case":
            cases.warnings += apart(manifest, self.cfg)
        return cases

    def _refuse_several(self, manifest: Manifest) -> None:
        name, again = case_column(self.cfg), pd.Series(manifest.case, dtype=object).duplicated(keep=False).to_numpy()
        if name is None or self.several or not again.any():
            return
        first = int(np.argmax(again))
        raise UsageError(
            f"data.columns.case={name}: {again.sum():,} rows share their case with others, the first in "
            f"{manifest.where[first]} ({manifest.case[first]!r}): only images and bags have several rows a case; make "
            "it one row each, or data.columns.case=none"
        )

    @abstractmethod
    def read(self, manifest: Manifest, everything: bool = False) -> Files:
        """Read the files behind the rows of a source, or find them in a store.

        Args:
            everything: what batches don't need, such as masks, too.
        """

    def opened(self, cases: Manifest, everything: bool = False) -> Files:
        """Read the files behind cases, as `read` does those of rows."""
        read = self.read(self.listed_rows, everything)
        return read if self.grouping is None else of_cases(read, self.listed_rows, cases, self.members, skips(self.cfg))
