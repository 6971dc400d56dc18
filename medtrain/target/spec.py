"""DataSpec: what a model must know of the data, taken from the data once and stored with the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from medtrain.core.covariates import Covariate
from medtrain.target.base import Target
from medtrain.target.find import target_from, target_of


@dataclass(frozen=True)
class DataSpec:
    """The shape of a data set's inputs, and what is predicted of them.

    Args:
        target: what is predicted of a case.
        channels: input channels (features an instance for bags).
        size: spatial size in pixels or voxels, (H, W) or (D, H, W); empty for bags.
        spacing: mm per voxel (or um per pixel) in the order of `size`, where the data are resampled to one.
        mean, std: one value a channel, in units of inputs scaled to 0..1.
        boxes: widths and heights of training boxes in pixels of `size`, each standing for as many, for anchors
            (`medtrain.core.anchors`); empty where there are no boxes.
        strides: by which each stage of a network shrinks its input along D, H, W, where that is planned.
        intensity: low and high to which values are clipped, mean and standard deviation, a channel each; empty where
            they are scaled otherwise.
        covariates: columns of the table beside the input; none as a rule.
        directed: axes (0, 1, 2 of D, H, W) along which classes stand in one order, so that a mirror image is no case.
        spacings: of an ensemble, all at which a member sees the cases; empty where that is `spacing` alone.
    """

    target: Target
    channels: int
    size: tuple[int, ...] = ()
    spacing: tuple[float, ...] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    boxes: tuple[tuple[float, float], ...] = ()
    strides: tuple[tuple[int, int, int], ...] = ()
    intensity: tuple[tuple[float, float, float, float], ...] = ()
    covariates: tuple[Covariate, ...] = ()
    spacings: tuple[tuple[float, ...], ...] = ()
    directed: tuple[int, ...] = ()

    @classmethod
    def of(cls, kind: str, classes: Sequence[str], *inputs: Any, **more: Any) -> DataSpec:
        """Make a spec by the name of the target's kind and its classes; the other arguments are the fields'."""
        return cls(target_of(kind)(tuple(classes)), *inputs, **more)

    @property
    def classes(self) -> tuple[str, ...]:
        """Name the target's classes in order."""
        return self.target.classes

    @property
    def dims(self) -> int:
        """Count the spatial dimensions: 2, 3, or 0 for bags."""
        return len(self.size)

    @property
    def n_logits(self) -> int:
        """Count the outputs of a network: the width of its head."""
        return self.target.n_outputs

    def to_dict(self) -> dict[str, Any]:
        """Give plain lists, numbers and strings, as JSON and `weights_only` checkpoints take them."""
        inputs = {f.name: _lists(getattr(self, f.name)) for f in fields(self) if f.name != "target"}
        return self.target.to_dict() | inputs | {"covariates": [column.to_dict() for column in self.covariates]}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> DataSpec:
        """Read what `to_dict` gave."""
        names = {f.name for f in fields(cls)} & plain.keys()
        inputs = {name: _tuples(plain[name]) for name in names}
        beside = tuple(Covariate.from_dict(column) for column in plain.get("covariates") or ())
        return cls(target_from(plain), **{**inputs, "covariates": beside})


def _lists(value: Any) -> Any:
    return [_lists(v) for v in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
