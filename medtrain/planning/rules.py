"""The flowchart of the field as rules, read from top to bottom: a fact in, a choice with its reason out.

Each rule is a function of `Facts` for some kinds of data (`data.kind`). It gives what to set and why, or nothing where
the defaults do. What a rule takes for granted is a number with a name in `medtrain.planning.limits`. Here is what is
learned, from which data and by which network; how it is trained goes on in `medtrain.planning.training_rules`.
"""

from __future__ import annotations

import math

from medtrain.planning import limits
from medtrain.planning.choice import Choice, rule
from medtrain.planning.facts import Facts
from medtrain.planning.interval import what_the_test_says
from medtrain.planning.sizes import (
    as_a_whole,
    box_pixels,
    box_side,
    by_intervals,
    coarser,
    film_network,
    patch_size,
    patches,
    small,
    smallest_box,
    telling,
)

ALL = ("image", "volume", "bag", "boxes", "mask", "encoded")


@rule(*ALL)
def loss(facts: Facts) -> Choice | None:
    """Take the usual loss of what is predicted; of few cases a batch, times by intervals rather than by risk sets."""
    if not facts.loss:
        return None
    events = facts.events_to_learn
    if by_intervals(facts):
        why = f"{events:,} events to train on; Cox's risk sets would be those of a batch, intervals need none"
        return Choice("loss", "hazards", why)
    if facts.events:
        why = f"{events:,} events to train on, ten intervals take {limits.FEW_TIMES}; risk sets are those of a batch"
        return Choice("loss", facts.loss, why)
    what = facts.target + f" in {facts.unit}" * bool(facts.unit)
    return Choice("loss", facts.loss, f"the usual one where what is predicted is {what}")


@rule(*ALL)
def folds(facts: Facts) -> Choice | None:
    """Test every case once where one test split would say too little, and so many trainings are worth it."""
    if facts.hurry:
        return Choice("data.folds", None, facts.hurry)
    if facts.own_folds and not facts.official:
        number = len(facts.own_folds)
        return Choice("data.folds", number, f"each of the data's own {number} parts is tested once")
    split = facts.one_split or facts
    if split.official or not split.cases.get("test") or split.train >= limits.MANY:
        return None
    classes, enough = split.with_class(*split.cases), limits.FOLDS
    name, events = split.rarest("test", least=0 if split.exclusive_pair else enough)
    tested, needed = (events, limits.FEW_EVENTS) if name else (split.patients.get("test", 0), limits.FEW_TESTED)
    whole = classes[name] if name else 0 if classes else sum(split.patients.values())
    if tested >= needed or whole < enough:
        return None
    reasons = [what_the_test_says(split, number, name) for number in (1, limits.FOLDS)]
    return Choice("data.folds", limits.FOLDS, "; ".join(reasons))


@rule("image", "volume", "bag", "encoded")
def sites(facts: Facts) -> Choice | None:
    """Break the results down by site: a model may know a site by its look."""
    few = facts.sites <= limits.MOST_SITES
    what = "figures of each" if few else "too many to read figures of each"
    unseen = "; data.split_by=site would test on sites that were never seen"
    unseen = "; patients of several sites can't be split by site" if facts.between_sites else unseen
    unseen = ", each tested unseen" if facts.by_site else unseen
    why = f"{facts.sites} sites: {what}{unseen}"
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
    if box_pixels(facts) < limits.TINY_BOX and size < side:
        why = f"check: {why}; data.image_size={side:.0f} data.tile={size} shows them whole, in as many times the time"
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
    """Bring volumes to one spacing, the one that half of them have, or so coarse that they are seen as a whole."""
    if len(facts.spacing) != 3:
        return None
    if as_a_whole(facts):
        own = " x ".join(f"{step:.3g}" for step in facts.spacing)
        why = (
            f"check: at the median spacing of {own} mm a case is {patches(facts):,} patches, each of which learns the "
            "label of the whole; so it is seen at once. A finding of a few voxels takes data.center=mask, or crops"
        )
        return Choice("data.spacing", coarser(facts), why)
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
    tells = f"{telling(facts)}: no more than all volumes show"
    if facts.unit.lower() in limits.LENGTHS:
        tells = f"check: {tells}, whatever is larger"
    return [
        Choice("data.fov", value, tells),
        Choice("data.center", "volume", "one input a case, around its middle: a grid would show its extent"),
        Choice("data.patches_per_volume", 1, "the middle is one input"),
        *(Choice(f"augment.{key}", 0.0, f"{deep:.0f} sections are seen") for key in ("tilt", "blur") if thin),
    ]


@rule("volume")
def patch(facts: Facts) -> list[Choice]:
    """Take patches no larger than most volumes are, or one that is the whole; say so where a case is many of them."""
    if len(facts.size) != 3 or telling(facts):
        return []
    size = patch_size(facts)
    if as_a_whole(facts):
        extent = " x ".join(f"{mm:.0f}" for mm in facts.usual_extent)
        return [
            Choice("data.patch_size", size, f"no more than {extent} mm in nine of ten volumes, in whole steps of 8"),
            Choice("data.center", "volume", "one input a case, around its middle"),
            Choice("data.patches_per_volume", 1, "the whole is one input"),
        ]
    why = f"volumes of {' x '.join(f'{n:.0f}' for n in facts.size)} voxels (median), in whole steps of 8"
    if patches(facts) >= limits.MANY_PATCHES and not facts.centred:
        why = (
            f"check: {why}: a case is judged by about {patches(facts):,} patches, each of which learns the label of "
            "the whole: a coarser data.spacing shows more at once"
        )
    return [Choice("data.patch_size", size, why)]


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
def volume_network(facts: Facts) -> list[Choice]:
    """Take a 3D network that so many cases can fill; few of them a narrow one without a GPU."""
    name = "resnet18_3d" if facts.machine.gpu and facts.train >= 300 else "resnet10_3d"
    chosen = [Choice("model", name, f"{facts.machine.words}, {facts.trained} to train on")]
    if not facts.machine.gpu and facts.train < limits.FEW:
        why = "no GPU: a quarter of the time a step, and no worse on validation cases of LIDC's nodules"
        chosen.append(Choice("model.width", limits.NARROW, why))
    return chosen


@rule("encoded")
def probe(facts: Facts) -> Choice:
    """Learn from what a frozen network has seen: a layer, or two where there are many; pool the slices of a volume."""
    if facts.volumes:
        return Choice("model", "gated_attention_mil", "features of the slices of a volume, of which some count more")
    name = "linear_probe" if facts.train < limits.FEW else "mlp_probe"
    return Choice("model", name, f"features of a frozen network, {facts.trained} to train on")


@rule("bag")
def encoder(facts: Facts) -> Choice | None:
    """Say what slides are seen by, where it is no network that has learned from slides."""
    if not facts.simple_features:
        return None
    why = f"check: {facts.simple_features} numbers of colour and texture a tile, for first tries"
    return Choice(
        "encoder", "descriptor", f"{why}; encoder=uni encoder.weights=FILE or the like have learned from slides"
    )


@rule("bag")
def bag_network(facts: Facts) -> Choice:
    """Pool by attention, which says what it looked at; a bag of one instance has nothing to pool."""
    low, middle, high = facts.instances or (0, 0, 0)
    if high <= 1:
        return Choice("model", "mlp_probe", f"bags of one instance of {facts.features:,} features: nothing to pool")
    why = f"bags of {low:,.0f} to {high:,.0f} instances (median {middle:,.0f}) of {facts.features:,} features"
    return Choice("model", "gated_attention_mil", why)
