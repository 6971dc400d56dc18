"""Times to an event through the real command: a phantom of bags and one of pictures whose hazard is known."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medtrain.metric.concordance import concordance
from medtrain.metric.follow_up import FollowUp

N, TRAINED, TUNED = 420, 200, 60


def times_of(draw: np.random.Generator, log_hazard: np.ndarray) -> pd.DataFrame:
    """Draw Weibull times of a hazard, censored evenly; some 15 % lost within the first year."""
    event = 24 * draw.weibull(1.3, len(log_hazard)) * np.exp(-log_hazard / 1.3)
    censored = draw.uniform(5, 90, len(log_hazard))
    return pd.DataFrame({"time": np.minimum(event, censored) + 0.01, "event": (event <= censored).astype(int)})


def bags(folder: Path) -> pd.DataFrame:
    """Write HDF5 bags whose share of marked instances makes the hazard."""
    draw, rows = np.random.default_rng(3), []
    for k in range(N):
        inside = draw.random(40) < draw.uniform(0, 0.5)
        x = draw.normal(size=(40, 8)).astype(np.float32)
        x[inside, 0] += 3
        with h5py.File(folder / f"s{k:03d}.h5", "w") as file:
            file["features"] = x
        rows.append(
            {"slide": f"s{k:03d}", "patient": f"p{k:03d}", "hazard": 6 * inside.mean() - 1.5, "sex": "mf"[k % 2]}
        )
    table = pd.DataFrame(rows)
    table["split"] = ["train"] * TRAINED + ["val"] * TUNED + ["test"] * (N - TRAINED - TUNED)
    table = table.join(times_of(draw, table.hazard.to_numpy()))
    table.to_csv(folder / "table.csv", index=False)
    return table.set_index("slide")


def true_c(table: pd.DataFrame, predicted: pd.DataFrame) -> tuple[float, float]:
    """Compute the C-index of the predicted risks, and that of the true hazard, on the predicted cases."""
    truth = FollowUp(predicted.time.to_numpy(), predicted.event.to_numpy() > 0)
    hazard = table.hazard[predicted.case].to_numpy()
    return concordance(predicted.risk.to_numpy(), truth).value, concordance(hazard, truth).value


@pytest.mark.parametrize("loss", ["cox", "hazards"])
def test_hazard_of_a_phantom_of_bags_is_found(medtrain, folder, loss):
    table = bags(folder)
    options = ["data.batch_size=200", "trainer.max_epochs=20"] if loss == "cox" else ["trainer.max_epochs=12"]
    run = medtrain(
        *("task=wsi_mil", "data=feature_bags", "data.table=table.csv", "data.target=event", "data.unit_name=months"),
        *(f"loss={loss}", "eval.horizons=[12,24]", "eval.groups=[sex]", "optimizer.lr=0.004", "trainer=cpu"),
        *("eval.bootstrap=50", "data.num_workers=0", "hydra.run.dir=run", *options),
    )
    assert run.code == 0, run.err
    assert "approximation" not in run.out and "horizons: chances" in run.out
    predicted = pd.read_csv("run/test_predictions.csv")
    assert {"time", "event", "risk", "surv_12", "surv_24", "risk_group"} <= set(predicted)
    own, true = true_c(table, predicted)
    assert abs(own - true) <= 0.02, (own, true)
    test = json.loads(Path("run/test_metrics.json").read_text())
    assert test["metrics"]["c_index"]["value"] == pytest.approx(own)
    assert test["risk_groups"]["log_rank"]["p"] < 0.001
    for name in ("12", "24"):  # chances come true
        seen = test["calibration"]["horizons"][name]
        assert abs(seen["predicted"] - seen["observed"]) < 0.12
    decision = json.loads(Path("run/decision.json").read_text())
    assert bool(decision["baseline"]) == (loss == "cox")
    assert "Kaplan-Meier" in Path("run/report.html").read_text()
    assert medtrain("predict", "run=run", "input=table.csv", "output=p.csv").code == 0
    assert medtrain("test", "run=run", "eval.horizons=[6,18]", "name=again").code == 0
    assert {"surv_6", "surv_18"} <= set(pd.read_csv("run/test_again/test_predictions.csv"))
    exported = medtrain("export", "run=run", "output=made", "export.cases=6")
    assert exported.code == 0, exported.err
    assert "0 decisions changed" in exported.out
    assert medtrain("predict", "run=made", "input=table.csv", "output=made.csv").code == 0
    own, other = pd.read_csv("p.csv"), pd.read_csv("made.csv")
    assert set(own) == {"case", "patient", "risk", "surv_12", "surv_24", "risk_group", "error"}
    pd.testing.assert_frame_equal(own, other, atol=1e-5)
    pd.read_csv("table.csv").head(8).to_csv("few.csv", index=False)
    explained = medtrain("explain", "run=run", "input=few.csv", "output=maps")
    if loss == "hazards":
        assert explained.code == 2 and "loss=hazards" in explained.err
        return
    assert explained.code == 0, explained.err
    tiles_make_the_number(own, "risk", 1 / decision["temperature"])


def tiles_make_the_number(predicted: pd.DataFrame, column: str, scale: float = 1.0) -> None:
    """Check that what the tiles of a case add is what is predicted of it, but for what is the same of all cases."""
    numbers = predicted[["case", column]].rename(columns={column: "number"})
    rows = pd.read_csv("maps/explain.csv").query("method == 'contribution'").merge(numbers, on="case")
    assert len(rows) == 8
    np.testing.assert_allclose(rows["prob"], rows["number"], rtol=1e-5)
    added = [pd.read_csv(f"maps/{file}").filter(like="contribution").sum().sum() for file in rows["map"]]
    assert np.ptp(scale * np.array(added) - rows["number"]) < 1e-3
    assert np.ptp(rows["number"]) > 0.1


def test_quantities_of_bags_are_explained(medtrain, folder):
    bags(folder)
    run = medtrain(
        *("task=wsi_mil", "data=feature_bags", "data.table=table.csv", "data.target=value", "optimizer.lr=0.004"),
        *("data.columns.label=hazard", "trainer.max_epochs=3", "trainer=cpu", "eval.bootstrap=50"),
        *("data.num_workers=0", "hydra.run.dir=run"),
    )
    assert run.code == 0, run.err
    pd.read_csv("table.csv").head(8).to_csv("few.csv", index=False)
    assert medtrain("predict", "run=run", "input=few.csv", "output=p.csv").code == 0
    explained = medtrain("explain", "run=run", "input=few.csv", "output=maps")
    assert explained.code == 0, explained.err
    spec = json.loads(Path("run/run.json").read_text())["spec"]
    tiles_make_the_number(pd.read_csv("p.csv"), "prediction", spec["value_sd"][0])


def test_pictures_learn_in_batches_which_is_told_and_what_does_not_fit_is_refused(medtrain, folder):
    draw = np.random.default_rng(0)
    load = draw.uniform(size=60)
    for k, share in enumerate(load):
        Image.fromarray(draw.integers(0, 100 + int(150 * share), (32, 32), np.uint8)).save(folder / f"{k}.png")
    table = pd.DataFrame({"path": [f"{k}.png" for k in range(60)], "patient": range(60)})
    table = table.join(times_of(draw, 4 * load - 2).rename(columns={"time": "months", "event": "died"}))
    table.to_csv(folder / "table.csv", index=False)
    words = ["data=image_table", "data.table=table.csv", "data.columns.time=months", "data.columns.event=died"]
    words += ["data.image_size=32", "model=resnet18", "trainer=cpu", "trainer.max_epochs=1", "eval.bootstrap=50"]
    run = medtrain(*words, "data.target=event", "hydra.run.dir=run")
    assert run.code == 0, run.err
    assert "approximation" in run.out and "val_c_index" in run.out
    for wrong in (
        ["loss=cross_entropy", "data.target=event"],
        ["loss=cox"],
        ["data.target=event", "eval.threshold=youden"],
    ):
        refused = medtrain(*words, *wrong, "hydra.run.dir=no")
        assert refused.code == 2, wrong
    table.assign(months=table.months.where(table.index != 7, -1.0)).to_csv(folder / "table.csv", index=False)
    refused = medtrain(*words, "data.target=event", "hydra.run.dir=no2")
    assert refused.code == 1 and "table.csv row 9" in refused.err and "above 0" in refused.err
