"""DataSpec: what a model must know of the data, taken from the data once and stored with the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

LabelKind = Literal["binary", "multiclass", "multilabel", "boxes"]


@dataclass(frozen=True)
class DataSpec:
    """The shape of a data set's inputs and labels.

    Args:
        label_kind: what one case's label is.
        classes: class names in order; of a binary problem the last is the positive one.
        channels: input channels (features an instance for bags).
        size: spatial size in pixels or voxels, (H, W) or (D, H, W); empty for bags.
        spacing: mm per voxel (or um per pixel) in the order of `size`, where the data are resampled to one.
        mean, std: one value a channel, in units of inputs scaled to 0..1.
        boxes: widths and heights of training boxes in pixels of `size`, each standing for as many, for anchors
            (`medtrain.core.anchors`); empty where labels are no boxes.
    """

    label_kind: LabelKind
    classes: tuple[str, ...]
    channels: int
    size: tuple[int, ...] = ()
    spacing: tuple[float, ...] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    boxes: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.label_kind not in get_args(LabelKind):
            raise ValueError(f"label_kind {self.label_kind!r} is none of {get_args(LabelKind)}")
        if self.label_kind == "binary" and len(self.classes) != 2:
            raise ValueError(f"a binary problem has two classes, not {list(self.classes)}")

    @property
    def dims(self) -> int:
        """Spatial dimensions: 2, 3, or 0 for bags."""
        return len(self.size)

    @property
    def n_logits(self) -> int:
        """Width of the head: one logit for a binary problem, else one a class."""
        return 1 if self.label_kind == "binary" else len(self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as JSON and `weights_only` checkpoints take them."""
        return {k: _lists(v) for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> DataSpec:
        return cls(**{k: _tuples(v) for k, v in plain.items()})


def _lists(value: Any) -> Any:
    return [_lists(v) for v in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
