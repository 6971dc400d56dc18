"""test: evaluate a run again, on its own test split, another one, or other data (external validation)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from medtrain import launch
from medtrain.command import build
from medtrain.command.evaluate import build_report, evaluate
from medtrain.command.gate import attach_gate
from medtrain.command.own_data import TO_TEST, refuse_changed
from medtrain.command.trained import open_run
from medtrain.config.compose import load_saved
from medtrain.core.errors import UsageError
from medtrain.data.changes import read_splits
from medtrain.data.paths import path_keys
from medtrain.io import record
from medtrain.io.files import write_json
from medtrain.report import metrics_table


def main(cfg: DictConfig, folder: Path) -> None:
    """Evaluate RUN into `folder`, which lies in it."""
    run = open_run(cfg.run)
    trainer = build.trainer(cfg, folder, training=False)
    part = own_or_other(cfg, run.folder)
    task = run.task(cfg)
    data = build.data(cfg, **part, spec=run.spec)
    data.prepare()
    if "splits" in part:
        refuse_changed(run.folder, data, TO_TEST)
    attach_gate(cfg, trainer, task, data.cases)
    outcome = evaluate(cfg, trainer, task, data, run.decision, folder, split=cfg.eval.split)
    if launch.global_rank() != 0:
        return
    fields = record.read(run.folder)
    if "splits" in part and cfg.eval.split == "test":
        fields["tests_counted"] = int(fields.get("tests_counted") or 0) + 1
        write_json(run.folder / record.FILE, fields)
    facts = {k: fields.get(k) for k in ("task", "model", "seed", "versions", "spec")}
    own = {"verb": "test", "status": "finished", "data": cfg.data.name, "synthetic": data.synthetic}
    write_json(
        folder / record.FILE,
        facts | own | {"fingerprints": data.fingerprints, "excluded": data.excluded, "heartbeat": record.now()},
    )
    data.split_table().to_csv(folder / "splits.csv", index=False)
    report = build_report(cfg, task, data, folder)
    build.say(metrics_table(outcome, data.synthetic, folder, report))


def own_or_other(cfg: DictConfig, run: Path) -> dict[str, Any]:
    """For the run's own data its exact split; other data count whole, unless they bring a split of their own."""
    if is_own_data(cfg, run):
        if "folds" in record.read(run).get("fingerprints", {}) and load_saved(run).verb == "ensemble":
            raise UsageError(
                f"run={run}: each of these cases has trained some of its members; what the others say of it is in "
                "test_metrics.json. Test it on other data: data=... data.table=..."
            )
        file = run / "splits.csv"
        if not file.is_file():
            raise UsageError(f"run={run}: it has no splits.csv, so its test split is not known")
        return {"splits": read_splits(file)}
    return {"all_test": True}


def is_own_data(cfg: DictConfig, run: Path) -> bool:
    """Is the data node the one that the run was trained on?"""
    saved = build.plain(load_saved(run).data)
    now = build.plain(cfg.data)
    same = ("name", *(key.name for key in path_keys(cfg.data.name)), "filter", "phantom_seed", "patients")
    return all(json.dumps(saved.get(k)) == json.dumps(now.get(k)) for k in same)


def place(cfg: DictConfig) -> Path:
    """RUN/test_NAME: the name given, the split's, or the data option's for other data."""
    name = cfg.name or (cfg.eval.split if is_own_data(cfg, Path(cfg.run)) else cfg.data.name)
    return Path(cfg.run) / f"test_{name}"
