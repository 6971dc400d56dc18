"""Peak memory of a predicted volume (volume_seg), however large: what is held is not the volume but some planes of it.

    python scripts/benchmarks/segmentation_memory.py FOLDER [--size 400 512 512] [--spacing 1] [--classes 2]

Writes blocks of noise and predicts it in a process of its own, without mirrored views, by a network of one convolution:
what a real network keeps of one window comes on top. Prints the largest resident memory (ru_maxrss) of the process,
and of those that read the file; what the process holds before it begins, torch above all; and the seconds.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import nn

from medtrain.command.build import plain
from medtrain.config.compose import compose
from medtrain.data.batches.masks import MaskData
from medtrain.target import DataSpec, Decision
from medtrain.target.mask import MaskTarget
from medtrain.task.segmentation.module import Segmentation

BLOCK = 8  # voxels a side
GB = 1e6  # of kilobytes, in which Linux counts


def write_volume(file: Path, size: list[int]) -> None:
    """Write a volume of blocks of noise at 1 mm."""
    if not file.exists():
        draw = np.random.default_rng(0)
        voxels = np.empty(size[::-1], np.int16)
        for plane in range(size[0]):
            if plane % BLOCK == 0:
                coarse = draw.integers(-1000, 1000, [-(-side // BLOCK) for side in size[:0:-1]], np.int16)
            voxels[..., plane] = coarse.repeat(BLOCK, 0).repeat(BLOCK, 1)[: size[2], : size[1]]
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), file)


def predict(folder: Path, classes: int, patch: int, spacing: float) -> dict[str, float]:
    """Predict the volume of a folder; returns figures in GB and s."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    target = MaskTarget(tuple(f"class {n}" for n in range(1, classes + 1)))
    scale = ((-500.0, 500.0, 0.0, 300.0),)
    spec = DataSpec(target, 1, (patch,) * 3, (spacing,) * 3, strides=((1, 1, 1),), intensity=scale)
    words = ["task=volume_seg", "data=volume_table", "data.table=none.csv"]
    cfg = plain(compose(words).cfg.data) | {"cache_dir": str(folder / "cache")}
    data = MaskData.for_inputs(cfg, spec, folder / "volume.nii")
    task = Segmentation(spec, nn.Conv3d(1, classes + 1, 3, padding=1)).eval()
    task.truth = data.truth
    task.trainer = type("Folder", (), {"default_root_dir": str(folder)})()
    with torch.no_grad():
        outputs = [task.final_outputs(batch) for batch in data.predict_dataloader()]
    task.save(folder / "predicted.csv", outputs, data, Decision(0.5))
    own, readers = (resource.getrusage(of).ru_maxrss / GB for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    figures = {"peak_gb": own, "readers_gb": readers, "before_gb": before / GB, "s": time.perf_counter() - start}
    return {name: round(figure, 2) for name, figure in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, nargs=3, default=[400, 512, 512], metavar=("D", "H", "W"))
    parser.add_argument("--spacing", type=float, default=1, help="mm at which the network works; the file has 1")
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    write_volume(args.folder / "volume.nii", args.size)
    if args.alone:
        print(json.dumps(predict(args.folder, args.classes, args.patch, args.spacing)))
        return
    words = [sys.executable, __file__, str(args.folder), "--alone", "--classes", str(args.classes)]
    words += ["--patch", str(args.patch), "--spacing", str(args.spacing)]
    made = subprocess.run(words, capture_output=True, text=True)
    print(made.stdout or made.stderr, end="")
    sys.exit(made.returncode)


if __name__ == "__main__":
    main()
