"""Types of the keys of nodes without a `_target_`, where their packaged value does not say it all.

A key that isn't here takes values of its packaged value's type, and text where that is null. Arguments of a `_target_`
are no affair of this file: the target's own signature is their schema, so that a user's network, loss or sampler may
take what it likes.
"""

from __future__ import annotations

import functools
import typing
from typing import Annotated, Any, Literal

from medtrain.core.ranges import Above, Amount, AtLeast, AtMost, Count, FileName, Inside, Part, Share, fault

Natural = Annotated[int, AtLeast(0)]
Resolution = Annotated[float, AtLeast(0.05)]  # um/px
Text = str | None
Voxels = Count | list[Count] | None  # one number, or one an axis
Positive = Annotated[float, Above(0)]
Seed = Annotated[int, AtLeast(0), AtMost(2**32 - 1)]  # what numpy's generators take
Lengths = Positive | list[Positive] | None
Names = str | list[str] | None


class Columns:
    path: Names
    label: Names
    split: Text  # "none" is packaged too
    fold: Text


class Data:
    kind: str | list[str]  # of tasks: one, or several
    # rows
    annotations: Names
    root: Names  # several: of boxes alone
    columns: Columns
    patients: Annotated[int, AtLeast(10)]
    on_bad: Literal["error", "skip"]
    # labels
    classes: list | None
    positive: str | float | bool | None
    label_map: dict | None
    covariates: list[str] | None
    covariate_kinds: dict | None
    uncertain: Literal["ignore", "zeros", "ones"]
    blank: Literal["ignore", "zeros"]
    # parts
    folds: Annotated[int, AtLeast(2)] | None
    val_after: Annotated[int, AtLeast(1)] | None
    fold: Natural | None
    split_seed: Seed
    phantom_seed: Seed
    split_by: Literal["patient", "site"]
    leakage: Literal["error", "warn", "drop"]
    # batches
    batch_size: Count
    num_workers: Natural
    # images
    image_size: Voxels
    channels: Literal[1, 3] | None
    fit: Literal["pad", "shrink", "stretch", "crop"]
    window: str | list[float] | None
    mean: float | list[float] | None
    std: Lengths
    images_per_case: Count | None
    tile: Annotated[int, AtLeast(8)] | None
    tile_overlap: Part
    min_visible: Share
    consensus: Count
    # volumes
    spacing: Lengths
    patch_size: Voxels
    stride: Voxels
    fov: Lengths
    center: Literal["none", "volume", "foreground", "mask"]
    jitter: Share
    patches_per_volume: Count
    foreground_share: Share
    beyond: Part
    patch_label: Literal["case", "mask"]
    min_share: Share
    padding: Literal["lowest", "edge", "mirror"]
    control: Literal["constant", "noise", "image", "covariates"] | None
    # masks as labels
    label_from: Literal["table", "mask"]
    regions: dict | None
    ignore_label: Natural | None
    modality: Literal["ct", "other"] | None
    strides: list | None
    memory_gb: Positive
    features: Count
    # slides and bags
    unit: Literal["slide", "patient"]
    instances: Count
    max_instances: Count | None
    mpp: Resolution
    slide_mpp: Resolution | None
    default_mpp: Resolution | None
    magnification: Annotated[float, AtLeast(0.5)] | None
    tile_edge: Resolution | None
    tile_px: Annotated[int, AtLeast(32)]
    tile_batch: Count
    min_tissue: Share
    tissue_threshold: Share | None
    tissue_labels: str | int | list[str | int] | None
    tissue_missing: Literal["detect", "error"]
    ink: bool | list[Literal["red", "yellow", "green", "blue", "purple", "black"]]
    slide_px: Annotated[int, AtLeast(512)]


class Model:
    fusion: Literal["concat", "film", "none"]  # not the network's own argument


class Task:
    mirror: bool
    validation: Literal["whole", "patches"]
    name: Annotated[str, FileName()]
    pool: Literal["mean", "max", "noisy_or", "attention"]
    dims: Literal[2, 3]
    epochs: Count
    mixup: Amount
    merge: Inside


class Trainer:
    devices: str | Annotated[int, AtLeast(-1)] | list[Natural]
    num_nodes: Count
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", 32, 16, "32", "bf16", "16"] | None
    max_epochs: Count | None
    max_time: str | dict | None
    limit_train_batches: Amount | None
    limit_val_batches: Amount | None
    limit_test_batches: Amount | None
    accumulate_grad_batches: Count
    gradient_clip_val: Amount | None
    benchmark: bool | None


class Eval:
    tolerance: Positive
    largest_component: bool | Literal["auto"]
    split: Literal["train", "val", "test"]
    threshold: str | Share
    horizons: Positive | list[Positive] | None
    hit: Literal["iou", "centre"]
    iou: Inside
    gate_by: Literal["drop", "scale"]
    tta: Natural
    mc_dropout: Natural
    thumbnails: Natural
    bootstrap: Natural
    margin: Positive | None
    prevalence: Inside | None
    patients: Literal["mean", "max"] | None


class Explain:
    method: Literal["all", "attention", "gradcam", "occlusion", "contribution", "gradient"]
    occlusion_size: Count | list | None
    occlusion_stride: Count | list | None
    occlusion_fill: Literal["mean", "lowest"]
    region_threshold: Inside
    classes: str | list
    sanity: Natural


class Export:
    precision: Literal["fp32", "fp16"]
    opset: Count | None
    cases: Count


class Plan:
    hours: Positive
    steps: Annotated[int, AtLeast(2)]


class Sweep:
    retry: Literal["failed"] | None


class Configuration:
    seed: Seed | None
    name: Annotated[str, FileName(before="test_")] | None
    runs: Names
    data: Data
    model: Model
    task: Task
    trainer: Trainer
    eval: Eval
    explain: Explain
    export: Export
    plan: Plan
    sweep: Sweep


@functools.cache
def _keys(node: type) -> dict[str, Any]:
    return typing.get_type_hints(node, include_extras=True)


def rule(key: str) -> Any:
    """Find the annotation of a key such as ``data.columns.label``; None where it has none."""
    node: Any = Configuration
    for part in key.split("."):
        node = _keys(node).get(part) if _is_node(node) else None
    return node


def _is_node(annotation: Any) -> bool:
    """Tell whether it is a class of this file, the keys of a node."""
    return isinstance(annotation, type) and annotation.__module__ == __name__


def wrong(key: str, value: Any, shipped: Any) -> str:
    """Say in a few words what is wrong with a value of a strict node; '' if nothing.

    Args:
        key: its place, e.g. ``data.batch_size``.
        value: as YAML has it.
        shipped: the packaged value, None where that is null.
    """
    if value is None and shipped is None:
        return ""  # what the package leaves open may stay so
    annotation = rule(key)
    if annotation is None:
        annotation = Text if shipped is None else type(shipped)
    elif _is_node(annotation):
        annotation = dict
    return fault(value, annotation)
