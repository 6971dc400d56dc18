"""plan: look at data and machine, choose how to train with a reason each, forecast, and write an experiment."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.text import Text

from medtrain.command import build
from medtrain.command.doctor import size
from medtrain.command.forecast import Forecast, forecast
from medtrain.command.new_experiment import place_of
from medtrain.command.opening import imbalance_of
from medtrain.command.plan_words import as_word, choices_table, command, measured, unseen
from medtrain.command.precision import cuda_has_bfloat16
from medtrain.config.compose import compose, resolved
from medtrain.config.features import on_features
from medtrain.config.folder import absolute_paths
from medtrain.config.quote import quote_paths
from medtrain.core.errors import DataError, UsageError
from medtrain.data.refusal import BAD_ROWS, LEAKS
from medtrain.data.rows.manifest import Manifest
from medtrain.data.source import first_path
from medtrain.data.split import FOLD_COLUMN, SITE_COLUMN, numbered_parts
from medtrain.inspection import Inspection, inspect_data
from medtrain.io.cache_root import cache_root
from medtrain.io.files import write_text
from medtrain.launch import ranks
from medtrain.planning import (
    Choice,
    Facts,
    as_experiment,
    choose,
    facts_of,
    fit_to_time,
    fit_views_to_time,
    fitting,
    folds_or_time,
    measured_machine,
    rules,
)
from medtrain.planning.interval import too_few, what_the_test_says
from medtrain.report.progress import bar
from medtrain.report.words import count
from medtrain.target.order import WhichIsPositive

OF_SPLITS = {"patient_leak", "duplicate", "no_split", "unusable"}  # errors that no row is at fault for
FOLDS, FOLD = "data.folds", "data.fold"
EPOCHS, BATCH, STEP = "trainer.max_epochs", "data.batch_size", "trainer.accumulate_grad_batches"
TTA = "eval.tta"
NOT_OF_A_RUN = ("verb", "task", "data", "output", "plan.hours", "plan.steps", "hydra.run.dir", "debug")


def main(cfg: DictConfig, folder: Path) -> None:
    """Write `output` (by default ./medtrain_configs/experiment/NAME.yaml); print choices, forecast and command.

    Args:
        cfg: its `words` are the overrides of the command line, which stay as they are.
        folder: for what the measured steps write.
    """
    start = time.process_time()  # of the imports, which the training will take, too
    words = [str(word) for word in cfg.words]
    output = place_of(cfg.output, first_path(cfg.data))
    cache = cache_root(cfg.data.get("cache_dir"))
    before = size(cache)
    given = given_in(cfg, words)
    listed, guessed = read_rows(cfg)
    facts = look_at_folds(cfg, listed, given)
    hours = float(cfg.plan.hours)

    def measured_plan(facts: Facts) -> tuple[Plan, DictConfig, Forecast]:
        task = Choice("task", str(cfg.task.name), f"data={cfg.data.name} holds {facts.content}")
        choices = fitting(
            (task, *guessed, *choose("encoded" if on_features(cfg) else str(cfg.task.kind), facts)), given
        )
        plan, processes = Plan(words, given, facts, choices), facts.machine.processes
        chosen, expected = fit_to_memory(plan, lambda cfg: forecast(cfg, folder, start, processes))
        epochs = Choice(EPOCHS, int(chosen.trainer.max_epochs or 1), f"what task={cfg.task.name} has by default")
        choices.setdefault(EPOCHS, epochs)
        return plan, chosen, expected

    plan, chosen, expected = measured_plan(facts)
    if hurry := no_time_for_folds(plan, expected, hours):
        facts = replace(facts.one_split or facts, hurry=hurry)
        plan, chosen, expected = measured_plan(facts)
    choices, folds = plan.choices, folds_of(chosen, facts, given)
    trainings = max(1, len(folds))
    expected = fit_to_hours(plan, expected, trainings, hours)
    epochs = int(given.get(EPOCHS) or choices[EPOCHS].value)
    title = f"Planned for {cfg.data.name}: {sum(facts.cases.values()):,} {facts.noun} ({facts.splits})"
    write_text(output, as_experiment(title, str(cfg.task.name), str(cfg.data.name), given, list(choices.values())))
    console = Console()
    console.print(Text(facts.words), soft_wrap=True)
    console.print(choices_table(list(choices.values()), given))
    grown = f"cache: {(size(cache) - before) / 1e6:,.0f} MB more in {cache}, which all trainings on these data share"
    beside = (*expected.remarks, *unseen(listed.spare, chosen))
    says = [text for text in (what_the_test_says(facts, trainings), too_few(facts)) if text]
    forecasts = measured(expected, epochs, chosen.plan, trainings, facts.machine)
    room = hours * 3600 / expected.total(epochs)
    for line in (*beside, *says, grown, *forecasts, *command(output, folds, int(room))):
        console.print(Text(line), soft_wrap=True)


@dataclass
class Plan:
    """What is planned, until it is written.

    Args:
        words: of the command line, and `given`, {key or group: value} of them.
        facts: measured.
        choices: {key: choice} of the rules.
    """

    words: Sequence[str]
    given: Mapping[str, Any]
    facts: Facts
    choices: dict[str, Choice]


def fit_to_memory(plan: Plan, measure: Callable[[DictConfig], Forecast]) -> tuple[DictConfig, Forecast]:
    """Measure the training, with half of the batch, twice as many a step, as long as a batch doesn't fit into the GPU.

    Args:
        plan: whose batch becomes smaller.
        measure: makes the forecast of a configuration.

    Raises:
        UsageError: no smaller batch may be taken.
    """
    while True:
        cfg = configuration(plan)
        try:
            return cfg, measure(cfg)
        except torch.cuda.OutOfMemoryError as error:
            size, room = int(cfg.data.batch_size), f"{plan.facts.machine.gpu_gb:.0f} GB of the GPU"
            if size == 1 or BATCH in plan.given:
                advice = "a smaller one, or smaller images or patches" if size > 1 else "smaller images or patches"
                raise UsageError(f"{BATCH}={size} doesn't fit into the {room}: take {advice}") from error
            torch.cuda.empty_cache()
            whole = size * int(cfg.trainer.accumulate_grad_batches)
            plan.choices[BATCH] = Choice(BATCH, size // 2, f"batches of {size} don't fit into the {room}")
            if STEP not in plan.given:
                parts = whole // (size // 2)
                plan.choices[STEP] = Choice(STEP, parts, f"steps of {whole} cases, as if they had fitted")


def no_time_for_folds(plan: Plan, expected: Forecast, hours: float) -> str:
    """Say why one split is trained in place of the folds of a plan; '' where there is time, or a person has set it."""
    if plan.facts.one_split is None or EPOCHS in plan.given:
        return ""
    epochs, folds = int(plan.choices[EPOCHS].value), int(plan.choices[FOLDS].value)
    return folds_or_time(epochs, expected.epoch, expected.without_views().total(0), folds, hours)


def fit_to_hours(plan: Plan, expected: Forecast, trainings: int, hours: float) -> Forecast:
    """Leave out views of the test, then epochs, for which there is no time, and give what is expected then.

    Args:
        plan: whose choices change.
        expected: of a training as it is planned, and of `trainings` of them.
        hours: there are.
    """
    choices, given = plan.choices, plan.given
    one_view = fit_views_to_time(expected.views, trainings, hours)
    if one_view and TTA in choices and TTA not in given:
        choices[TTA], expected = one_view, expected.without_views()
    planned = int(choices[EPOCHS].value)
    shorter = fit_to_time(planned, expected.epoch, expected.total(0), trainings, hours)
    if shorter and EPOCHS not in given:
        choices[EPOCHS] = shorter
    return expected


def given_in(cfg: DictConfig, words: Sequence[str]) -> dict[str, Any]:
    """Read {key or group: value} of the command line, but for what is about the plan alone."""
    given: dict[str, Any] = {}
    for word in words:
        key, _, text = word.lstrip("+").partition("=")
        if key in NOT_OF_A_RUN or key.startswith("hydra"):
            continue
        value = OmegaConf.select(cfg, key) if "." in key else text.strip("'\"")
        given[key] = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return given


def read_rows(cfg: DictConfig) -> tuple[Manifest, list[Choice]]:
    """List the rows; guess in `cfg` which of two classes is the positive one, if nobody says.

    Returns:
        the rows, and the guess as a choice.
    """
    try:
        return build.data(cfg, as_read=True).listed(), []
    except WhichIsPositive as error:
        cfg.data.classes = error.names
        reason = f"check: '{error.names[-1]}' is taken for the positive class, by its name"
        return read_rows(cfg)[0], [Choice("data.classes", error.names, reason)]


def look_at_folds(cfg: DictConfig, listed: Manifest, given: Mapping[str, Any]) -> Facts:
    """Look at the data, and once more at what the first fold trains where folds are planned; arguments as of `look`."""
    facts = look(cfg, listed, given)
    planned = rules.folds(facts)
    if planned is None or FOLDS in given or facts.fold:
        return facts
    cfg.data.folds, cfg.data.fold = planned.value, 0
    return replace(look(cfg, listed, given), one_split=facts)


def look(cfg: DictConfig, listed: Manifest, given: Mapping[str, Any]) -> Facts:
    """Inspect the data and measure the machine; sizes that the person has set count in place of the files'.

    Raises:
        DataError: training would refuse the data.
    """
    own_folds = own_folds_of(cfg, listed)
    if (own_folds or cfg.data.get("folds")) and cfg.data.get("fold") is None:
        cfg.data.fold = (*own_folds, 0)[0]
    data = build.data(cfg, as_read=True)
    inspection = inspect_data(data, False, lambda title: bar(title, data.noun))
    refuse_errors(inspection)
    gpu = torch.cuda.get_device_properties(0) if build.uses_cuda(cfg) else None
    machine = measured_machine(
        str(gpu.name) if gpu else None,
        gpu.total_memory / 1e9 if gpu else 0.0,
        cuda_has_bfloat16(),
        ranks.wanted(cfg),
    )
    pairs = set(zip(listed.patient, listed.site or (), strict=False))
    facts = facts_of(
        inspection,
        imbalance_of(inspection),
        data.noun,
        machine,
        fold="" if cfg.data.get("fold") is None else f"fold {cfg.data.fold} of {len(own_folds) or cfg.data.folds}",
        official=listed.split is not None,
        sites=len({site for site in listed.site or () if site}),
        weights=weights_here(),
        own_folds=own_folds,
        between_sites=len(pairs) > len({patient for patient, _ in pairs}),
        by_site=cfg.data.get("split_by") == "site",
        encoded=on_features(cfg),
    )
    simple = str(cfg.encoder._target_).endswith(".descriptor") if getattr(data, "encoder", None) else False
    known = replace(facts, simple_features=facts.features * (simple and not data.synthetic))
    return facts_with(known, given)


def facts_with(facts: Facts, given: Mapping[str, Any]) -> Facts:
    """Put sizes that the person has set in place of measured ones: of a batch, a patch, and of images without boxes."""
    sides = {2: given.get("data.image_size") if not len(facts.boxes) else None, 3: given.get("data.patch_size")}
    side = sides.get(len(facts.size))
    whole = [side] * len(facts.size) if isinstance(side, int) else list(side or ())
    own = in_spacing(facts, given.get("data.spacing"))
    centred = bool(given.get("data.fov") or given.get("data.crop_foreground"))
    centred = centred or given.get("data.center") not in (None, "none")
    own = replace(own, batch=int(given.get(BATCH) or 0), spaced=bool(given.get("data.spacing")), centred=centred)
    return replace(own, patch=whole) if len(whole) == 3 else replace(own, size=whole or own.size)


def in_spacing(facts: Facts, spacing: Any) -> Facts:
    """Count voxels in the spacing that the person has set, one number or one along D, H, W, in place of the files'."""
    if not spacing or len(facts.size) != 3 or len(facts.spacing) != 3:
        return facts
    steps = [float(step) for step in (spacing if isinstance(spacing, list) else [spacing] * 3)]
    voxels = [n * old / new for n, old, new in zip(facts.size, facts.spacing, steps, strict=True)]
    return replace(facts, size=voxels, spacing=steps)


def own_folds_of(cfg: DictConfig, listed: Manifest) -> list[int]:
    """List what `data.fold` may be by the data's own folds, or by sites where each is tested in turn."""
    by_site = cfg.data.get("split_by") == "site" and listed.site is not None
    parts, name = (listed.site, SITE_COLUMN) if by_site else (listed.fold, FOLD_COLUMN)
    return numbered_parts(parts, name)[1] if parts and listed.split is None else []


def weights_here() -> dict[str, str]:
    """List the published weights that torch has fetched for this machine: {network: name}."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return {file.name.partition("-")[0]: "IMAGENET1K_V1" for file in folder.glob("*.pth")}


def refuse_errors(inspection: Inspection) -> None:
    """Refuse data that training would refuse, or that contradict themselves (DataError)."""
    problems = [finding.problem for finding in inspection.findings if finding.problem.severity == "error"]
    if problems:
        kinds = Counter(problem.kind for problem in problems)
        shown = ", ".join(f"{n:,} {kind}" for kind, n in kinds.items())
        advice = [LEAKS] * bool({"patient_leak", "duplicate"} & set(kinds)) + [BAD_ROWS] * bool(set(kinds) - OF_SPLITS)
        raise DataError(f"{count(len(problems), 'error')} in the data ({shown})", problems, "\n".join(advice))


def configuration(plan: Plan) -> DictConfig:
    """Compose the training that is planned.

    Raises:
        UsageError: what the command line sets doesn't go with it.
    """
    own_words = [word for word in plan.words if word.lstrip("+").partition("=")[0] != "verb"]
    chosen = [choice for choice in plan.choices.values() if choice.key not in plan.given]
    own = [f"{choice.key}={as_word(choice.value)}" for choice in chosen]
    folds = plan.given[FOLDS] if FOLDS in plan.given else FOLDS in plan.choices and plan.choices[FOLDS].value
    fold = [f"data.fold={(*plan.facts.own_folds, 0)[0]}"] * bool(folds and FOLD not in plan.given)
    composition = compose([*quote_paths(own_words, False), *own, *fold, "verb=train"], signatures=True)
    cfg = resolved(composition.cfg)
    absolute_paths(cfg)
    return cfg


def folds_of(cfg: DictConfig, facts: Facts, given: Mapping[str, Any]) -> list[int]:
    """List the folds of which each is tested by a training; none where one training is all that is planned."""
    folds = int(cfg.data.get("folds") or 0)
    return [] if FOLD in given else list(facts.own_folds if folds == len(facts.own_folds) else range(folds))
