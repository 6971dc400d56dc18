"""The flowchart of the field as rules, read from top to bottom: a fact in, a choice with its reason out.

Each rule is a function of `Facts` for some kinds of data (`data.kind`). It gives what to set and why, or nothing where
the defaults do. What a rule takes for granted is a number with a name at the top of this file.
"""

from __future__ import annotations

import math

import numpy as np

from medtrain.planning.choice import Choice, rule
from medtrain.planning.facts import Facts
from medtrain.planning.interval import what_the_test_says

FEW_EVENTS = 40  # patients of the rarest class (with the event) in the test split, below which folds test all of them
FEW_TESTED = 20  # the same of all patients, where there are no classes
FOLDS = 5
SMALL = 64  # pixels a side: films that small keep their size, and networks their full resolution at the start
FEW = 1000  # cases to train on, below which augmentation is strong
MANY = 10_000  # the same, from which on weights of other pictures give little
UNEQUAL = 10.0  # others on one of a class, from which on the sampler balances (docs/imbalance.md)
SKEWED = 2.0  # the same, from which on 0.5 is no threshold
FEW_TIMES = 50  # events to train on, below which ten intervals of time have too few each
STEPS = 1500  # of the optimizer, from which on small networks gain little
EPOCHS = (10, 100)
SMALLEST_BOX = 12  # pixels of the network's input that the fifth percentile of boxes should have
COARSE = 100  # patients of the rarest class in validation, below which the loss chooses the epoch
BY_LOSS = {"monitor": "val_loss", "mode": "min"}
SIZES = (64, 96, 128, 224, 320, 512, 640, 768, 1024)
WINDOW = (-1000.0, 2000.0)  # Hounsfield units: air, and denser than bone
MOST_SITES = 20  # of which figures each can be read
LENGTHS = ("mm", "cm", "mm2", "cm2", "mm3", "cm3", "ml", "cc", "mm²", "cm²", "mm³", "cm³")  # units of a size


ALL = ("image", "volume", "bag", "boxes", "mask")


def small(facts: Facts) -> bool:
    """Tell whether films are so small that networks should see them at full resolution."""
    return len(facts.size) == 2 and min(facts.size) <= SMALL


@rule(*ALL)
def loss(facts: Facts) -> Choice | None:
    """Take the usual loss of what is predicted; of few cases a batch, times by intervals rather than by risk sets."""
    if not facts.loss:
        return None
    events = sum(row["patients"] for row in facts.events.get("train", {}).values())
    if facts.events and events >= FEW_TIMES:
        why = f"{events:,} events to train on; Cox's risk sets would be those of a batch, intervals need none"
        return Choice("loss", "hazards", why)
    if facts.events:
        why = f"{events:,} events to train on: fewer than ten intervals need; risk sets are those of a batch"
        return Choice("loss", facts.loss, why)
    return Choice("loss", facts.loss, f"what is predicted is {facts.target}" + f" in {facts.unit}" * bool(facts.unit))


@rule("image", "volume", "bag", "mask")
def folds(facts: Facts) -> Choice | None:
    """Test every case once where one test split would say too little."""
    if facts.official or not facts.cases.get("test"):
        return None
    name, events = facts.rarest("test")
    tested, needed = (events, FEW_EVENTS) if name else (facts.patients.get("test", 0), FEW_TESTED)
    whole = facts.rarest(*facts.cases)[1] if name else sum(facts.patients.values())
    if tested >= needed or whole < 2 * FOLDS:
        return None
    return Choice("data.folds", FOLDS, f"{what_the_test_says(facts, 1)}; {what_the_test_says(facts, FOLDS)}")


@rule("image", "volume", "bag")
def sites(facts: Facts) -> Choice | None:
    """Break the results down by site: a model may know a site by its look."""
    if not 2 <= facts.sites <= MOST_SITES:
        return None
    why = f"{facts.sites} sites: figures of each; data.split_by=site would test on sites that were never seen"
    return Choice("eval.groups", ["site"], why)


@rule("image")
def colours(facts: Facts) -> Choice | None:
    """Keep colours where pictures have them."""
    if facts.coloured <= 0.5:
        return None
    return Choice("data.channels", 3, f"{facts.coloured:.0%} of some pictures that were looked at have colours")


@rule("image")
def image_size(facts: Facts) -> Choice | None:
    """Look at films at the size that they have, as far as the machine allows."""
    if len(facts.size) != 2:
        return None
    side = min(facts.size)
    if side <= SMALL:
        size = [int(n) for n in facts.size] if facts.size[0] != facts.size[1] else int(side)
        return Choice("data.image_size", size, f"films have {side:.0f} px a side: no more is in them")
    side = max(facts.size)  # which is what fits in, the shorter one is padded
    most = 320 if facts.machine.gpu else 224 if facts.train < 5000 else 128
    size = max(size for size in SIZES if size <= min(side, most))
    return Choice(
        "data.image_size", size, f"films of {side:.0f} px; {facts.machine.words} for {facts.train:,} to train on"
    )


@rule("boxes")
def box_image_size(facts: Facts) -> Choice | None:
    """Show the smallest lesions as large as a detector needs them."""
    if not len(facts.boxes) or len(facts.size) != 2:
        return None
    small = float(np.percentile(np.sqrt(np.prod(np.array(facts.boxes), axis=1)), 5))
    side = max(facts.size)
    wanted = side * SMALLEST_BOX / max(small, 1e-9)
    most = 1024 if facts.machine.gpu else 512
    size = next((size for size in SIZES if size >= max(128, min(wanted, side, most))), most)
    size = min(size, math.ceil(side / 32) * 32)
    shown = small * size / side
    return Choice(
        "data.image_size",
        size,
        f"images of {side:.0f} px, one box in twenty below {small:.0f} px: here {shown:.0f} px of the network's input",
    )


def film_network(facts: Facts) -> str:
    """Name the network for films."""
    return "densenet121" if facts.machine.gpu and not small(facts) and facts.train >= 500 else "resnet18"


@rule("image")
def image_network(facts: Facts) -> Choice:
    """Take a network that the machine trains in time and the cases can fill."""
    why = f"films of {min(facts.size):.0f} px" if small(facts) else facts.machine.words
    return Choice("model", film_network(facts), f"{why}, {facts.train:,} films to train on")


@rule("image")
def weights(facts: Facts) -> Choice | None:
    """Start from weights of other pictures where there are few, if the machine has them."""
    if small(facts) or facts.train >= MANY:
        return None
    name = film_network(facts)
    if name in facts.weights:
        return Choice("model.weights", facts.weights[name], f"{facts.train:,} films to train on; they lie here already")
    why = f"none of {name} lie on this machine; where it may fetch them, IMAGENET1K_V1 helps sets of {facts.train:,}"
    return Choice("model.weights", "none", why)


@rule("boxes")
def detector(facts: Facts) -> Choice:
    """Take a detector that the machine trains in time."""
    if facts.machine.gpu:
        return Choice("model", "faster_rcnn", f"{facts.machine.words}")
    return Choice("model", "yolo", f"{facts.machine.words}: the quickest one, without anchors")


@rule("volume")
def spacing(facts: Facts) -> Choice | None:
    """Bring volumes to one spacing, the one that half of them have."""
    if len(facts.spacing) != 3:
        return None
    value = [round(float(step), 3) for step in facts.spacing]
    return Choice("data.spacing", value, "the median spacing, so that a voxel means the same in all volumes")


def telling(facts: Facts) -> str:
    """Name the extent that alone tells the classes apart, '' where none does."""
    return next((name for name in facts.giveaways if name.startswith(("the extent", "the size"))), "")


@rule("volume")
def field_of_view(facts: Facts) -> Choice | None:
    """Give all inputs one extent, where theirs gives the class away."""
    if not telling(facts) or len(facts.least_extent) != 3:
        return None
    value = [math.floor(10 * mm) / 10 for mm in facts.least_extent]
    return Choice("data.fov", value, f"{telling(facts)} alone tells the classes apart: no more than all volumes show")


@rule("volume")
def centre(facts: Facts) -> list[Choice]:
    """Judge a case by its middle, read once a visit, where all inputs have one extent."""
    if not telling(facts):
        return []
    why = "one input a case, around its middle: a grid would show its extent"
    return [Choice("data.center", "volume", why), Choice("data.patches_per_volume", 1, "the middle is one input")]


@rule("volume")
def patch(facts: Facts) -> Choice | None:
    """Take patches no larger than most volumes are."""
    if len(facts.size) != 3 or telling(facts):
        return None
    size = [int(min(64, max(8, 8 * math.ceil(n / 8)))) for n in facts.size]
    if size == [64, 64, 64]:
        return None
    shown = " x ".join(f"{n:.0f}" for n in facts.size)
    return Choice("data.patch_size", size, f"volumes of {shown} voxels (median), in whole steps of 8")


@rule("volume")
def window(facts: Facts) -> Choice | None:
    """Show Hounsfield units on one scale, rather than each volume on its own."""
    if len(facts.grey) != 2:
        return None
    low, high = max(facts.grey[0], WINDOW[0]), min(facts.grey[1], WINDOW[1])
    value = [10 * math.floor(low / 10), 10 * math.ceil(high / 10)]
    return Choice("data.window", value, "CT: one scale for all volumes, beyond which lies one voxel in a hundred")


@rule("mask")
def mask_network(facts: Facts) -> Choice:
    """Take the plain U-Net; spacing, patches, strides and batches are planned from the training cases, as nnU-Net's."""
    why = f"{facts.train:,} volumes to train on; spacing, patches, strides, batches: the plan below"
    return Choice("model", "unet_3d", why)


@rule("volume")
def volume_network(facts: Facts) -> Choice:
    """Take a 3D network that so many cases can fill."""
    if facts.machine.gpu and facts.train >= 300:
        return Choice("model", "resnet18_3d", f"{facts.machine.words}, {facts.train:,} volumes to train on")
    return Choice("model", "resnet10_3d", f"{facts.machine.words}, {facts.train:,} volumes to train on")


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
    if facts.factor < UNEQUAL:
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
    if not facts.thresholds or facts.factor < SKEWED:
        return None
    return Choice("eval.threshold", "youden", f"{facts.factor:,.1f} others come on one case of the rarest class")


@rule("image")
def augmentation(facts: Facts) -> Choice:
    """Change small sets more, and small pictures by whole pixels."""
    if small(facts):
        return Choice("augment", "small", f"films of {min(facts.size):.0f} px: shifts of whole pixels, no blur")
    name = "strong" if facts.train < FEW else "light"
    return Choice("augment", name, f"{facts.train:,} films to train on")


@rule("image", "volume")
def true_to_scale(facts: Facts) -> Choice | None:
    """Leave sizes as they are where a size is what is predicted."""
    if facts.unit.lower() not in LENGTHS:
        return None
    return Choice(
        "augment.scale", 0.0, f"what is predicted is in {facts.unit}: a scaled picture would be another answer"
    )


@rule("volume")
def volume_augmentation(facts: Facts) -> Choice:
    """Change small sets more."""
    name = "volume_strong" if facts.train < FEW else "volume_light"
    return Choice("augment", name, f"{facts.train:,} volumes to train on")


def batch_size(facts: Facts) -> int:
    """Count the cases of a batch: of volumes the packaged number, else what leaves an epoch sixteen steps."""
    if len(facts.size) == 3:
        return 32 if telling(facts) else 4
    size = 8 if len(facts.boxes) else 64 if small(facts) else 32
    while size > 4 and facts.train / size < 16 and not facts.events:  # whose risk sets are those of a batch
        size //= 2
    return size


@rule("image", "boxes", "volume")
def batch(facts: Facts) -> Choice:
    """Take batches that leave an epoch at least sixteen steps."""
    size = batch_size(facts)
    return Choice("data.batch_size", size, f"{math.ceil(facts.train / size):,} steps an epoch of {facts.train:,}")


@rule(*ALL)
def precision(facts: Facts) -> Choice | None:
    """Use half precision where the device has it."""
    if facts.machine.gpu and facts.machine.half:
        return Choice("trainer.precision", "bf16-mixed", f"{facts.machine.gpu} computes in bfloat16")
    return None


@rule("image", "volume", "boxes")
def epochs(facts: Facts) -> Choice:
    """Train for as many steps as such networks take to settle."""
    size = batch_size(facts)
    number = min(max(math.ceil(STEPS * size / max(1, facts.train)), EPOCHS[0]), EPOCHS[1])
    return Choice(
        "trainer.max_epochs", number, f"{number * math.ceil(facts.train / size):,} steps of {size} {facts.noun}"
    )


@rule("image", "volume", "boxes")
def averaging(facts: Facts) -> list[Choice]:
    """Judge weights averaged over a few epochs: of few validation cases the best epoch is often the luckiest."""
    steps = max(1, facts.train // batch_size(facts))
    decay = round(1 - 1 / min(max(2 * steps, 50), 1000), 4)
    length = 1 / (1 - decay)
    return [
        Choice("callbacks", "ema", f"{facts.cases.get('val', 0):,} {facts.noun} choose the epoch"),
        Choice("callbacks.ema.decay", decay, f"over about {length:,.0f} steps, {length / steps:.1f} epochs"),
    ]


@rule("image", "volume")
def chooser(facts: Facts) -> list[Choice]:
    """Choose the epoch by the loss, which tells epochs apart where AUROC is coarse for want of cases."""
    name, patients = facts.rarest("val")
    if not name or patients >= COARSE:
        return []
    reason = f"{patients} {facts.people} with {name} in validation: a ranking of so few prefers a lucky epoch"
    nodes = ("callbacks.best", "callbacks.early_stopping")
    return [Choice(f"{node}.{key}", value, reason) for node in nodes for key, value in BY_LOSS.items()]


@rule("image")
def views(facts: Facts) -> Choice | None:
    """Average the answers on several views of a film, which costs time in the test alone."""
    return Choice("eval.tta", 8, "averages what small shifts of a film would change; it takes eight looks in the test")
