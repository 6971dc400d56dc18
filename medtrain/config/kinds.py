"""What a key may hold: by default the type of its packaged value; the exceptions are listed here."""

from __future__ import annotations

from typing import Any

NUMBER = (float,)

COLUMNS = ("mask", "patient", "split", "fold", "site", "case", "x_min", "y_min", "x_max", "y_max", "width", "height")

# Keys whose packaged value is null, or that take more than their packaged value's type. null is fine for all.
TYPES: dict[str, tuple[type, ...]] = {
    "seed": (int,),
    "resume": (str,),
    "init_from": (str,),
    "run": (str,),
    "runs": (str, list),
    "input": (str,),
    "output": (str,),
    "name": (str,),
    "format": (str,),
    "data.table": (str,),
    "data.root": (str,),
    "data.file": (str,),
    "data.image_size": (int, list),
    "data.channels": (int,),
    "data.window": (str, list),
    "data.spacing": (float, list),
    "data.patch_size": (int, list),
    "data.stride": (int, list),
    "data.fov": (float, list),
    "data.mean": (float, list),
    "data.std": (float, list),
    "data.classes": (list,),
    "data.positive": (str, float, bool),
    "data.label_map": (dict,),
    "data.filter": (str,),
    "data.patient_pattern": (str,),
    "data.folds": (int,),
    "data.fold": (int,),
    "data.cache_dir": (str,),
    "data.path_format": (str,),
    "data.annotations": (str, list),
    "data.images": (str,),
    "data.tile": (int,),
    "data.columns.label": (str, list),
    "data.columns.path": (str, list),
    "data.columns.mask": (str,),
    "data.bags": (str,),
    "data.magnification": NUMBER,
    "data.tissue_threshold": NUMBER,
    "data.slide_mpp": NUMBER,
    "data.default_mpp": NUMBER,
    "data.max_instances": (int,),
    "model.hidden": (list,),
    "model.weights": (str,),
    "loss.alpha": (float, str, list),
    "sampler.length": (int,),
    "trainer.devices": (str, int, list),
    "trainer.precision": (str, int),
    "trainer.max_epochs": (int,),
    "trainer.max_time": (str, dict),
    "trainer.limit_train_batches": NUMBER,
    "trainer.limit_val_batches": NUMBER,
    "trainer.limit_test_batches": NUMBER,
    "trainer.gradient_clip_val": NUMBER,
    "trainer.benchmark": (bool,),
    "logger.mlflow.tracking_uri": (str,),
    "logger.wandb.entity": (str,),
    "compare.baseline": (str,),
    "compare.metric": (str,),
    "explain.classes": (str, list),
    "eval.threshold": (str, *NUMBER),
    "eval.prevalence": NUMBER,
    "eval.gate": (str,),
} | {f"data.columns.{c}": (str,) for c in COLUMNS}

CHOICES: dict[str, tuple[Any, ...]] = {
    "data.fit": ("pad", "shrink", "stretch", "crop"),
    "data.channels": (1, 3),
    "data.leakage": ("error", "warn", "drop"),
    "data.on_bad": ("error", "skip"),
    "data.split_by": ("patient", "site"),
    "data.center": ("none", "volume", "foreground", "mask"),
    "data.padding": ("lowest", "edge", "mirror"),
    "data.control": ("constant", "noise"),
    "data.patch_label": ("case", "mask"),
    "data.unit": ("slide", "patient"),
    "data.uncertain": ("ignore", "zeros", "ones"),
    "data.blank": ("ignore", "zeros"),
    "explain.method": ("all", "attention", "gradcam", "contribution"),
    "loss.assign": ("task_aligned", "centre"),
    "loss.box": ("ciou", "giou"),
    "loss.weights": ("inverse", "sqrt_inverse", "effective_number"),
    "eval.gate_by": ("drop", "scale"),
    "eval.split": ("train", "val", "test"),
    "model.size": ("n", "s", "m"),
    "sweep.retry": ("failed",),
    "task.pool": ("mean", "max", "noisy_or", "attention"),
    "model.norm": ("batch", "instance", "group"),
    "trainer.precision": ("32-true", "bf16-mixed", "16-mixed", 32, 16, "32", "bf16", "16"),
}

AT_LEAST: dict[str, float] = {
    "data.batch_size": 1,
    "data.num_workers": 0,
    "data.folds": 2,
    "data.fold": 0,
    "data.image_size": 1,
    "data.patients": 10,
    "data.tile": 8,
    "data.tile_overlap": 0,
    "data.min_visible": 0,
    "data.patches_per_volume": 1,
    "data.foreground_share": 0,
    "data.min_share": 0,
    "data.jitter": 0,
    "data.mpp": 0.05,
    "data.magnification": 0.5,
    "data.tile_px": 32,
    "data.tile_batch": 1,
    "data.min_tissue": 0,
    "data.slide_px": 512,
    "data.slide_mpp": 0.05,
    "data.default_mpp": 0.05,
    "data.instances": 1,
    "data.max_instances": 1,
    "eval.bootstrap": 0,
    "eval.thumbnails": 0,
    "eval.mc_dropout": 0,
    "eval.tta": 0,
    "explain.sanity": 0,
    "loss.gamma": 0,
    "loss.box_weight": 0,
    "model.most": 1,
    "model.proposals": 1,
    "model.sampled": 1,
    "model.anchors": 1,
    "model.mining_least": 1,
    "model.mining_pool": 1,
    "sampler.power": 0,
    "sampler.length": 1,
    "optimizer.lr": 0,
    "task.mixup": 0,
    "transfer.freeze_epochs": -1,
    "trainer.max_epochs": 1,
    "trainer.num_nodes": 1,
    "trainer.accumulate_grad_batches": 1,
}

_SHARES = (
    "eval.iou",
    "eval.prevalence",
    "explain.region_threshold",
    "model.overlap",
    "sampler.negatives",
    "task.merge",
)
BETWEEN: dict[str, tuple[float, float]] = dict.fromkeys(_SHARES, (0, 1))  # neither end

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a map"}


def fault(key: str, value: Any, shipped: Any) -> str:
    """What is wrong with a value, in a few words; '' if nothing.

    Args:
        key: its place, e.g. ``data.batch_size``.
        value: a plain value.
        shipped: the packaged value, None where that is null.
    """
    allowed = TYPES.get(key) or ((type(shipped),) if shipped is not None else ())
    if value is None:
        return "" if key in TYPES or shipped is None or key in CHOICES else f"null; give {_WORDS[type(shipped)]}"
    if key in CHOICES and value not in CHOICES[key]:
        return f"it can be {', '.join(str(c) for c in CHOICES[key])}"
    if allowed and not any(_is(value, kind) for kind in allowed):
        return f"{_name(value)}, where {' or '.join(dict.fromkeys(_WORDS[k] for k in allowed))} is wanted"
    if key in AT_LEAST and _is(value, float) and value < AT_LEAST[key]:
        return f"it must be at least {AT_LEAST[key]}"
    if key in BETWEEN and not BETWEEN[key][0] < value < BETWEEN[key][1]:
        return "it must lie between {} and {}".format(*BETWEEN[key])
    return ""


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(value, kind)


def _name(value: Any) -> str:
    return {str: "text", bool: "true or false", list: "a list", dict: "a map"}.get(type(value), "a number")
