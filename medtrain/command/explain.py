"""explain: pictures of what each prediction rests on, and a check that they depend on what was learned.

What such a picture is depends on the task, whose slice draws it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import torch
from omegaconf import DictConfig

from medtrain.command import build
from medtrain.command.gate import attach_gate
from medtrain.command.predict import refuse_bad
from medtrain.command.trained import Trained, open_run
from medtrain.core.errors import UsageError
from medtrain.io import record
from medtrain.io.files import write_json, write_text
from medtrain.report.html import draw
from medtrain.report.progress import bar
from medtrain.report.views import PicturesPage
from medtrain.task.explanation import Explanation, Request, image_in_words


def main(cfg: DictConfig, folder: Path) -> None:
    """Write pictures, maps, explain.csv, sanity.json and index.html into `output`; exit code 1 if a file was bad."""
    if cfg.input is None or cfg.output is None:
        raise UsageError("explain needs run=DIR, input=PATH (a file, folder or table) and output=DIR")
    output = Path(cfg.output)
    if output.exists() and not output.is_dir():
        raise UsageError(f"output={output} is a file; explain writes a folder")
    run = open_run(cfg.run)
    run.spec.target.check_verb("explain")
    cfg.trainer.compile, cfg.eval.mc_dropout = False, 0
    device = torch.device("cuda" if torch.cuda.is_available() and cfg.trainer.accelerator != "cpu" else "cpu")
    task = run.task(cfg).eval().to(device)
    data = build.inputs(cfg, run.spec, bar("reading"))
    attach_gate(cfg, build.trainer(cfg, folder, training=False), task, data.cases)
    form, options = build.plain(cfg.data), build.plain(cfg.explain)
    explanation = task.explain(Request(data, form, run.decision, output, device, **options))
    write_json(output / "sanity.json", explanation.checks)
    rows = explanation.rows + [
        {"row": i, "case": data.cases["case"].iloc[i], "patient": data.cases["patient"].iloc[i], "error": why}
        for i, why in data.errors.items()
    ]
    columns = list(explanation.columns)
    table = pd.DataFrame(rows, columns=["row", *columns]).sort_values("row", kind="stable")[columns]
    table = table.astype({name: "Int64" for name in table if re.fullmatch("peak_[xyijk]", str(name))})
    write_text(output / "explain.csv", table.to_csv(index=False))
    _page(output, table, explanation, run)
    _say(output, table, explanation)
    refuse_bad(data)


def _say(output: Path, table: pd.DataFrame, explanation: Explanation) -> None:
    """Print what was written, what is to be told of it, and how the check came out."""
    for note in explanation.notes:
        build.say(note)
    build.say(f"{table['picture'].nunique():,} pictures of {table['case'].nunique():,} cases: {output / 'index.html'}")
    for name, check in explanation.checks.items():
        if check["passed"] is None:
            build.say(f"weight randomisation, {name}: nothing to compare, the maps are flat")
        else:
            text = f"correlation with maps of random weights {check['spearman']['all']:.2f} (limit {check['limit']})"
            build.say(f"weight randomisation, {name}: {text}")
            if not check["passed"]:
                build.warn(f"the {name} maps hardly depend on what the network learned: don't read them as its reasons")


def _page(output: Path, table: pd.DataFrame, explanation: Explanation, run: Trained) -> None:
    fields = record.read(run.folder)
    lines = [f"Run {run.folder.name}: {fields.get('model')} on {fields.get('task')}."]
    lines += ["The network was trained on synthetic data."] * bool(fields.get("synthetic"))
    lines += explanation.notes
    lines += [
        f"{name}: the maps {'hardly depend' if check['passed'] is False else 'depend'} on the learned weights "
        f"(correlation with maps of random weights {check['spearman']['all']}, limit {check['limit']})."
        for name, check in explanation.checks.items()
        if check["passed"] is not None
    ]
    lines.append("A picture says where the network found what speaks for a class, not whether it is right.")
    drawn = table[table["picture"].notna()].drop_duplicates("picture")
    captions = [
        f"{r['case']}{image_in_words(r)}: {r['method']}, {r['class']} {r['prob']:.3f}" for _, r in drawn.iterrows()
    ]
    pictures = list(zip(captions, drawn["picture"], strict=True))
    write_text(output / "index.html", draw(PicturesPage("What the predictions rest on", lines, pictures)))
