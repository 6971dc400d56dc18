"""test: evaluate a run again, on its own test split, another one, or other data (external validation)."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from medtrain import launch
from medtrain.command import build
from medtrain.command.evaluate import build_report, evaluate, run_loader
from medtrain.command.gate import attach_gate
from medtrain.command.own_data import is_same_place, tested_data
from medtrain.command.table_alone import judge_table_alone
from medtrain.command.trained import open_run
from medtrain.config.folder import reserve
from medtrain.core.warned import kept_warnings
from medtrain.io import record
from medtrain.io.files import write_json, write_text
from medtrain.report import metrics_table


def main(cfg: DictConfig, folder: Path) -> None:
    """Evaluate RUN into `folder`, which lies in it."""
    run = open_run(cfg.run)
    trainer = build.trainer(cfg, folder, training=False)
    task = run.task(cfg)  # faults of the command come before any data are read
    with kept_warnings() as warned:
        tested = tested_data(cfg, run.folder, run.spec)
    data, warned = tested.data, [text.replace(str(run.folder), run.folder.name) for text in warned]
    attach_gate(cfg, trainer, task, data.cases)
    run_loader(trainer, task, data, lambda: data.eval_dataloader(cfg.eval.split))
    outcome = evaluate(cfg, task, data, run.decision, folder, split=cfg.eval.split, warned=warned)
    if launch.global_rank() != 0:
        return
    if tested.moved and not cfg.name:  # only now is it known that these are the run's own data
        folder = folder.rename(reserve(run.folder / f"test_{cfg.eval.split}"))
    fields = record.read(run.folder)
    if tested.own and cfg.eval.split == "test":
        fields["tests_counted"] = int(fields.get("tests_counted") or 0) + 1
        write_json(run.folder / record.FILE, fields)
    facts = {k: fields.get(k) for k in ("task", "model", "seed", "versions", "spec", "control") if k in fields}
    own = {"verb": "test", "status": "finished", "data": cfg.data.name, "synthetic": data.synthetic}
    write_json(
        folder / record.FILE,
        facts | own | {"fingerprints": data.fingerprints, "excluded": data.excluded, "heartbeat": record.now()},
    )
    write_text(folder / "splits.csv", data.split_table().to_csv(index=False))
    alone = judge_table_alone(cfg, data, run.folder, folder, cfg.eval.split)
    report = build_report(cfg, task, data, folder)
    build.say(metrics_table(outcome, data.synthetic, folder, report))
    for line in alone:
        build.say(line)


def place(cfg: DictConfig) -> Path:
    """Name the folder of a test, RUN/test_NAME: the name given, the split's, or the data option's for other data."""
    name = cfg.name or (cfg.eval.split if is_same_place(cfg, Path(cfg.run)) else cfg.data.name)
    return Path(cfg.run) / f"test_{name}"
