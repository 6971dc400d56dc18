"""The first minutes on a GPU: does everything run, to the same weights, and how fast against a bare loop?

    python scripts/gpu_check.py [--minutes 8] [--json gpu.json] [--page docs/gpu.md]
    python scripts/gpu_check.py --dry-run                     # on a CPU, tiny: the script itself is right

In this order, so that what matters most is done where time runs out (what was left out is said):

1. `train`, `test`, `predict`, `explain` and `export` by the real command on the device.
2. DDP and FSDP on one device, by NCCL.
3. Runs killed in mid-epoch and resumed, with trainer.deterministic=true: equal weights.
On a GPU these three stand side by side, as most of their time is imports; then, alone:

4. Steps of the reference networks in float32, bf16, channels_last and compiled, each against a bare loop of the same
   settings, with peak memory, the share of time that waits for data, and what the loader alone gives.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # so that medtrain is found, from whatever folder this is started
PATHS = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

BEGIN, END = "<!-- made by scripts/gpu_check.py -->", "<!-- end -->"
SMALL = ("data.patients=40", "data.image_size=64", "model=resnet18", "trainer.max_epochs=2", "eval.bootstrap=200")
TINY = ("data.patients=24", "data.image_size=32", "data.batch_size=8", "model=resnet18", "trainer.max_epochs=1")


@dataclass
class Report:
    """What was done and measured."""

    device: str
    software: str
    dry: bool
    checks: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    minutes: float = 0.0

    @property
    def failed(self) -> list[str]:
        return [row["what"] for row in [*self.checks, *self.steps] if row.get("error")]


class Check:
    """One run of this script: its place, its device, and the time that is left."""

    def __init__(self, place: Path, minutes: float, dry: bool) -> None:
        import torch

        self.place, self.dry = place, dry
        self.began = time.monotonic()
        self.end = self.began + 60 * minutes
        self.gpu = torch.cuda.is_available()
        device = torch.cuda.get_device_name() if self.gpu else f"CPU ({platform.machine()})"
        versions = f"Python {platform.python_version()}, torch {torch.__version__}"
        if self.gpu:
            versions += f", CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        self.report = Report(device, versions, dry)
        self.words = [*(TINY if dry else SMALL), f"data.cache_dir={place / 'cache'}"]

    def left(self) -> float:
        """Give the seconds that are left."""
        return self.end - time.monotonic()

    def fits(self, what: str, seconds: float) -> bool:
        """Tell whether there is time for it, and note it as left out where there isn't."""
        if self.left() < seconds:
            self.report.left_out.append(f"{what}: {self.left():.0f} s were left, it wants about {seconds:.0f}")
            return False
        return True

    def command(self, what: str, words: list[str], starts: tuple[str, ...] = ("-m", "medtrain")) -> bool:
        """Run a command in a process of its own and note how it ended."""
        if not self.fits(what, 5):
            return False
        began, limit = time.monotonic(), max(self.left(), 1)
        try:
            ended = subprocess.run([sys.executable, *starts, *words], cwd=ROOT, capture_output=True, text=True,
                                   timeout=limit, env=os.environ | {"PYTHONPATH": PATHS})  # fmt: skip
            error = (ended.stderr + ended.stdout).strip()[-600:] if ended.returncode else ""
            last = next((line for line in reversed(ended.stdout.splitlines()) if line.strip()), "")
        except subprocess.TimeoutExpired:
            error, last = f"was not done after {limit:.0f} s", ""
        self.note(what, time.monotonic() - began, error, last.strip())
        return not error

    def note(self, what: str, seconds: float, error: str = "", result: str = "") -> None:
        row = {"what": what, "seconds": round(seconds, 1), "error": error, "result": result}
        self.report.checks.append(row)
        print(f"{what}: {error or 'runs'} ({seconds:.0f} s) {result[:100]}", flush=True)


def verbs(check: Check) -> None:
    """Train a small run by the real command, and give it to the verbs that take a run."""
    run = check.place / "run"
    trained = check.command("train", [*check.words, f"hydra.run.dir={run}", *device_words(check)])
    if not trained:
        return
    films = next((check.place / "cache").rglob("*.png")).parent
    check.command("test", ["test", f"run={run}"])
    check.command("predict", ["predict", f"run={run}", f"input={films}", f"output={check.place / 'p.csv'}"])
    one = next(films.glob("*.png"))
    check.command("explain", ["explain", f"run={run}", f"input={one}", f"output={check.place / 'why'}"])
    if (ROOT / "medtrain" / "command" / "export.py").is_file():
        for form in ("onnx", "torch_export"):
            check.command(f"export format={form}", ["export", f"run={run}", f"format={form}"])
    else:
        check.report.left_out.append("export: there is no such verb")


def device_words(check: Check) -> list[str]:
    return ["trainer=gpu"] if check.gpu else ["trainer=cpu"]


def spread(check: Check) -> None:
    """DDP and FSDP on one device: NCCL on a GPU; a CPU has gloo, and no FSDP."""
    accelerator = "gpu" if check.gpu else "cpu"
    one = ["trainer.devices=1", f"trainer.accelerator={accelerator}"]
    ddp = [*check.words, "trainer=ddp", "trainer.strategy=ddp", *one, f"hydra.run.dir={check.place / 'ddp'}"]
    check.command("DDP on one device", ddp)
    if check.gpu:
        check.command("FSDP on one device", [*check.words, "trainer=fsdp", "trainer.devices=1",
                                             f"hydra.run.dir={check.place / 'fsdp'}"])  # fmt: skip
    else:
        check.report.left_out.append("FSDP: no GPU here")


def resume(check: Check) -> None:
    """Kill runs in mid-epoch, resume them, and compare with an undisturbed one."""
    kills = 1 if check.dry else 3
    longer = [] if check.dry else ["data.patients=120", "trainer.max_epochs=12"]  # a GPU is through with less at once
    words = [str(check.place / "kills"), "--kills", str(kills), *device_words(check), "trainer.deterministic=true"]
    words += longer
    check.command(f"killed {kills} times and resumed: equal weights", words, ("scripts/kill_and_resume.py",))


def steps(check: Check) -> None:
    """Time steps of the reference networks, the compiled ones last."""
    from gpu_steps import JOBS, SETTINGS

    later = [name for name in SETTINGS if "compile" in name]
    for setting in [name for name in SETTINGS if name not in later] + later:
        for job in JOBS:
            what = f"{job.name}, {setting}"
            if check.dry and (setting in later or (job is not JOBS[0] and setting != "fp32")):
                continue  # what a CPU has no time for
            if check.fits(what, 5 if check.dry else 60 if setting in later else 15):
                check.report.steps.append(one_pair(check, what, job, setting))


def one_pair(check: Check, what: str, job: Any, setting: str) -> dict[str, Any]:
    """Time one network under one setting: ours, the bare loop, the loader alone."""
    import gpu_steps

    warm, count = (1, 2) if check.dry else (10, 40)
    row: dict[str, Any] = {"what": what, "network": job.name, "setting": setting, "error": ""}
    try:
        words = job.overrides(setting, check.dry, check.place)
        cfg, data = gpu_steps.prepared(words + device_words(check), warm + count)
        row["loader_per_s"] = gpu_steps.loading(data, 2 if check.dry else 40)
        row["bare"] = asdict(gpu_steps.bare(cfg, data, warm, count))
        row["ours"] = asdict(gpu_steps.ours(cfg, data, warm, count))
        row["ratio"] = row["ours"]["step_s"] / row["bare"]["step_s"]
        print(f"{what}: {row['ours']['cases_per_s']:,.0f} cases/s, bare {row['bare']['cases_per_s']:,.0f}", flush=True)
    except Exception as error:  # a fault of one network must not hide what the others do
        row["error"] = f"{type(error).__name__}: {error}"[:600]
        print(f"{what}: {row['error']}", flush=True)
    return row


def page(report: Report) -> str:
    """Write the figures as Markdown."""
    lines = [f"{report.device}; {report.software}; {report.minutes:.1f} minutes in all.", ""]
    lines += ["| what | result | seconds |", "|---|---|---|"]
    for row in report.checks:
        result = "failed: " + row["error"].splitlines()[-1] if row["error"] else "runs"
        lines.append(f"| {row['what']} | {result} | {row['seconds']:.0f} |")
    lines += ["", "| network | setting | cases/s | bare loop | time a step / bare | waits for data | peak memory, MB |"
              " bare loop | loader alone, cases/s |", "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in report.steps:
        if row["error"]:
            lines.append(f"| {row['network']} | {row['setting']} | failed: {row['error'].splitlines()[0]} |||||||")
            continue
        mine, plain = row["ours"], row["bare"]
        memory = [f"{one['memory_mb']:,.0f}" if one["memory_mb"] is not None else "" for one in (mine, plain)]
        lines.append(
            f"| {row['network']} | {row['setting']} | {mine['cases_per_s']:,.0f} | {plain['cases_per_s']:,.0f} | "
            f"{row['ratio']:.2f} | {100 * mine['data_wait']:.0f} % | {memory[0]} | {memory[1]} | "
            f"{row['loader_per_s']:,.0f} |"
        )
    lines += ["", *(f"- Left out: {text}" for text in report.left_out)]
    return "\n".join(lines).rstrip() + "\n"


def put(text: str, file: Path) -> None:
    """Put the figures into a page, between its marks."""
    before, rest = file.read_text().split(BEGIN)
    after = rest.split(END)[1]
    file.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def main() -> int:
    asks = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asks.add_argument("--dry-run", action="store_true", help="tiny, on whatever device there is")
    asks.add_argument("--only", choices=["runs", "steps"], help="points 1 to 3 above, or point 4")
    asks.add_argument("--minutes", type=float, default=8.0, help="to end within")
    asks.add_argument("--json", type=Path, help="where the figures go")
    asks.add_argument("--page", type=Path, help="a page whose marked part they replace")
    args = asks.parse_args()
    correct: list[Callable[[Check], None]] = [verbs, spread, resume]
    with tempfile.TemporaryDirectory() as folder:
        check = Check(Path(folder), args.minutes, args.dry_run)
        if not (check.gpu or args.dry_run):
            raise SystemExit("no GPU here: scripts/gpu_check.py --dry-run shows that the script itself is right")
        if args.only != "steps":
            with ThreadPoolExecutor(len(correct) if check.gpu else 1) as together:
                list(together.map(lambda part: part(check), correct))
        if args.only != "runs":
            steps(check)
    report = check.report
    report.minutes = (time.monotonic() - check.began) / 60
    if args.json:
        args.json.write_text(json.dumps(asdict(report), indent=1))
    if args.page and not args.dry_run:
        put(page(report), args.page)
    print(page(report))
    print(f"failed: {', '.join(report.failed)}" if report.failed else "nothing failed")
    return int(bool(report.failed))


if __name__ == "__main__":
    sys.exit(main())
