"""CONTRIBUTING's recipes, followed in a copy of the package: one file and one YAML each, and no list is edited."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.repository import ROOT

FILES = {
    "loss/hinge.py": '''
from typing import Annotated, Literal
from torch import Tensor, nn
from medtrain.core.ranges import AtLeast, checked
from medtrain.target import DataSpec


class _Hinge(nn.Module):
    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        return (1 - logits * (2 * y - 1)).clamp(min=0).mean()


@checked("loss")
def hinge(spec: DataSpec, margin: Annotated[float, AtLeast(0)] = 1.0, kind_of: Literal["plain"] = "plain") -> nn.Module:
    """The hinge loss."""
    return _Hinge()
''',
    "model/pooled.py": '''
from torch import nn
from medtrain.core.ranges import Part
from medtrain.target import DataSpec


def pooled(spec: DataSpec, dropout: Part = 0.0) -> nn.Module:
    """Average grey values, and a linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * spec.channels, spec.n_logits))
''',
    "sampler/backwards.py": '''
from torch.utils.data import Sampler
from medtrain.core.ranges import Count


class Backwards(Sampler):
    """All cases, the last one first."""

    def __init__(self, labels, groups, *, batch_size, seed, rank=0, world=1, step: Count = 1):
        self.n, self.step = len(labels), step

    def set_epoch(self, epoch): ...

    def __iter__(self):
        return iter(range(self.n - 1, -1, -self.step))

    def __len__(self):
        return -(-self.n // self.step)
''',
    "encoder/flat.py": '''
from torch import nn
from medtrain.encoder.base import Encoder, Preprocessing


def flat(size: int = 8) -> Encoder:
    """Pixels as they are."""
    return Encoder(nn.Flatten(), Preprocessing(size), "flat")
''',
    "data/source/text_list.py": '''
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from medtrain.core.progress import Progress
from medtrain.data.rows.manifest import Manifest, manifest_of
from medtrain.data.source import PathKey, Source
from medtrain.io.table import Listing
from medtrain.target import DataSpec


@Source(PathKey("lines", holds_data=True), batches="images")
def text_list(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read images of a text file: a label and a path a line."""
    file = Path(cfg["lines"])
    lines = [line.split() for line in file.read_text().splitlines()]
    columns = {"label": [label for label, _ in lines], "path": [path for _, path in lines]}
    places = [f"{file.name} line {n}" for n in range(1, len(lines) + 1)]
    return manifest_of(Listing.of(file, columns, places), cfg, spec)
''',
    "configs/data/text_list.yaml": """# Images of a text file
defaults:
  - _splits
  - _images
  - _self_

name: text_list
kind: image
lines: ???
""",
    "configs/loss/hinge.yaml": "# The hinge loss\n_target_: medtrain.loss.hinge\nmargin: 1.0\n",
    "configs/model/pooled.yaml": "# Average grey values\n_target_: medtrain.model.pooled\nkind: image\ndropout: 0.0\n",
    "configs/sampler/backwards.yaml": "# The last one first\n_target_: medtrain.sampler.Backwards\nstep: 1\n",
    "configs/encoder/flat.yaml": "# Pixels\n_target_: medtrain.encoder.flat\nsize: 8\n",
}
METRIC = """

@metric
def prevalence_seen(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
    return ratio(tp + fn, tp + fp + fn + tn)


NAMES ="""
USE = """
import json
import numpy as np
from pathlib import Path
from omegaconf import OmegaConf
from PIL import Image
import medtrain
from medtrain.command import build
from medtrain.config import allowed, search
from medtrain.config.compose import compose
from medtrain.config.compose import resolved
from medtrain.config.folder import absolute_paths
from medtrain.config.quote import quote_paths
from medtrain.core.errors import DataError, UsageError
from medtrain.data.source import files_of
from medtrain.inspection import inspect_data
from medtrain.target import DataSpec
from medtrain.model import build_model

place = Path("a list, with = and #")
place.mkdir()
for n in range(30):
    Image.fromarray(np.random.default_rng(n).integers(0, 256, (9, 9)).astype(np.uint8)).save(place / f"{n}.png")
lines = [f"{n % 2} {n}.png" for n in range(30)]
(place / "lines.txt").write_text("\\n".join(lines))
words = ["loss=hinge", "model=pooled", "sampler=backwards", "encoder=flat"]
source = ["data=text_list", "data.image_size=8", "data.num_workers=0", f"data.cache_dir={place / 'cache'}"]
words += quote_paths([*source, f"data.lines={place / 'lines.txt'}"], multirun=False)
cfg = resolved(compose(words, signatures=True).cfg)
spec = DataSpec.of("binary", ("0", "1"), 1, (32, 32))
allowed.check_targets(cfg)
built = {
    "loss": allowed.build("loss", cfg.loss, spec=spec), "encoder": allowed.build("encoder", cfg.encoder),
    "model": build_model(*allowed.builder("model", cfg.model), spec),
    "sampler": allowed.partial("sampler", cfg.sampler)([0, 1, 0], None, batch_size=1, seed=0),
}
refused = []
for word in ("loss.margin=-1", "model.dropout=1", "sampler.step=0", "encoder.size=x"):
    try:
        compose([*words, word], signatures=True)
    except UsageError as error:
        refused.append(str(error))
absolute_paths(cfg)
data = build.data(cfg, report=str)
data.prepare()
inputs = build.inputs(OmegaConf.merge(cfg, {"input": str(place)}), data.spec)
inspection = inspect_data(build.data(cfg, as_read=True, report=str), near=False)
(place / "lines.txt").write_text("\\n".join([*lines, "0 none.png", "1 0.png"]))
try:
    build.data(cfg, report=str).prepare()
except DataError as error:
    wrong = [(problem.kind, problem.where) for problem in error.problems]
probs, y = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]]), np.array([0, 1, 1, 1])
report = spec.target.evaluate(probs, y, probs.argmax(1), None, bootstrap=0)
print(json.dumps({
    "source": [len(data.rows("train")) + len(data.rows("val")) + len(data.rows("test")), len(inputs.readable)],
    "seen": [len(inspection.cases), cfg.data.lines, [str(file) for file in files_of(cfg.data)["lines"]], wrong],
    "from": medtrain.__file__, "refused": refused, "built": {k: type(v).__name__ for k, v in built.items()},
    "metric": report["metrics"]["prevalence_seen"]["value"],
    "listed": [g for g in ("loss", "model", "sampler", "encoder", "data")
               if {"hinge", "pooled", "backwards", "flat", "text_list"}
               & set(search.option_files()[g])],
}))
"""


def copied(folder: Path, files: dict[str, str]) -> dict[str, str]:
    """Copy the package with more files in it; the environment in which it is the one that is imported."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "medtrain", folder / "medtrain", ignore=skip)
    shutil.copytree(ROOT / "configs", folder / "medtrain" / "configs", ignore=skip)
    for name, text in files.items():
        (folder / "medtrain" / name).parent.mkdir(exist_ok=True)
        (folder / "medtrain" / name).write_text(text)
    return os.environ | {"PYTHONPATH": str(folder)}


def test_a_loss_a_model_a_sampler_an_encoder_a_source_and_a_metric_are_one_file_each(tmp_path: Path) -> None:
    environment = copied(tmp_path, FILES)
    binary = tmp_path / "medtrain" / "metric" / "binary.py"
    binary.write_text(binary.read_text().replace("\n\nNAMES =", METRIC))
    done = subprocess.run(
        [sys.executable, "-c", USE], cwd=tmp_path, env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout)
    assert answer["from"].startswith(str(tmp_path))
    assert answer["built"] == {"loss": "_Hinge", "encoder": "Encoder", "model": "Sequential", "sampler": "Backwards"}
    assert answer["refused"] == [
        "loss.margin=-1: it must be at least 0",
        "model.dropout=1: it must be a share: at least 0 and below 1",
        "sampler.step=0: it must be at least 1",
        "encoder.size=x: text, where a whole number is wanted",
    ]
    assert answer["metric"] == 0.75 and answer["listed"] == ["loss", "model", "sampler", "encoder", "data"]
    lines = str(tmp_path / "a list, with = and #" / "lines.txt")  # quoted, resolved, and known to hold data
    assert answer["source"] == [30, 30]
    wrong = [["label_conflict", "lines.txt line 1"], ["missing", "lines.txt line 31"]]
    wrong += [["label_conflict", "lines.txt line 32"]]
    assert answer["seen"] == [30, lines, [lines], wrong]


TASK = {
    "task/shrunk/__init__.py": '"""Classification with small weights."""\n',
    "task/shrunk/module.py": '''
from torch import Tensor
from medtrain.report.views import Note, part, section
from medtrain.task.base import Batch
from medtrain.task.classification import Classification


@section(forms={"probabilities"})
def weights(run):
    return part("weights", "Weights of the network", Note("They were kept small."))


class Shrunk(Classification):
    """A classifier whose loss grows with its weights; the option ``penalty`` says how much."""

    def __init__(self, *args, penalty: float = 0.0, **more) -> None:
        super().__init__(*args, **more)
        self.penalty = penalty

    @classmethod
    def options(cls, task, evaluation, augment, spec):
        return super().options(task, evaluation, augment, spec) | {"penalty": task["penalty"]}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        size = sum(p.square().sum() for p in self.model.parameters())
        return super().losses(batch) | {"size": self.penalty * size}

    def sections(self):
        return [*super().sections(), weights]
''',
    "configs/task/shrunk_cls.yaml": """# @package _global_
# Images, by a network of small weights
defaults:
  - override /data: phantom_xray
  - override /model: resnet18

task:
  name: shrunk_cls
  slice: shrunk
  kind: image
  dims: 2
  monitor: val_auroc
  pool: mean
  mixup: 0.0
  penalty: 1.0e-6
""",
    "target/certain.py": '''
from medtrain.target.binary import Binary


class Certain(Binary):
    """Two classes, of which nobody is in doubt."""

    kind = "certain"
''',
}


def test_a_task_is_a_slice_and_an_option_and_a_target_is_a_file(tmp_path: Path) -> None:
    environment, run = copied(tmp_path, TASK), tmp_path / "run"
    words = ["task=shrunk_cls", "data.patients=30", "data.image_size=32", "data.batch_size=8", "eval.bootstrap=20"]
    words += ["trainer.max_epochs=1", "trainer=cpu", "eval.thumbnails=2", f"hydra.run.dir={run}"]
    command = [sys.executable, "-m", "medtrain"]
    for arguments in (words, ["predict", f"run={run}", f"input={run / 'none'}", f"output={tmp_path / 'p.csv'}"]):
        done = subprocess.run([*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        if "predict" not in arguments:
            assert done.returncode == 0, done.stderr[-3000:]
            assert "shrunk_cls on phantom_xray" in done.stdout
    assert "no such file or folder" in done.stderr and done.returncode != 0  # the verb came as far as its input
    history = (run / "metrics.csv").read_text()
    assert "train_size" in history.splitlines()[0] and "They were kept small." in (run / "report.html").read_text()
    finds = "from medtrain.target import DataSpec, target_of; s = DataSpec.of('certain', ('a', 'b'), 1);"
    finds += "print(target_of('certain').__name__, DataSpec.from_dict(s.to_dict()) == s, s.n_logits)"
    done = subprocess.run([sys.executable, "-c", finds], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["Certain", "True", "1"], done.stderr
