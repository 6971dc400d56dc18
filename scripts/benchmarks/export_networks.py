"""Is every network exported as it is, and how fast? A table in Markdown of all that `medtrain list model` has.

    python scripts/benchmarks/export_networks.py [NAME ...] [--format onnx] [--precision fp32] [--threads 1]

Networks have random weights, and statistics of BatchNorm of what they are measured on, as a training leaves them: with
others the numbers in a deep network grow without bound. Images are 128 x 128 in batches of 4, patches 16 x 64 x 64 in
batches of 2, bags 200 instances of 512 features. Columns: the largest difference between what the exported network
gives and what torch gives (probabilities; of detectors scores before suppression; of patches logits), the size of the
file, and the median time of torch in 32 bits over that of the export, in this process on this CPU. Networks that no
export holds have a row with the reason. With ``--precision fp16`` the difference is that of 16 bits from torch in 32.
"""

from __future__ import annotations

import argparse
import copy
import logging
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from medtrain import model as models
from medtrain.command.export_proof import seconds
from medtrain.config import search
from medtrain.core.errors import MedtrainError, UsageError
from medtrain.export.folder import network_of
from medtrain.export.portable import ExportRequest, Part, Portable
from medtrain.target import DataSpec, Decision
from medtrain.target.boxes import BoxTarget
from medtrain.target.mask import MaskTarget
from medtrain.task.classification.portable import portable_images
from medtrain.task.classification.portable_volumes import portable_volumes
from medtrain.task.detection.portable import portable_boxes
from medtrain.task.mil.portable import portable_bags
from medtrain.task.segmentation.portable import portable_masks

IDENTITY = {"run": "benchmark", "version": "0", "checkpoint_sha256": "0" * 64, "task": "benchmark"}
CLASSES = ("no", "yes")
DETECTORS = ("yolo", "fcos", "retinanet", "faster_rcnn", "faster_rcnn_mobilenet")
MASKS = ("unet_3d", "resunet_3d", "vnet")
WITHOUT = {
    "custom": "is any network of your own; its export tells whether it can be traced",
    "end_to_end_mil": "takes tiles, which only medtrain cuts out of slides",
}


def spec_of(name: str) -> DataSpec:
    """Say what data a network is for."""
    if name in DETECTORS:
        return DataSpec(BoxTarget(("lesion",)), 1, (128, 128), boxes=((8.0, 9.0), (20.0, 30.0), (14.0, 14.0)))
    if name in MASKS:
        return DataSpec(MaskTarget(("lesion",)), 1, (16, 64, 64), (3.0, 1.0, 1.0))
    if "mil" in name or name.startswith(("clam", "dsmil")) or name.endswith("_probe"):
        return DataSpec.of("binary", CLASSES, 512, ())
    return DataSpec.of("binary", CLASSES, 1, (16, 64, 64) if name.endswith("_3d") else (128, 128))


def portable_of(network: nn.Module, spec: DataSpec, half: bool = False) -> Portable:
    """Make the export of a network as that of a task of this spec would be, which of 16 bits changes the network."""
    shape = (1, -1, *[1] * len(spec.size))
    mean, std = (torch.full((spec.channels,), value).view(shape) for value in (0.4, 0.2))
    task = SimpleNamespace(model=network, spec=spec, target=spec.target, views=None, mc_dropout=0, pool="mean",
                           merge=0.5, mean=mean, std=std, mirrored=())  # fmt: skip
    decision = Decision(0.5, 1.0, {spec.classes[-1]: 0.5})
    data = {"image_size": list(spec.size), "patch_size": list(spec.size)}
    of_cases = (portable_bags, portable_images, portable_volumes)[max(0, spec.dims - 1)]
    of_others = {BoxTarget: portable_boxes, MaskTarget: portable_masks}
    return of_others.get(type(spec.target), of_cases)(task, ExportRequest(decision, data, half))


def network_named(name: str, spec: DataSpec) -> nn.Module:
    """Build an option of `model`: probes are a builder of another name, with layers of their own."""
    option: Any = OmegaConf.load(search.option_files()["model"][name])
    builder = getattr(models, str(option._target_).rpartition(".")[2])
    return builder(spec, **({"hidden": list(option.hidden)} if option.get("hidden") is not None else {})).eval()


def settle(network: nn.Module, run: Callable[[], Any]) -> None:
    """Give BatchNorm the statistics of what flows in a run of the network."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # of all batches the mean
        norm.train()
    with torch.no_grad():
        run()
    for norm in norms:
        norm.eval()


def inputs_of(part: Part, spec: DataSpec) -> dict[str, torch.Tensor]:
    """Draw what a graph takes: images, patches, or one bag; of a graph with several inputs its own example."""
    if len(part.inputs) > 1:
        return dict(part.inputs)
    draw = np.random.default_rng(0)
    key, example = next(iter(part.inputs.items()))
    shape = (200, spec.channels) if not spec.dims else (4 if spec.dims == 2 else 2, *example.shape[1:])
    drawn: Any = (
        draw.integers(0, 65536, shape, np.uint16) if example.dtype is torch.uint16 else draw.random(shape, np.float32)
    )
    return {key: torch.from_numpy(drawn)}


def measured(built: nn.Module, spec: DataSpec, given: argparse.Namespace, folder: Path) -> tuple[float, float, float]:
    """Export a graph: the largest difference of what it gives first that is a score, megabytes, ratio of speeds."""
    form, part = given.format, first_part(portable_of(built, spec))
    written, inputs = import_module(f"medtrain.export.formats.{form}"), inputs_of(part, spec)
    settle(part.network, lambda: part.network(*inputs.values()))
    wanted = part
    if given.precision == "fp16":
        wanted = first_part(portable_of(copy.deepcopy(built), spec, half=True))
    facts = written.write(wanted, folder / f"model{written.SUFFIX}", None, IDENTITY)
    network = network_of(form)(folder, facts)
    arrays = {key: value.numpy() for key, value in inputs.items()}
    name = "scores" if "scores" in part.outputs else next(iter(part.outputs))
    with torch.no_grad():
        own = dict(zip(part.outputs, part.network(*inputs.values()), strict=True))[name].numpy()
        ours = seconds(lambda: part.network(*inputs.values()))
    apart = float(np.abs(network(**arrays)[name] - own).max())
    size = (folder / facts["file"]).stat().st_size / 1e6
    return apart, size, ours / seconds(lambda: network(**arrays))


def first_part(portable: Portable) -> Part:
    """Choose the graph that is measured: the run's, of bags that of bags so small."""
    return portable.parts[next((own for own in portable.parts if own.startswith("up_to_")), "model")]


def rows(names: list[str], given: argparse.Namespace) -> Iterator[str]:
    """Measure networks one by one: lines of a table."""
    for name in names:
        torch.manual_seed(0)
        spec = spec_of(name)
        try:
            if name in WITHOUT:
                raise UsageError(WITHOUT[name])
            network = network_named(name, spec)
            with tempfile.TemporaryDirectory() as folder:
                apart, size, speed = measured(network, spec, given, Path(folder))
            yield f"| {name} | {apart:.0e} | {size:.1f} | {speed:.1f} |"
        except (MedtrainError, UsageError) as error:
            yield f"| {name} | none: {error} | | |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--format", default="onnx", choices=("onnx", "torch_export"))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "fp16"))
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    logging.disable(logging.WARNING)
    print("| network | largest difference | MB | times as fast as torch |\n|---|---|---|---|")
    for row in rows(given.names or list(search.option_files()["model"]), given):
        print(row, flush=True)


if __name__ == "__main__":
    main()
