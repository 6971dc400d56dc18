"""The verbs: what each does, what it needs, and two lines that can be pasted."""

from __future__ import annotations

from dataclasses import replace

from medtrain.core.errors import UsageError
from medtrain.core.verb import Origin, Place, Verb
from medtrain.core.words import suggest

_TABLE = (
    Verb(
        "train",
        "fit a model, choose the best checkpoint on validation, test it once, report (the default verb)",
        ("medtrain task=xray_cls model=densenet121", "medtrain -m model=resnet18,resnet50 optimizer.lr=1e-3,1e-4"),
        "resume=auto goes on with the newest unfinished run of the same configuration; resume=DIR names one;\n"
        "run=DIR hydra.run.dir=NEW repeats a run; init_from=DIR starts from its weights.",
        reads=("run", "resume", "init_from", "sweep"),
        origin=Origin.PACKAGE_OR_RUN,
        place=Place.RUN,
        ranks=True,
    ),
    Verb(
        "test",
        "evaluate a run: its test split, another split, or other data (external validation)",
        (
            "medtrain test run=outputs/xray_cls/RUN eval.split=val",
            "medtrain test run=outputs/xray_cls/RUN data=image_table data.table=other.csv name=other",
        ),
        "Writes run=DIR/test_NAME. Threshold and temperature are the run's own, never fitted again.",
        reads=("run", "name"),
        origin=Origin.RUN,
        place=Place.WITHIN,
        ranks=True,
    ),
    Verb(
        "predict",
        "files, a folder or a table without labels -> a CSV of probabilities",
        (
            "medtrain predict run=outputs/xray_cls/RUN input=images/ output=predictions.csv",
            "medtrain predict run=outputs/xray_cls/RUN input=new.csv output=predictions.csv",
        ),
        "A file that can't be read has its reason in the column 'error'; the exit code is then 1.\n"
        "run may also name what export has written.",
        reads=("run", "input", "output", "format"),
        origin=Origin.RUN,
        place=Place.PASSING,
        ranks=True,
        of_export="medtrain.command.predict_exported",
    ),
    Verb(
        "explain",
        "show what a prediction rests on: attention maps, Grad-CAM",
        (
            "medtrain explain run=outputs/xray_cls/RUN input=images/ output=maps/",
            "medtrain explain run=outputs/xray_cls/RUN input=film.png output=maps/ explain.classes=all",
        ),
        "Writes pictures, maps and explain.csv, and tests whether the maps depend on what was learned (sanity.json).",
        reads=("run", "input", "output"),
        origin=Origin.RUN,
        place=Place.PASSING,
    ),
    Verb(
        "export",
        "a folder that predicts without medtrain: network, preprocessing, decision; with proof that it agrees",
        (
            "medtrain export run=outputs/xray_cls/RUN format=onnx",
            "medtrain export run=outputs/xray_cls/RUN format=torch_export output=model/",
        ),
        "Writes RUN/export_FORMAT: the network, model.json, predict.py, requirements.txt, a Dockerfile, model_card.md\n"
        "and parity.json, which proves that it predicts what the run does. Where it doesn't, nothing is written and\n"
        "the exit code is 1.",
        reads=("run", "input", "output", "format"),
        origin=Origin.RUN,
        place=Place.PASSING,
    ),
    Verb(
        "inspect",
        "the data's doctor: counts, imbalance, unreadable files, leakage, duplicates",
        ("medtrain inspect task=xray_cls data=image_table data.table=my.csv", "medtrain inspect task=xray_cls"),
        "Writes inspect.json and pictures in the folder that it prints; trains nothing. run=RUN: the data of a run.\n"
        "Exit code 1 if training would refuse the data, or the data contradict themselves.",
        reads=("run",),
        origin=Origin.PACKAGE_OR_RUN,
        place=Place.BESIDE,
    ),
    Verb(
        "embed",
        "slides -> tissue tiles -> feature bags; pictures and volumes -> features",
        (
            "medtrain embed task=wsi_mil data=slide_table data.table=slides.csv encoder=torchvision data.bags=bags",
            "medtrain embed task=xray_cls data=image_table data.table=films.csv encoder=rad_dino output=features",
        ),
        "Writes data.bags (by default in the cache): one HDF5 file a slide, quality/ with pictures of the tissue, and\n"
        "embed.csv. What is there is not made again. The table needs no labels. Exit code 1 if any slide was bad.",
        reads=("output",),
        place=Place.PASSING,
    ),
    Verb(
        "ensemble",
        "out-of-fold metrics of a cross-validation, and one folder that acts like a run",
        ("medtrain ensemble runs=outputs/sweeps/SWEEP", "medtrain ensemble runs=RUN1,RUN2 hydra.run.dir=both"),
        "The runs are all folds of one or more cross-validations, or share one test split. Nothing is trained or\n"
        "predicted anew; test, predict and explain take the new folder as run=DIR.",
        reads=("runs",),
        origin=Origin.RUNS,
        place=Place.BESIDE_LATER,
    ),
    Verb(
        "compare",
        "runs side by side, with paired bootstrap differences over the same patients",
        ("medtrain compare RUN1 RUN2", "medtrain compare outputs/xray_cls/* output=comparison.json"),
        "Runs, tests of runs (RUN/test_NAME), sweeps, patterns, or scores from elsewhere (FILE.csv: case, score);\n"
        "all are compared with the first one, or with compare.baseline=RUN. compare.metric=auprc names what the\n"
        "sentences speak of.",
        reads=("runs", "output", "compare"),
        words="runs",
    ),
    Verb(
        "submit",
        "submit a run or a sweep to SLURM and return",
        ("medtrain submit task=xray_cls hydra.launcher.gpus=1", "medtrain submit data.folds=5 data.fold=0,1,2,3,4"),
        "Everything lies in one sweep's folder, even a single run. hydra.launcher.* says what a job asks for:\n"
        "medtrain submit --cfg hydra --package hydra.launcher shows it.\n"
        "sweep.retry=failed hydra.sweep.dir=SWEEP submits what is missing of an earlier sweep.",
        stands_for="train",
        adds=("hydra/launcher=slurm", "hydra.launcher.wait=false"),
    ),
    Verb(
        "status",
        "each job of a sweep, from run folders and SLURM together",
        ("medtrain status outputs/sweeps/SWEEP", "medtrain status outputs/sweeps/*"),
        "Exit code 1 if a job failed or was lost. Local sweeps and single runs are shown too.",
        reads=("runs",),
        words="runs",
    ),
    Verb(
        "init",
        "look at a table and propose the command and an experiment file",
        (
            "medtrain init data.table=my.csv",
            "medtrain init data.table=my.csv output=medtrain_configs/experiment/a.yaml",
        ),
        "The file lands in ./medtrain_configs/experiment, so that experiment=NAME works at once.",
        reads=("output",),
    ),
    Verb(
        "plan",
        "look at data and machine, choose how to train with a reason each, forecast time and memory",
        (
            "medtrain plan data=image_table data.table=my.csv",
            "medtrain plan data=feature_bags data.table=bags.csv plan.hours=0.5 output=b.yaml",
        ),
        "Writes an experiment file; what the command line sets is left as it is. The forecast comes from plan.steps\n"
        "measured steps; a training that would take longer than plan.hours is shortened.",
        reads=("output",),
        place=Place.PASSING,
        keeps_words=True,
        of_data=True,
    ),
    Verb(
        "list",
        "the options of each group, with a line on each",
        ("medtrain list", "medtrain list model"),
        configured=False,
    ),
    Verb(
        "doctor",
        "versions, GPUs, writable folders, cache size, loading speed",
        ("medtrain doctor", "medtrain doctor cache.clean=true"),
        "Exit code 1 if something that training needs is broken.",
        reads=("cache",),
    ),
)


# each is carried out by the file of `command` that bears its name
VERBS = {verb.name: replace(verb, module=f"medtrain.command.{verb.name}") for verb in _TABLE}


def look_up(name: str) -> Verb:
    """Find a verb by its name.

    Raises:
        UsageError: there is none.
    """
    if name not in VERBS:
        raise UsageError(f"'{name}': no such verb; {suggest(name, VERBS)}")
    return VERBS[name]


_HEAD = "medtrain: train, test and explain medical imaging models"

_FLAGS = """  -m, --multirun      a sweep: every combination of comma-separated values
  --cfg job           print the composed configuration and stop (also hydra, all; --resolve; --package GROUP)
  --info WHAT         print where it comes from: defaults, defaults-tree, searchpath, plugins, config
  --config-dir DIR    a folder of your own options, which is trusted (as MEDTRAIN_CONFIG_DIR)
  --completion SHELL  print what bash, zsh or fish reads to complete words
  --help, --version"""


def help_text(verb: str | None = None) -> str:
    """Write the help of one verb, or of the whole command."""
    if verb is not None:
        chosen = VERBS[verb]
        later = "" if chosen.ready else " (not there yet)"
        lines = [f"medtrain {verb}: {chosen.does}{later}", "", "examples:", *(f"  {e}" for e in chosen.examples)]
        return "\n".join(lines + (["", chosen.more] if chosen.more else []) + ["", "options:", _FLAGS])
    ready = [f"  {name:<9} {v.does}" for name, v in VERBS.items() if v.ready]
    missing = [name for name, v in VERBS.items() if not v.ready]
    first = [f"  {v.examples[0]}" for n, v in VERBS.items() if n in ("train", "test", "predict", "init")]
    return "\n".join(
        [
            _HEAD,
            "",
            "usage: medtrain [verb] [key=value ...] [options]",
            "",
            "verbs:",
            *ready,
            *([f"  not there yet: {', '.join(missing)}"] if missing else []),
            "",
            "examples:",
            *first,
            "",
            "options:",
            _FLAGS,
            "",
            "'medtrain VERB --help' says more; 'medtrain list' shows what can be chosen.",
        ]
    )
