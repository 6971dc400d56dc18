"""The flowchart's second half: imbalance, augmentation, batches, precision, epochs, what validation chooses by.

As in `medtrain.planning.rules`, which goes before it.
"""

from __future__ import annotations

import math

from medtrain.planning import limits
from medtrain.planning.choice import Choice, rule
from medtrain.planning.facts import Facts
from medtrain.planning.rules import ALL
from medtrain.planning.sizes import batch_size, small, step_size
from medtrain.report.words import count


@rule("image", "volume", "bag", "encoded")
def sampler(facts: Facts) -> Choice | None:
    """Show rare classes as often as common ones."""
    if facts.factor < limits.UNEQUAL:
        return None
    value = "balanced" if facts.one_class and len(facts.classes.get("train", {})) <= 8 else "weighted"
    return Choice("sampler", value, f"in training {facts.unequal}")


@rule("boxes")
def box_sampler(facts: Facts) -> Choice | None:
    """Keep images without lesions from filling the batches."""
    if not 0 < facts.with_boxes < facts.train / 4:
        return None
    return Choice("sampler", "negatives", f"{facts.with_boxes:,} of {facts.train:,} training images show a lesion")


@rule("image", "volume", "bag", "encoded")
def threshold(facts: Facts) -> Choice | None:
    """Fit the threshold where classes are unequal: 0.5 then favours the common one."""
    if not facts.thresholds or facts.factor < limits.SKEWED:
        return None
    name, fitted = facts.rarest("val")
    why = f"in training {facts.unequal}"
    if fitted < limits.FEW_TO_FIT:
        why = f"check: {why}; {facts.number(fitted)} with {facts.called(name)} in validation, by whom it is fitted"
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


@rule("image", "boxes", "volume", "encoded")
def batch(facts: Facts) -> Choice:
    """Take batches that leave an epoch at least sixteen steps, where these are not too small to learn from."""
    steps = count(math.ceil(facts.train / step_size(facts)), "step")
    apiece = f", for each of {facts.machine.processes} processes" * (facts.machine.processes > 1)
    return Choice("data.batch_size", batch_size(facts), f"{steps} an epoch of {facts.train:,}{apiece}")


@rule(*ALL)
def precision(facts: Facts) -> Choice | None:
    """Use half precision where the GPU has it."""
    why = f"{facts.machine.gpu} computes in bfloat16"
    return Choice("trainer.precision", "bf16-mixed", why) if facts.machine.gpu and facts.machine.half else None


@rule("image", "volume", "boxes", "encoded")
def epochs(facts: Facts) -> Choice:
    """Train for as many steps as such networks take to settle."""
    size = step_size(facts)
    number = min(max(math.ceil(limits.STEPS * size / max(1, facts.train)), limits.EPOCHS[0]), limits.EPOCHS[1])
    why = f"{number * math.ceil(facts.train / size):,} steps of {size} {facts.noun}"
    return Choice("trainer.max_epochs", number, why)


@rule("image", "volume", "boxes")
def averaging(facts: Facts) -> list[Choice]:
    """Judge weights averaged over a few epochs: of few validation cases the best epoch is often the luckiest."""
    steps = max(1, math.ceil(facts.train / step_size(facts)))
    decay = round(1 - 1 / min(max(2 * steps, 50), 1000), 4)
    length = 1 / (1 - decay)
    return [
        Choice("callbacks", "ema", f"the best epoch of {facts.in_words('val')} is partly luck: weights are averaged"),
        Choice("callbacks.ema.decay", decay, f"over about {length:,.0f} steps, {length / steps:.1f} epochs"),
    ]


@rule("image", "volume", "boxes", "encoded")
def to_the_end(facts: Facts) -> Choice:
    """Train until the learning rate has fallen: the best epoch is often one of the last, and is taken anyway."""
    why = "the learning rate falls until the last epoch, and the best one of all is taken"
    return Choice("callbacks.early_stopping", None, why)


@rule("image", "volume", "encoded")
def chooser(facts: Facts) -> list[Choice]:
    """Choose the epoch by the loss, which tells epochs apart where AUROC is coarse for want of cases."""
    name, patients = facts.rarest("val")
    if not name or patients >= limits.COARSE:
        return []
    reason = (
        f"{facts.number(patients)} with {facts.called(name)} in validation: a ranking of so few prefers a lucky epoch"
    )
    return [Choice(f"callbacks.best.{key}", value, reason) for key, value in limits.BY_LOSS.items()]


@rule("image", "volume", "boxes")
def views(facts: Facts) -> Choice | None:
    """Average the answers on several views of a case, which costs time in the test alone; not scaled ones of a size."""
    if facts.unit.lower() in limits.LENGTHS:
        return None
    return Choice(
        "eval.tta", 8, "averages what small shifts of a case would change; the test takes nine looks in place of one"
    )
