"""The flowchart of the field as rules, read from top to bottom: a fact in, a choice with its reason out.

Each rule is a function of `Facts` for some kinds of data (`data.kind`). It gives what to set and why, or nothing where
the defaults do. What a rule takes for granted is a number with a name in `medtrain.planning.limits`.
"""

from __future__ import annotations

import math

from medtrain.planning import limits
from medtrain.planning.choice import Choice, rule
from medtrain.planning.facts import Facts
from medtrain.planning.interval import what_the_test_says
from medtrain.planning.sizes import (
    batch_size,
    box_pixels,
    box_side,
    film_network,
    patch_size,
    small,
    smallest_box,
    telling,
)
from medtrain.report.words import count

ALL = ("image", "volume", "bag", "boxes", "mask")


@rule(*ALL)
def loss(facts: Facts) -> Choice | None:
    """Take the usual loss of what is predicted; of few cases a batch, times by intervals rather than by risk sets."""
    if not facts.loss:
        return None
    events = sum(row["patients"] for row in facts.events.get("train", {}).values())
    if facts.events and events >= limits.FEW_TIMES:
        why = f"{events:,} events to train on; Cox's risk sets would be those of a batch, intervals need none"
        return Choice("loss", "hazards", why)
    if facts.events:
        why = f"{events:,} events to train on: fewer than ten intervals need; risk sets are those of a batch"
        return Choice("loss", facts.loss, why)
    return Choice("loss", facts.loss, f"what is predicted is {facts.target}" + f" in {facts.unit}" * bool(facts.unit))


@rule(*ALL)
def folds(facts: Facts) -> Choice | None:
    """Test every case once where one test split would say too little, and so many trainings are worth it."""
    if facts.own_folds and not facts.official:
        number = len(facts.own_folds)
        return Choice("data.folds", number, f"each of the data's own {number} parts is tested once")
    if facts.official or not facts.cases.get("test") or facts.train >= limits.MANY:
        return None
    name, events = facts.rarest("test")
    tested, needed = (events, limits.FEW_EVENTS) if name else (facts.patients.get("test", 0), limits.FEW_TESTED)
    whole = facts.rarest(*facts.cases)[1] if name else sum(facts.patients.values())
    if tested >= needed or whole < 2 * limits.FOLDS:
        return None
    return Choice(
        "data.folds", limits.FOLDS, f"{what_the_test_says(facts, 1)}; {what_the_test_says(facts, limits.FOLDS)}"
    )


@rule("image", "volume", "bag")
def sites(facts: Facts) -> Choice | None:
    """Break the results down by site: a model may know a site by its look."""
    few = facts.sites <= limits.MOST_SITES
    what = "figures of each" if few else "too many to read figures of each"
    why = f"{facts.sites} sites: {what}; data.split_by=site would test on sites that were never seen"
    return Choice("eval.groups", ["site"] * few, why) if facts.sites > 1 else None


@rule("image")
def colours(facts: Facts) -> Choice | None:
    """Keep colours where pictures have them."""
    if facts.coloured <= limits.COLOURED:
        return None
    return Choice("data.channels", 3, f"{facts.coloured:.0%} of the pictures have colours, by some that were looked at")


@rule("image")
def image_size(facts: Facts) -> Choice | None:
    """Look at films at the size that they have, as far as the machine allows."""
    if len(facts.size) != 2:
        return None
    side = min(facts.size)
    if side <= limits.SMALL:
        size = [int(n) for n in facts.size] if facts.size[0] != facts.size[1] else int(side)
        return Choice("data.image_size", size, f"{facts.noun} have {side:.0f} px a side: no more is in them")
    side = max(facts.size)  # which is what fits in, the shorter one is padded
    most = 320 if facts.machine.gpu else 224 if facts.train < 5000 else 128
    size = max(size for size in limits.SIZES if size <= min(side, most))
    why = f"{facts.noun} of {side:.0f} px; {facts.machine.words} for {facts.train:,} to train on"
    return Choice("data.image_size", size, why)


@rule("boxes")
def box_image_size(facts: Facts) -> Choice | None:
    """Show the smallest lesions as large as a detector needs them."""
    if not len(facts.boxes) or len(facts.size) != 2:
        return None
    size, side = box_side(facts), max(facts.size)
    shape = [min(size, 32 * math.ceil(n * size / side / 32)) for n in facts.size]
    shown = f"here {box_pixels(facts):.0f} px of the network's input"
    why = f"images of {side:.0f} px, one box in twenty below {smallest_box(facts):.0f} px: {shown}"
    return Choice("data.image_size", size if shape[0] == shape[1] else shape, why)


@rule("image")
def image_network(facts: Facts) -> Choice:
    """Take a network that the machine trains in time and the cases can fill."""
    why = f"{facts.noun} of {min(facts.size):.0f} px" if small(facts) else facts.machine.words
    return Choice("model", film_network(facts), f"{why}, {facts.trained} to train on")


@rule("image")
def weights(facts: Facts) -> list[Choice]:
    """Start from weights of other pictures where there are few, if the machine has them, and change them slowly."""
    if small(facts) or facts.train >= limits.MANY:
        return []
    name = film_network(facts)
    if name not in facts.weights:
        why = f"none of {name} lie here; where this machine may fetch them, IMAGENET1K_V1 helps {facts.trained}"
        return [Choice("model.weights", "none", why)]
    slowly = "a tenth of what fresh weights take, or these are washed out"
    return [
        Choice("model.weights", facts.weights[name], f"{facts.trained} to train on; they lie here already"),
        Choice("optimizer.lr", 1e-4, slowly, ("model", "optimizer")),
    ]


@rule("boxes")
def detector(facts: Facts) -> list[Choice]:
    """Take a detector that the machine trains in time, with maps fine enough for the smallest lesions."""
    if facts.machine.gpu:
        return [Choice("model", "faster_rcnn", f"{facts.machine.words}")]
    learned = "what yolo from scratch learned best with on validation images of blood cells"
    chosen = [
        Choice("model", "yolo", f"{facts.machine.words}: the quickest one, without anchors"),
        Choice("optimizer.lr", 0.002, learned, ("model", "optimizer")),
        Choice("optimizer.weight_decay", 0.05, learned, ("model", "optimizer")),
    ]
    if 0 < box_pixels(facts) < limits.TINY_BOX:
        why = "a map of stride 4 too, for lesions of a few pixels; it takes about twice the time"
        chosen.append(Choice("model.strides", [4, 8, 16, 32], why))
    return chosen


@rule("volume")
def spacing(facts: Facts) -> Choice | None:
    """Bring volumes to one spacing, the one that half of them have."""
    if len(facts.spacing) != 3:
        return None
    value = [round(float(step), 3) for step in facts.spacing]
    return Choice("data.spacing", value, "the median spacing, so that a voxel means the same in all volumes")


@rule("volume")
def same_extent(facts: Facts) -> list[Choice]:
    """Give all inputs one extent, around the middle of a case, where theirs gives the class away."""
    if not telling(facts) or len(facts.least_extent) != 3:
        return []
    value = [math.floor(10 * mm) / 10 for mm in facts.least_extent]
    deep = value[0] / facts.spacing[0] if len(facts.spacing) == 3 else math.inf
    thin = deep < limits.THIN
    tells = f"{telling(facts)} alone tells the classes apart: no more than all volumes show"
    return [
        Choice("data.fov", value, tells),
        Choice("data.center", "volume", "one input a case, around its middle: a grid would show its extent"),
        Choice("data.patches_per_volume", 1, "the middle is one input"),
        *(Choice(f"augment.{key}", 0.0, f"{deep:.0f} sections are seen") for key in ("tilt", "blur") if thin),
    ]


@rule("volume")
def patch(facts: Facts) -> Choice | None:
    """Take patches no larger than most volumes are; say so where a case is many of them."""
    if len(facts.size) != 3 or telling(facts):
        return None
    size = patch_size(facts)
    why = f"volumes of {' x '.join(f'{n:.0f}' for n in facts.size)} voxels (median), in whole steps of 8"
    many = math.prod(math.ceil(n / side) for n, side in zip(facts.size, size, strict=True))
    if many >= limits.MANY_PATCHES:
        why = (
            f"check: {why}: a case is judged by about {many:,} patches, each of which learns the label of the whole: a "
            "coarser data.spacing shows more at once, data.center=mask or data.crop_foreground=true where to look"
        )
    return Choice("data.patch_size", size, why)


@rule("volume")
def window(facts: Facts) -> Choice | None:
    """Show Hounsfield units on one scale, rather than each volume on its own."""
    if len(facts.grey) != 2:
        return None
    low, high = max(facts.grey[0], limits.WINDOW[0]), min(facts.grey[1], limits.WINDOW[1])
    value = [10 * math.floor(low / 10), 10 * math.ceil(high / 10)]
    return Choice("data.window", value, "CT: one scale for all volumes, beyond which lies one voxel in a hundred")


@rule("mask")
def mask_network(facts: Facts) -> Choice:
    """Take the plain U-Net; spacing, patches, strides and batches are planned from the training cases, as nnU-Net's."""
    why = f"{facts.trained} to train on; spacing, patches, strides, batches: the plan below"
    return Choice("model", "unet_3d", why)


@rule("volume")
def volume_network(facts: Facts) -> Choice:
    """Take a 3D network that so many cases can fill."""
    name = "resnet18_3d" if facts.machine.gpu and facts.train >= 300 else "resnet10_3d"
    return Choice("model", name, f"{facts.machine.words}, {facts.trained} to train on")


@rule("bag")
def bag_network(facts: Facts) -> Choice:
    """Pool by attention, which says what it looked at; a bag of one instance has nothing to pool."""
    low, middle, high = facts.instances or (0, 0, 0)
    if high <= 1:
        return Choice("model", "mlp_probe", f"bags of one instance of {facts.features:,} features: nothing to pool")
    why = f"bags of {low:,.0f} to {high:,.0f} instances (median {middle:,.0f}) of {facts.features:,} features"
    return Choice("model", "gated_attention_mil", why)


@rule("image", "volume", "bag")
def sampler(facts: Facts) -> Choice | None:
    """Show rare classes as often as common ones."""
    if facts.factor < limits.UNEQUAL:
        return None
    value = "balanced" if facts.one_class and len(facts.classes.get("train", {})) <= 8 else "weighted"
    return Choice("sampler", value, f"{facts.factor:,.0f} others come on one case of the rarest class in training")


@rule("boxes")
def box_sampler(facts: Facts) -> Choice | None:
    """Keep images without lesions from filling the batches."""
    with_boxes = max((row["images"] for row in facts.classes.get("train", {}).values()), default=0)
    if not facts.train or with_boxes == 0 or with_boxes >= facts.train / 4:
        return None
    return Choice("sampler", "negatives", f"{with_boxes:,} of {facts.train:,} training images show a lesion")


@rule("image", "volume", "bag")
def threshold(facts: Facts) -> Choice | None:
    """Fit the threshold where classes are unequal: 0.5 then favours the common one."""
    if not facts.thresholds or facts.factor < limits.SKEWED:
        return None
    name, fitted = facts.rarest("val")
    why = f"{facts.factor:,.1f} others come on one case of the rarest class"
    if fitted < limits.FEW_TO_FIT:
        why = f"check: {why}; {facts.number(fitted)} with {name} in validation, by whom it is fitted"
    return Choice("eval.threshold", "youden", why)


@rule("image")
def augmentation(facts: Facts) -> Choice:
    """Change small sets more, and small pictures by whole pixels."""
    if small(facts):
        return Choice("augment", "small", f"{facts.noun} of {min(facts.size):.0f} px: shifts of whole pixels, no blur")
    name = "strong" if facts.train < limits.FEW else "light"
    return Choice("augment", name, f"{facts.trained} to train on")


@rule("image", "boxes")
def mirrored(facts: Facts) -> list[Choice]:
    """Mirror pictures in colour: smears, sections, skin, endoscopy and eyes may be seen from either side."""
    if facts.coloured <= limits.COLOURED:
        return []
    keys = ("flip_horizontal", "flip_vertical") if len(facts.boxes) else ("flip_horizontal",)
    why = "pictures in colour: a mirror image is another one of the kind; false where sides count"
    return [Choice(f"augment.{key}", True, why, ["augment"]) for key in keys]


@rule("image", "volume")
def true_to_scale(facts: Facts) -> Choice | None:
    """Leave sizes as they are where a size is what is predicted."""
    if facts.unit.lower() not in limits.LENGTHS:
        return None
    why = f"what is predicted is in {facts.unit}: a scaled picture would be another answer"
    return Choice("augment.scale", 0.0, why)


@rule("volume")
def volume_augmentation(facts: Facts) -> Choice:
    """Change small sets of crops more, and turn and mirror them: organs have a side, lesions have none."""
    extent = max((n * step for n, step in zip(facts.size, facts.spacing, strict=False)), default=0.0)
    why = f"{facts.trained} to train on, of {extent:.0f} mm"
    if facts.train < limits.FEW and 0 < extent <= limits.CROP:
        return Choice("augment", "volume_strong", f"{why}: crops, and a lesion has no side")
    return Choice("augment", "volume_light", f"{why}: organs have a side")


@rule("image", "boxes", "volume")
def batch(facts: Facts) -> Choice:
    """Take batches that leave an epoch at least sixteen steps, where these are not too small to learn from."""
    steps = count(math.ceil(facts.train / batch_size(facts)), "step")
    return Choice("data.batch_size", batch_size(facts), f"{steps} an epoch of {facts.train:,}")


@rule(*ALL)
def precision(facts: Facts) -> Choice | None:
    """Use half precision where the device has it."""
    why = f"{facts.machine.gpu} computes in bfloat16"
    return Choice("trainer.precision", "bf16-mixed", why) if facts.machine.gpu and facts.machine.half else None


@rule("image", "volume", "boxes")
def epochs(facts: Facts) -> Choice:
    """Train for as many steps as such networks take to settle."""
    size = batch_size(facts)
    number = min(max(math.ceil(limits.STEPS * size / max(1, facts.train)), limits.EPOCHS[0]), limits.EPOCHS[1])
    why = f"{number * math.ceil(facts.train / size):,} steps of {size} {facts.noun}"
    return Choice("trainer.max_epochs", number, why)


@rule("image", "volume", "boxes")
def averaging(facts: Facts) -> list[Choice]:
    """Judge weights averaged over a few epochs: of few validation cases the best epoch is often the luckiest."""
    steps = max(1, facts.train // batch_size(facts))
    decay = round(1 - 1 / min(max(2 * steps, 50), 1000), 4)
    length = 1 / (1 - decay)
    return [
        Choice("callbacks", "ema", f"{facts.in_words('val')} choose the epoch"),
        Choice("callbacks.ema.decay", decay, f"over about {length:,.0f} steps, {length / steps:.1f} epochs"),
    ]


@rule("image", "volume", "boxes")
def to_the_end(facts: Facts) -> Choice:
    """Train until the learning rate has fallen: the best epoch is often one of the last, and is taken anyway."""
    why = "the learning rate falls until the last epoch, and the best one of all is taken"
    return Choice("callbacks.early_stopping", None, why)


@rule("image", "volume")
def chooser(facts: Facts) -> list[Choice]:
    """Choose the epoch by the loss, which tells epochs apart where AUROC is coarse for want of cases."""
    name, patients = facts.rarest("val")
    if not name or patients >= limits.COARSE:
        return []
    reason = f"{facts.number(patients)} with {name} in validation: a ranking of so few prefers a lucky epoch"
    return [Choice(f"callbacks.best.{key}", value, reason) for key, value in limits.BY_LOSS.items()]


@rule("image", "volume", "boxes")
def views(facts: Facts) -> Choice | None:
    """Average the answers on several views of a case, which costs time in the test alone; not scaled ones of a size."""
    if facts.unit.lower() in limits.LENGTHS:
        return None
    return Choice("eval.tta", 8, "averages what small shifts of a case would change; it takes eight looks in the test")
