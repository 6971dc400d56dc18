"""Damaged checkpoints, decisions of other runs, full disks, folders of good and bad files, by the real command."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from medtrain.data.batches.images import ImageData
from medtrain.io.files import sha256
from tests import preloaded
from tests.data.tables import config
from tests.dicom_files import write
from tests.integration.conftest import Ran, ended


@pytest.fixture
def copy(trained: Path, folder: Path) -> Path:
    shutil.copytree(trained, folder / "copy")
    Image.fromarray(np.eye(20, dtype=np.uint8) * 255).save(folder / "a.png")
    return folder / "copy"


def predict(medtrain: Callable[..., Ran], run: Path, given: str = "a.png") -> Ran:
    return medtrain("predict", f"run={run}", f"input={given}", "output=out.csv")


def renew(run: Path, checkpoint: dict[str, object]) -> None:
    """Put another checkpoint there, and let decision.json name it."""
    best = run / "checkpoints" / "best.ckpt"
    torch.save(checkpoint, best)
    decision = json.loads((run / "decision.json").read_text())
    old = next(key for key, value in decision.items() if isinstance(value, str) and len(value) == 64)
    (run / "decision.json").write_text(json.dumps(decision | {old: sha256(best)}))


def test_a_truncated_checkpoint(medtrain: Callable[..., Ran], copy: Path) -> None:
    best = copy / "checkpoints" / "best.ckpt"
    best.write_bytes(best.read_bytes()[:-5000])
    ran = predict(medtrain, copy)
    assert ran.code == 1 and "best.ckpt: cannot be read as a checkpoint" in ran.err
    assert not Path("out.csv").exists()


def test_a_checkpoint_of_another_model(medtrain: Callable[..., Ran], copy: Path) -> None:
    checkpoint = torch.load(copy / "checkpoints" / "best.ckpt", weights_only=True)
    state = checkpoint["state_dict"]
    renew(copy, checkpoint | {"state_dict": {f"model.other.{n}": v for n, v in enumerate(state.values())}})
    ran = predict(medtrain, copy)
    assert ran.code == 1 and "the checkpoint is not of this model" in ran.err and "Traceback" not in ran.err
    renew(copy, {"weights": state})
    assert "not a checkpoint of medtrain" in predict(medtrain, copy).err


def test_a_checkpoint_of_numbers_that_no_network_holds(medtrain: Callable[..., Ran], copy: Path) -> None:
    checkpoint = torch.load(copy / "checkpoints" / "best.ckpt", weights_only=True)
    state = checkpoint["state_dict"]
    key = next(key for key, value in state.items() if value.dim() > 1)
    for value, why in (
        (torch.full_like(state[key], torch.nan), "NaN or infinite"),
        (state[key].to(torch.int32), "is int32"),
    ):
        renew(copy, checkpoint | {"state_dict": state | {key: value}})
        ran = predict(medtrain, copy)
        assert ran.code == 1 and "best.ckpt: 1 of" in ran.err and key in ran.err and why in ran.err
        assert not Path("out.csv").exists()


def test_a_decision_of_another_checkpoint(medtrain: Callable[..., Ran], copy: Path) -> None:
    text = (copy / "decision.json").read_text()
    (copy / "decision.json").write_text(text.replace(sha256(copy / "checkpoints" / "best.ckpt"), "0" * 64))
    ran = predict(medtrain, copy)
    assert ran.code == 1 and "was fitted for another checkpoint" in ran.err
    (copy / "decision.json").unlink()
    ran = predict(medtrain, copy)
    assert ran.code == 2 and "it has no decision.json" in ran.err


def test_a_full_disk_under_the_cache(folder: Path) -> None:
    """No file may grow beyond 1 KB, as a quota or a small filesystem has it; with more space it goes on."""
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from medtrain.data.batches.images import ImageData\nfrom medtrain.core.errors import MedtrainError\n"
        "from tests.data.tables import config, write_images, write_table\nfrom pathlib import Path\n"
        "names = write_images(Path('.'), 20)\n"
        "table = write_table(Path('.'), '\\n'.join(['path,label', *(f'{n},{i % 2}' for i, n in enumerate(names))]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))\n"
        "try:\n    ImageData(config(table=table, image_size=64, cache_dir='small')).prepare()\n"
        "except MedtrainError as error:\n    print(error); sys.exit(error.exit_code)\n"
    )
    ran = ended(preloaded.start(code=script))
    assert ran.code == 1 and "small" in ran.out and "cannot be written" in ran.out, ran.err
    small, other = (
        ImageData(config(table="table.csv", image_size=64, cache_dir=cache, positive=1)) for cache in ("small", "other")
    )
    small.prepare()
    other.prepare()
    assert np.array_equal(small.cache[range(20)], other.cache[range(20)])  # the half-written one is not served


def test_a_folder_of_good_and_bad(medtrain: Callable[..., Ran], copy: Path, folder: Path) -> None:
    mixed = folder / "mixed"
    mixed.mkdir()
    pixels = np.arange(400, dtype=np.uint16).reshape(20, 20)
    write(mixed / "IM0001", pixels, 12, PatientID="42")
    write(mixed / "cine.dcm", pixels, 12, NumberOfFrames=3)
    write(mixed / "report.dcm", pixels, 12, PixelData=None, Rows=None)
    (mixed / "empty.png").touch()
    shutil.copy("a.png", mixed / "a.png")
    Image.new("RGBA", (1, 1), (9, 9, 9, 128)).save(mixed / "dot.png")
    ran = predict(medtrain, copy, "mixed")
    assert ran.code == 1 and "3 inputs could not be read" in ran.err and "Traceback" not in ran.err
    table = pd.read_csv("out.csv", keep_default_na=False, dtype=str).set_index("case")
    assert sorted(table.index) == ["IM0001", "a.png", "cine.dcm", "dot.png", "empty.png", "report.dcm"]
    bad = table[table["error"] != ""]
    assert sorted(bad.index) == ["cine.dcm", "empty.png", "report.dcm"] and (bad["prediction"] == "").all()
    good = table[table["error"] == ""]
    assert (good["prob_1"].astype(float).between(0, 1)).all()


def test_devices_in_a_table_cost_a_row_each(medtrain: Callable[..., Ran], copy: Path, folder: Path) -> None:
    os.mkfifo("pipe.png")
    Path("zero.png").symlink_to("/dev/zero")
    bad = ["/dev/zero", "/dev/random", "/dev/full", "pipe.png", "zero.png", "/dev"]
    Path("t.csv").write_text("\n".join(["path", "a.png", *bad]) + "\n")
    ran = predict(medtrain, copy, "t.csv")
    assert ran.code == 1 and f"{len(bad)} inputs could not be read" in ran.err and "Traceback" not in ran.err
    table = pd.read_csv("out.csv", keep_default_na=False, dtype=str)
    assert (table["error"] != "").sum() == len(bad) and (table["error"] == "").sum() == 1


def test_a_stranger_s_run_runs_nothing(medtrain: Callable[..., Ran], copy: Path, folder: Path) -> None:
    config = (copy / "config.yaml").read_text()
    acts = "{_target_: pathlib.Path.write_text, _args_: [{_target_: pathlib.Path, _args_: [ran]}, x]}"
    (copy / "config.yaml").write_text(f"{config}hydra:\n  callbacks:\n    e: {acts}\n")
    before = sorted(folder.rglob("*"))
    for words in (["-m", f"run={copy}", "seed=1"], [f"resume={copy}"], ["test", f"run={copy}"]):
        ran = medtrain(*words)
        assert ran.code == 2 and "hydra: no part of a run's configuration" in ran.err
    assert predict(medtrain, copy).code == 2
    assert sorted(folder.rglob("*")) == before
