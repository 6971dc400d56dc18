"""How often do 95 % intervals hold the truth? Over images, as is common, and over patients, as medtrain makes them.

    python scripts/coverage.py [--patients 60] [--images 8] [--repetitions 1000] [--replicates 1000]

Simulated studies: a patient is sick or not; the score of an image is the patient's own value, drawn once, plus a small
deviation of the image. So images of a patient are alike, and the true AUROC and sensitivity are known. Each study is
judged by `medtrain.metric.evaluate`, once with its patients and once with each image as a patient of its own. Takes
about two minutes of one core. A share of 1,000 repetitions is known to within 1.4 percentage points.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import numpy as np
from scipy.special import expit, ndtr

from medtrain.target.binary import Binary

SHIFT = 1.0  # of the sick patients' values, in standard deviations between patients
IMAGE = 0.5  # standard deviation within a patient
TRUTH = {
    "auroc": float(ndtr(SHIFT / math.sqrt(2 * (1 + IMAGE**2)))),
    "sensitivity": float(ndtr(SHIFT / 2 / math.sqrt(1 + IMAGE**2))),
}
WAYS = ("images", "patients")
TARGET = Binary(("well", "sick"))


def covered(draw: np.random.Generator, patients: int, images: int, replicates: int) -> dict[tuple[str, str], bool]:
    """One study: does the interval of each (way, metric) hold the truth?"""
    sick = draw.random(patients) < 0.5
    value = draw.normal(size=patients) + SHIFT * sick
    who, target = (np.repeat(of, images) for of in (np.arange(patients), sick.astype(float)))
    score = np.repeat(value, images) + draw.normal(0, IMAGE, patients * images) - SHIFT / 2
    probs, found = np.stack([expit(-score), expit(score)], axis=1), {}
    for way in WAYS:
        units = who.tolist() if way == "patients" else None
        seed = int(draw.integers(2**31))
        judged = TARGET.evaluate(probs, target, score > 0, units, bootstrap=replicates, seed=seed)["metrics"]
        for metric, truth in TRUTH.items():
            low, high = judged[metric]["ci95"] or (math.nan, math.nan)
            found[way, metric] = bool(low <= truth <= high)
    return found


def coverage(
    patients: int, images: int, repetitions: int, replicates: int, seed: int = 0
) -> dict[tuple[str, str], float]:
    """Share of studies whose interval holds the truth, for each (way, metric)."""
    draw = np.random.default_rng(seed)
    studies = [covered(draw, patients, images, replicates) for _ in range(repetitions)]
    return {key: float(np.mean([study[key] for study in studies])) for key in studies[0]}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("patients", 60), ("images", 8), ("repetitions", 1000), ("replicates", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = vars(parser.parse_args(argv))
    print("{repetitions} studies of {patients} patients with {images} images each".format(**given))
    for (way, metric), share in coverage(**given).items():
        print(f"{metric:<12} resampled by {way:<8}  covers {100 * share:.1f} %")


if __name__ == "__main__":
    main()
