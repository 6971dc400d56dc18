"""The end of a search: its best configuration, and it alone, is tested once; search.json and tune.html tell of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medtrain.command.counted import TESTS
from medtrain.command.replicates import FILE as REPLICATES
from medtrain.config import search
from medtrain.config.trials import DEFAULT, Plan, mean_of, outcome_of
from medtrain.config.tuning import running
from medtrain.core.extras import extra
from medtrain.core.words import overrides
from medtrain.io import record
from medtrain.io.files import read_json, write_json, write_text
from medtrain.io.study import WHO, open_study
from medtrain.io.yaml_file import read_yaml
from medtrain.metric.winner import corrected
from medtrain.planning import as_experiment
from medtrain.report.search import write_page
from medtrain.report.words import label, number

FILE, BEST = "search.json", "best.yaml"
TESTED = "test_test"  # in a run's folder, by the verb test

Json = dict[str, Any]


def close(plan: Plan, command: Callable[[list[str]], int]) -> int:
    """Choose the best configuration, test it, write `FILE`, `BEST` and tune.html; returns the exit code.

    Args:
        plan: of the search.
        command: carries a command line out.
    """
    study, folder = open_study(plan.folder), plan.folder
    if left := [str(trial.number) for trial in running(study)]:
        print(
            f"not closed: trials {', '.join(left)} did not end; -m hydra.sweep.dir={folder} sweep.retry=failed goes on"
        )
        return 1
    facts = facts_of(plan, study)
    best, code = facts["best"], 0
    if best is not None:
        code = _test(folder, best, command)
        facts["test"] = _tested(folder, best)
        write_text(folder / BEST, best["experiment"])
    write_json(folder / FILE, facts)
    page = write_page(folder, facts)
    for line in in_words(facts):
        print(line)
    print(f"search  {folder / FILE}\npage    {page}")
    return code or int(best is None and not facts["front"])


def facts_of(plan: Plan, study: Any) -> Json:
    """Gather what a search came to, but for the test of its best."""
    trials = [_trial(trial) for trial in study.get_trials(deepcopy=False)]
    default = mean_of([outcome_of(run, plan.objectives) for run, _ in plan.parts(DEFAULT)])
    facts: Json = {
        "objectives": [list(objective) for objective in plan.objectives],
        "sampler": plan.sampler,
        "pruner": plan.pruner,
        "seed": plan.seed,
        "wanted": plan.n_trials,
        "inner_folds": len(plan.val_afters),
        "counts": {state: sum(t["state"] == state for t in trials) for state in ("finished", "pruned", "failed")},
        "trials": trials,
        "default": {"values": list(default.values), "reason": default.reason},
        "front": [],
        "best": None,
        "test": None,
        "importance": _importance(study, len(plan.objectives)),
    }
    if len(plan.objectives) > 1:
        facts["front"] = sorted(trial.number for trial in study.best_trials)
        return facts
    ended = {t["number"]: t["values"] for t in trials if t["state"] == "finished"}
    ended |= {DEFAULT: list(default.values)} if default.values else {}
    if not ended:
        return facts
    sign = -1 if plan.modes[0] == "max" else 1
    name = min(ended, key=lambda name: sign * ended[name][0])
    words = {} if name == DEFAULT else next(t["params"] for t in trials if t["number"] == name)
    correction = _correction(plan, list(ended))
    run = plan.parts(name)[0][0]
    facts["best"] = {
        "name": str(name),
        "run": run.name,
        "params": words,
        "value": ended[name][0],
        "corrected": correction,
        "optimism": None if correction["value"] is None else ended[name][0] - correction["value"],
        "of": len(ended),
        "experiment": experiment_of(run, plan, words),
    }
    return facts


def in_words(facts: Mapping[str, Any]) -> list[str]:
    """Say in a few lines what the search came to."""
    counts, best = facts["counts"], facts["best"]
    names = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    count = sum(counts.values())
    lines = [f"{count} trials ({names})" + f", {facts['wanted']} were wanted" * (count < facts["wanted"])]
    if facts["front"]:
        lines.append(f"no trial is better than these in all objectives: {', '.join(map(str, facts['front']))}")
        lines.append("choose one of them by what matters to you, and test that one alone: medtrain test run=FOLDER")
    if best is None:
        return lines
    name = facts["objectives"][0][0]
    default = facts["default"]["values"]
    beside = f", the default {number(default[0])}" if default else ""
    lines.append(f"best: {best['name']}, {name} {number(best['value'])}{beside}")
    right = best["corrected"]
    lines.append(
        f"corrected for being the best of {best['of']}: {number(right['value'])}"
        if right["value"] is not None
        else f"not corrected for being the best of {best['of']}: {right['reason']}"
    )
    if test := facts["test"]:
        shown = ", ".join(
            f"{label(key)} {number(entry.get('value'))}" for key, entry in list(test["metrics"].items())[:1]
        )
        times = test["tests_of_search"]
        again = f"; the test split was looked at {times} times in this search" if times > 1 else ""
        lines.append(f"test of the best alone, of {best['of']} configurations: {shown}{again}")
    return lines


def _trial(trial: Any) -> Json:
    state = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}.get(trial.state.name, "running")
    seconds = trial.duration.total_seconds() if trial.duration is not None else None
    return {
        "number": trial.number,
        "state": state,
        "values": list(trial.values or ()) if state == "finished" else [],
        "params": dict(trial.params),
        "epochs": {str(step): value for step, value in sorted(trial.intermediate_values.items())},
        "seconds": seconds,
        "reason": trial.user_attrs.get("error", ""),
    }


def _correction(plan: Plan, names: Sequence[int | str]) -> Json:
    """Correct the score of the best of several configurations for having been chosen."""
    metric, mode = plan.objectives[0]
    if len(names) < 2:
        return {"value": None, "reason": "there was no choice"}
    sides: dict[str, list[list[float]]] = {"inside": [], "outside": []}
    cases: list[set[str]] = [set() for _ in plan.parts(0)]
    patients = 0
    for name in names:
        files = [folder / REPLICATES for folder, _ in plan.parts(name)]
        if not all(file.is_file() for file in files):
            return {"value": None, "reason": f"{name} has no {REPLICATES}"}
        read = [read_json(file) for file in files]
        if any(metric not in one["metrics"] for one in read):
            return {"value": None, "reason": f"{metric} is not computed from single cases"}
        for known, one in zip(cases, read, strict=True):
            known.add(one["cases"])
        patients = sum(one["patients"] for one in read)
        for side, listed in sides.items():
            parts = [[float("nan") if v is None else v for v in one["metrics"][metric][side]] for one in read]
            listed.append([sum(values) / len(parts) for values in zip(*parts, strict=False)])
    if any(len(known) > 1 for known in cases):
        return {"value": None, "reason": "the trials were not validated on the same cases"}
    fewest = min(len(own) for own in sides["inside"])
    inside, outside = ([own[:fewest] for own in sides[side]] for side in ("inside", "outside"))
    return corrected(inside, outside, mode) | {"patients": patients}


def _importance(study: Any, objectives: int) -> Json:
    """Compute how much each parameter sets the best tenth of the trials apart: {"shares"} or {"reason"}.

    By PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023).
    """
    if objectives > 1:
        return {"shares": {}, "reason": "of several objectives there is no single importance"}
    optuna = extra("optuna", WHO)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*importances will be equal")
            shares = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
    except (ValueError, RuntimeError, UserWarning) as error:
        return {"shares": {}, "reason": str(error).split("\n")[0]}
    if len(shares) == 1:
        return {"shares": {}, "reason": "there is one parameter"}
    return {"shares": {key: float(share) for key, share in shares.items()}, "reason": ""}


def experiment_of(run: Path, plan: Plan, params: Mapping[str, Any]) -> str:
    """Write the experiment file of a configuration: the words of the search, and what was drawn."""
    config = read_yaml(run / "config.yaml")
    words = overrides(record.look(run).get("overrides") or ())
    groups, given = search.option_files(), {}
    own = ("eval.test", *["data.val_after"] * bool(plan.val_afters))  # keys of the search, not of what was chosen
    for key, text in words.items():
        name = key.lstrip("+")
        if name in own or name.startswith("~") or name in ("task", "data"):
            continue
        given[name] = text if name in groups else _value(config, name)
    title = (
        f"the best of {plan.n_trials} trials of {plan.folder.name}" if params else f"the default of {plan.folder.name}"
    )
    return as_experiment(title, str(config["task"]["name"]), str(config["data"]["name"]), given, [])


def _value(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = config[name]
    return config


def _test(folder: Path, best: Mapping[str, Any], command: Callable[[list[str]], int]) -> int:
    """Test the best run, unless that was done; returns the exit code."""
    run = folder / best["run"]
    return 0 if (run / TESTED / "test_metrics.json").is_file() else command(["test", f"run={run}"])


def _tested(folder: Path, best: Mapping[str, Any]) -> Json | None:
    """Read how the best run did in its test, and how often the runs of the search were tested in all."""
    file = folder / best["run"] / TESTED / "test_metrics.json"
    if not file.is_file():
        return None
    runs = [path.parent for path in folder.glob(f"*/{record.FILE}")]
    looks = sum(int(record.look(run).get(TESTS) or 0) for run in runs)
    test = read_json(file)
    keys = ("n_cases", "n_patients", "metrics", "warnings")
    return {"folder": f"{best['run']}/{TESTED}", "tests_of_search": looks, **{key: test.get(key) for key in keys}}
