"""predict: files, a folder or a table without labels -> a row a case, or boxes; a bad file costs only itself."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from medtrain import launch
from medtrain.command import build
from medtrain.command.evaluate import run_loader
from medtrain.command.gate import attach_gate
from medtrain.command.trained import open_run
from medtrain.core.errors import MedtrainError, UsageError
from medtrain.data.base import Data


def main(cfg: DictConfig, folder: Path) -> None:
    """Write `output`; exit code 1 if any file was bad."""
    if cfg.input is None or cfg.output is None:
        raise UsageError("predict needs run=DIR, input=PATH (a file, folder or table) and output=FILE.csv")
    output, form = Path(cfg.output), None if cfg.format in (None, "coco", "csv") else str(cfg.format)
    if output.is_dir() and form is None:
        raise UsageError(f"output={output} is a folder; name a file, such as output={output / 'predictions.csv'}")
    run = open_run(cfg.run)
    trainer = build.trainer(cfg, folder, training=False)
    task = run.task(cfg)
    if cfg.format is not None:
        task.check_format(str(cfg.format), output)
    data = build.inputs(cfg, run.spec)
    if cfg.format is not None:
        task.ready_for(str(cfg.format), data)
    readable = len(data.cases) > len(data.errors)
    if readable:
        attach_gate(cfg, trainer, task, data.cases)
        run_loader(trainer, task, data, data.predict_dataloader)
    if launch.global_rank() != 0:
        return
    results = task.results if readable else []
    if form is None:
        task.save(output, results, data, run.decision)
    else:
        build.say(task.save_as(form, output, results, data, run.decision))
    build.say(f"{len(data.cases) - len(data.errors):,} predicted, {len(data.errors):,} bad: {output}")
    refuse_bad(data)


def refuse_bad(data: Data) -> None:
    """Refuse, when the others are done, the files that could not be read, if there are any (MedtrainError)."""
    if data.errors:
        shown = [f"  {data.cases['case'].iloc[i]}: {why}" for i, why in list(data.errors.items())[:20]]
        more = [f"  ... and {len(data.errors) - 20} more"] * (len(data.errors) > 20)
        raise MedtrainError("\n".join([f"{len(data.errors)} inputs could not be read:", *shown, *more]))
