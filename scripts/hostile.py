"""Feeds the command inputs that are made faulty from seeds, and counts what becomes of them.

    python scripts/hostile.py [--count 500] [--first 0] [--only table,image,...] [--keep FOLDER]

The inputs are those of tests/fixtures/runs_0_1: tables, pictures, DICOM, volumes, bags, boxes (JSON), and a run's files
(YAML, JSON, checkpoints, splits); and what hostile_made.py makes: numbers, times to an event, masks, nnU-Net's folder,
an export. Each seed takes one of them, changes bytes or fields, and runs train, test, predict
or inspect on it, in a fork of this process. Three changes in ten leave the meaning as it is (kinds "..., same"): there
the predictions have to be those of the unchanged file. Right is what ends with 0 and a whole result, or with 1 or 2 and
a line that names something; wrong are a traceback, a fault of medtrain, a signal, a time-out, a file that is lost,
changed or written elsewhere. Prints a line a wrong outcome and the counts; ends with 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import hostile_made
from hostile_changes import FIELDS, bytes_changed
from hostile_same import SAME, columns_same, equal, results

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests" / "fixtures" / "runs_0_1"
PLACE = "/runs_0_1"  # where paths in the fixtures say that they lie
TASKS = ("xray_cls", "xray_classes", "volume_cls", "wsi_mil", "lesion_det")
LIMIT_S = 120  # of a command
HARMLESS = 0.3  # the share of changes after which the result has to be the same
KINDS = {  # of inputs: (tasks, files below the task's folder, verbs)
    "table": (
        ("xray_cls", "xray_classes", "volume_cls", "wsi_mil"),
        "data/*.csv",
        ("train", "test", "predict", "inspect"),
    ),
    "image": (("xray_cls", "xray_classes", "lesion_det"), "data/*/*.png", ("train", "test", "predict", "inspect")),
    "dicom": (("xray_cls",), "data/films/film_00.dcm", ("train", "test", "predict", "inspect")),
    "nifti": (("volume_cls",), "data/*/*.nii", ("train", "test", "predict", "inspect")),
    "bag": (("wsi_mil",), "data/*/*.h5", ("train", "test", "predict", "inspect")),
    "json": (("lesion_det",), "data/*.json", ("train", "test", "predict", "inspect")),
    "yaml": (TASKS, "run/config.yaml", ("train", "test", "predict", "inspect")),
    "checkpoint": (TASKS, "run/checkpoints/best.ckpt", ("train", "test", "predict", "inspect")),
    "run": (TASKS, "run/*.[jc]s*", ("train", "test", "predict", "inspect")),
    "numbers": (("value", "event"), "data/*.csv", ("train", "test", "predict", "inspect")),
    "mask": (("masks",), "data/[ms]*", ("train", "test", "inspect")),
    "nnunet": (("nnunet",), "data/raw/*", ("train", "test", "inspect")),
    "made run": (("value", "event", "masks"), "run/*.[jcy][sa]*", ("train", "test", "predict", "inspect")),
    "export": (("exported",), "run/export/*", ("predict",)),
}


def words(verb: str, rng: random.Random, task: str) -> list[str]:
    """Write the command line."""
    if verb == "predict":
        inputs = ["data/new", *(str(p) for p in Path("data").iterdir() if p.suffix == ".csv"), "data"]
        run = "run/export" if task == "exported" else "run"
        return [verb, f"run={run}", f"input={rng.choice(inputs)}", "output=out.csv"]
    own = ["data.cache_dir=cache", "data.num_workers=0"]
    if verb == "train":
        small = ["trainer.max_epochs=1", "eval.bootstrap=0", "hydra.run.dir=new", "trainer=cpu"]
        return [verb, "run=run", *small, *own]
    if verb == "inspect":
        return [verb, "run=run", "hydra.run.dir=looked", *own]
    return [verb, "run=run", "eval.bootstrap=0", *own]


def digests(folder: Path) -> dict[str, str]:
    """Hash all files below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def lay(task: str, place: Path, made: Path) -> Path:
    """Copy a task's data and run to a place of its own; what no fixture has is made in the folder `made` first."""
    here = place / "case" / task
    if task in hostile_made.BASE and not (made / task).is_dir():
        hostile_made.make(task, FIXTURES, made, run)
    source, written = (made / task, str(made)) if task in hostile_made.BASE else (FIXTURES / task, PLACE)
    for name in ("data", "run"):
        shutil.copytree(source / name, here / name)
    config = here / "run" / "config.yaml"
    config.write_text(config.read_text().replace(written, str(place / "case")))
    return here


def chosen(here: Path, pattern: str, rng: random.Random) -> Path:
    """Choose a file; of a folder that the pattern names, one in it."""
    listed = [file for path in here.glob(pattern) for file in ([path] if path.is_file() else path.rglob("*"))]
    return rng.choice(sorted(file for file in listed if file.is_file()))


def dicom(place: Path) -> None:
    """Write a picture as DICOM too, in the place of the first film."""
    import numpy as np
    from PIL import Image

    sys.path.insert(0, str(ROOT))
    from tests.dicom_files import dataset

    film = sorted(place.glob("data/films/*.png"))[0]
    dataset(np.asarray(Image.open(film).convert("L"))).save_as(
        place / "data/films/film_00.dcm", enforce_file_format=True
    )
    table = next(place.glob("data/*.csv"))
    table.write_text(table.read_text().replace(film.name, "film_00.dcm"))


def run(argv: list[str], here: Path) -> tuple[int, str]:
    """Run the command in a fork; returns its exit code (negative: a signal, an alarm's for a time-out) and output."""
    log = here.with_name(f"{here.name}.log")
    pid = os.fork()
    if pid == 0:
        os.chdir(here)
        with open(log, "w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = 70
        try:
            import resource

            from medtrain.cli import main

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.environ["MEDTRAIN_CACHE"] = str(here / "cache")
            os.environ["XDG_CONFIG_HOME"] = str(here / "cache")
            code = main(argv)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code or 0)
    began = time.monotonic()
    while (status := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() - began > LIMIT_S:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return -signal.SIGALRM, log.read_text(errors="replace")
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(status[1]), log.read_text(errors="replace")


def faults(verb: str, code: int, said: str, here: Path, before: dict[str, str]) -> list[str]:
    """Say what is wrong with an outcome."""
    wrong = []
    if code not in (0, 1, 2):
        wrong.append(f"exit code {code}")
    if any(words in said for words in ("Traceback", "fault of medtrain", "the traceback is in")):
        wrong.append("traceback")
    if code in (1, 2) and "error:" not in said and "problems" not in said and verb != "inspect":
        wrong.append("no named reason")
    after = digests(here)
    own = ("run/test", "run/evaluations", "run/run.json", "run/looks")
    lost = [name for name in before if after.get(name) != before[name] and not name.startswith(own)]
    if lost:
        wrong.append(f"lost or changed: {', '.join(lost[:3])}")
    outside = [p.name for p in here.parent.iterdir() if p not in (here, here.with_name(f"{here.name}.log"))]
    outside += [p.name for p in here.parent.parent.iterdir() if p != here.parent]
    allowed = ("data", "run", "cache", "new", "looked", "out.csv", "out.json", "outputs", "looked.html", "out")
    outside += [p.name for p in here.iterdir() if not p.name.startswith(allowed)]
    if outside:
        wrong.append(f"written elsewhere: {', '.join(outside[:3])}")
    if code == 0 and verb == "predict" and not any(p.name.startswith("out") for p in here.iterdir()):
        wrong.append("no result")
    if code == 0 and verb == "test":
        try:
            metrics = [json.loads(p.read_text()) for p in here.glob("run/test*/test_metrics.json")]
            wrong += [] if metrics else ["no result"]
        except ValueError as error:
            wrong.append(f"no JSON: {error}")
    return wrong


def one(seed: int, kinds: list[str], keep: Path | None, made: Path) -> tuple[str, str, int, list[str], str]:
    """Make one input, run one command on it; returns kind, what was done, exit code, what is wrong, and the output."""
    rng = random.Random(seed)
    kind = kinds[seed % len(kinds)]
    tasks, pattern, verbs = KINDS[kind]
    task = rng.choice(tasks)
    place = Path(tempfile.mkdtemp(prefix="hostile_"))
    try:
        here = lay(task, place, made)
        if kind == "dicom":
            dicom(here)
        file = chosen(here, pattern, rng)
        change = FIELDS.get(file.suffix, bytes_changed)
        if rng.random() < 0.4:
            change = bytes_changed
        harmless = rng.random() < HARMLESS and file.suffix in SAME
        verb = rng.choice(verbs)
        if harmless:
            change = columns_same if verb == "train" and file.suffix == ".csv" else SAME[file.suffix]
        os.chdir(here)
        argv = words(verb, rng, task)
        os.chdir(ROOT)
        expected = unchanged(here, argv) if harmless else (0, {})
        file.write_bytes(change(rng, file.read_bytes()))
        before = digests(here)
        code, said = run(argv, here)
        wrong = faults(verb, code, said, here, before)
        if harmless and (code != expected[0] or not equal(results(here), expected[1])):
            wrong.append(f"not what the unchanged file gives (it ends with {expected[0]})")
        done = f"{task} {file.relative_to(here)} {change.__name__}: {' '.join(argv)}"
        if wrong and keep is not None:
            shutil.copytree(place, keep / str(seed), symlinks=True)
        return f"{kind}, same" if harmless else kind, done, code, wrong, said
    finally:
        shutil.rmtree(place, ignore_errors=True)


def unchanged(here: Path, argv: list[str]) -> tuple[int, Any]:
    """Run the command before the change and put everything back; returns its exit code and predictions."""
    shutil.copytree(here, aside := here.with_name("aside"))
    code, _ = run(argv, here)
    predicted = results(here)
    shutil.rmtree(here)
    aside.rename(here)
    return code, predicted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    import torch

    import medtrain.command.inspect
    import medtrain.command.predict
    import medtrain.command.test
    import medtrain.command.train  # noqa: F401 so that the forks need not import them

    torch.set_num_threads(1)
    counts: Counter[tuple[str, str]] = Counter()
    bad = 0
    made = Path(tempfile.mkdtemp(prefix="hostile_made_"))
    for seed in range(args.first, args.first + args.count):
        kind, done, code, wrong, said = one(seed, args.only.split(","), args.keep, made)
        outcome = "WRONG" if wrong else {0: "result", 1: "refused (data)", 2: "refused (usage)"}[code]
        counts[kind, outcome] += 1
        if wrong:
            bad += 1
            print(
                f"seed {seed}: {done}\n  {'; '.join(wrong)}\n  " + "\n  ".join(said.strip().splitlines()[-8:]),
                flush=True,
            )
    shutil.rmtree(made)
    for (kind, outcome), n in sorted(counts.items()):
        print(f"{kind:18} {outcome:16} {n:4}")
    print(f"{args.count} inputs, {bad} wrong")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
