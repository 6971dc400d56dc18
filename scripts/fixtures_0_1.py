"""Makes the run folders of version 0.1.0 in tests/fixtures/runs_0_1, by its own command.

    git worktree add ../medtrain-0.1.0 COMMIT_OF_0.1.0 && cd ../medtrain-0.1.0
    python scripts/fixtures_0_1.py tests/fixtures/runs_0_1     # about a minute

For each task (xray_classes: more than two classes): `data` (scripts/fixtures_0_1_data.py), the runs below, and in
`expected` what 0.1.0 answers to predict, explain and compare. tests/integration/test_runs_of_0_1.py asks today's code
the same questions. Runs of another version show nothing, so this one refuses to make them.

Paths in the runs start with /runs_0_1, which a test replaces by the folder that it has copied a task's folder to.
`stopped` is `run`, ended by a signal after so many checkpoints: resumed, it must come to what `run` came to.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from fixtures_0_1_data import DRAW

import medtrain
from medtrain.callbacks.checkpoint import LastCheckpoint
from medtrain.cli import main

PLACE = "/runs_0_1"
BYTES = 1_000_000  # at most, a task
PLAIN_SGD = "optimizer=sgd optimizer.momentum=0 optimizer.nesterov=false"  # without state: small checkpoints
COMMON = (
    "trainer=cpu trainer.max_epochs=5 data.num_workers=0 eval.bootstrap=50 eval.thumbnails=0 logger.tensorboard=null"
)
DENSENET = (
    "model=custom model._target_=torchvision.models.DenseNet +model.growth_rate=6 +model.block_config=[1,1] "
    "+model.num_init_features=8 +model.bn_size=2"
)
FILMS = f"data=image_table data.table=data/films.csv data.image_size=32 data.batch_size=8 {DENSENET}"
FEW = f"{FILMS} {PLAIN_SGD} optimizer.lr=0.5"
SCANS = (
    "task=volume_cls data=volume_table data.table=data/scans.csv data.patch_size=10 data.classes=[well,sick] "
    "model=resnet10_3d model.width=2 model.attention=true"
    f" {PLAIN_SGD} optimizer.lr=0.2"
)
SLIDES = (
    "task=wsi_mil data=feature_bags data.table=data/slides.csv data.root=data/bags data.batch_size=4 model.hidden=[8] "
    "model.attention=8 optimizer.lr=0.02"
)
LESIONS = (
    "task=lesion_det data=coco data.root=data/films data.annotations=data/lesions.json data.image_size=64 "
    "data.channels=3 data.patient_pattern=(p[0-9]+) data.batch_size=4 optimizer.lr=0.01 loss=own model=custom "
    "model.kind=boxes model._target_=medtrain.model.torchvision_detector.TorchvisionDetector +model.first_label=1"
)
VISION = "torchvision.models.detection"
TINY_DETECTOR = {  # Faster R-CNN of a few thousand weights
    "_target_": f"{VISION}.FasterRCNN",
    "box_score_thresh": 0.02,
    "box_detections_per_img": 8,
    "rpn_post_nms_top_n_train": 60,
    "rpn_post_nms_top_n_test": 30,
    "box_batch_size_per_image": 32,
    "backbone._target_": f"{VISION}.backbone_utils.BackboneWithFPN",
    "backbone.return_layers": "{features:'0'}",
    "backbone.in_channels_list": "[16]",
    "backbone.out_channels": 8,
    "backbone.backbone._target_": "torchvision.models.DenseNet",
    "backbone.backbone.growth_rate": 8,
    "backbone.backbone.block_config": "[1]",
    "backbone.backbone.num_init_features": 8,
    "backbone.backbone.bn_size": 2,
    "rpn_anchor_generator._target_": f"{VISION}.anchor_utils.AnchorGenerator",
    "rpn_anchor_generator.sizes": "[[12],[18]]",
    "rpn_anchor_generator.aspect_ratios": "[[1.0],[1.0]]",
    "box_roi_pool._target_": "torchvision.ops.MultiScaleRoIAlign",
    "box_roi_pool.featmap_names": "['0']",
    "box_roi_pool.output_size": 4,
    "box_roi_pool.sampling_ratio": 2,
    "box_head._target_": f"{VISION}.faster_rcnn.TwoMLPHead",
    "box_head.in_channels": 128,
    "box_head.representation_size": 16,
    "box_predictor._target_": f"{VISION}.faster_rcnn.FastRCNNPredictor",
    "box_predictor.in_channels": 16,
    "box_predictor.num_classes": 2,
}
LESIONS += "".join(f" +model.net.{key}={value}" for key, value in TINY_DETECTOR.items())
RUNS = {
    "xray_cls": {
        "run": f"{FILMS} optimizer.lr=0.02",
        "other": f"{FEW} seed=1",
        "fold_0": f"{FEW} data.folds=2 data.fold=0",
        "fold_1": f"{FEW} data.folds=2 data.fold=1",
    },
    "xray_classes": {
        "run": f"{FILMS} data.columns.label=finding optimizer=sgd optimizer.lr=0.05 callbacks=ema "
        "callbacks.ema.decay=0.9",
        "multilabel": f"{FEW} data.columns.label=[opacity,nodule] loss=focal eval.threshold=youden",
    },
    "volume_cls": {"run": SCANS, "other": f"{SCANS} seed=1"},
    "wsi_mil": {"run": SLIDES, "other": f"{SLIDES} seed=1"},
    "lesion_det": {"run": LESIONS},  # 0.1 compares no boxes, and makes no ensembles of them
}
STOPPED = {  # after so many checkpoints, of which every optimizer step writes one
    "xray_cls": (signal.SIGINT, 6),
    "xray_classes": (signal.SIGTERM, 9),
    "volume_cls": (signal.SIGTERM, 8),
    "wsi_mil": (signal.SIGKILL, 7),
    "lesion_det": (signal.SIGINT, 8),
}
STEPS = "callbacks.last.every_n_steps=1"
INPUTS = {
    "xray_cls": ("films", "*0.png"),
    "xray_classes": ("films", "*0.png"),
    "volume_cls": ("scans", "*[05].nii"),
    "wsi_mil": ("bags", "*[05].h5"),
    "lesion_det": ("films", "p*0_film.png"),
}


def ask(*words: str) -> None:
    """Run the command in this process; end the script where it fails."""
    if code := main(list(words)):
        raise SystemExit(f"medtrain {' '.join(words)}: exit code {code}")


def stop(number: int, after: int, words: list[str]) -> None:
    """Train, and send this process a signal once `after` checkpoints are written."""
    save, count = LastCheckpoint._save_checkpoint, 0

    def save_and_stop(self: LastCheckpoint, trainer: Any, path: str) -> None:
        nonlocal count
        save(self, trainer, path)
        count += 1
        if count == after:
            os.kill(os.getpid(), number)

    LastCheckpoint._save_checkpoint = save_and_stop  # type: ignore[assignment, method-assign]
    sys.exit(main(words))


def train(task: str) -> None:
    """Make all runs of a task in the working folder, and one that was stopped."""
    for name, words in RUNS[task].items():
        ask(*words.split(), *COMMON.split(), STEPS, f"hydra.run.dir={name}")
    number, after = STOPPED[task]
    again = [*RUNS[task]["run"].split(), *COMMON.split(), STEPS, "hydra.run.dir=stopped"]
    done = subprocess.run([sys.executable, __file__, "--stop", str(int(number)), str(after), *again])
    status = json.loads(Path("stopped/run.json").read_text())["status"]
    assert done.returncode and status != "finished", f"{task}: it was not stopped"


def answer(task: str) -> None:
    """Keep what this version answers."""
    Path("expected").mkdir()
    folder, pattern = INPUTS[task]
    Path("data/new").mkdir()
    for file in sorted(Path("data", folder).glob(pattern))[:3]:
        shutil.copy(file, "data/new")
    suffix = "json" if task == "lesion_det" else "csv"
    names = [name for name in RUNS[task] if name not in ("other", "fold_0", "fold_1")]
    if task == "xray_cls":
        ask("ensemble", "runs=fold_0,fold_1", "hydra.run.dir=folds", "eval.bootstrap=50")
        names.append("folds")
    if task in ("volume_cls", "wsi_mil"):
        ask("ensemble", "runs=run,other", "hydra.run.dir=both", "eval.bootstrap=50")
        names.append("both")
    for name in names:
        ask("predict", f"run={name}", "input=data/new", f"output=expected/{name}_predict.{suffix}")
        ask("explain", f"run={name}", "input=data/new", f"output=maps_{name}", "explain.sanity=0")
        for table in ("explain.csv", "regions.csv"):
            if Path(f"maps_{name}", table).is_file():
                shutil.copy(f"maps_{name}/{table}", f"expected/{name}_{table}")
        shutil.rmtree(f"maps_{name}")
    if "other" in RUNS[task]:
        ask("compare", "run", "other", "output=expected/compare.json", "eval.bootstrap=50")


def tidy(task: Path) -> None:
    """Leave out what no verb reads, and what only this machine knows."""
    for name in ("report.html", "plots", "failures", "train.log"):
        for path in task.glob(f"*/{name}"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for file in task.rglob("*"):
        if file.suffix in (".yaml", ".json", ".csv"):
            text = file.read_text().replace(str(task.parent), PLACE)
            if file.name == "run.json":
                text = json.dumps(json.loads(text) | {"host": "another-machine"}, indent=2)
            file.write_text(text)
    size = sum(file.stat().st_size for file in task.rglob("*") if file.is_file())
    print(f"{task.name}: {size:,} bytes")
    assert size < BYTES, f"{task.name} has {size:,} bytes"


def make(place: Path) -> None:
    """Make the folders of all tasks."""
    if medtrain.__version__ != "0.1.0":
        raise SystemExit(f"this is medtrain {medtrain.__version__}; check out version 0.1.0 to make its runs")
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["MEDTRAIN_CACHE"] = f"{temporary}/cache"
        for task, draw in DRAW.items():
            folder = Path(temporary, "runs", task)
            folder.mkdir(parents=True)
            os.chdir(folder)
            draw(folder / "data")
            train(task)
            answer(task)
            os.chdir(temporary)
            tidy(folder)
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(Path(temporary, "runs"), place)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["--stop"]:
        stop(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    make(parser.parse_args().folder.absolute())
