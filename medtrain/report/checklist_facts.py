"""What a run folder answers of a reporting checklist, item by item, in words; None where it doesn't answer."""

from __future__ import annotations

from typing import Any

from medtrain.data.rows.columns import USUAL
from medtrain.report.counts import SplitCounts, by_class, counted, counts_by_split
from medtrain.report.facts import facts
from medtrain.report.flow import excluded_of, external
from medtrain.report.folder import RunFolder
from medtrain.report.groups import sizes_of_groups
from medtrain.report.metrics import decision_text
from medtrain.report.words import count, label, number, one_line

CHANNELS = 4  # of which each number of the normalisation is named


class Facts:
    """The answers of one run folder; an answer of None leaves the item to the author."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.config = (run.above or run).configuration

    def get(self, path: str) -> Any:
        """Read a key of the configuration, such as ``data.leakage``; None where it isn't there."""
        node: Any = self.config
        for key in path.split("."):
            node = node.get(key) if isinstance(node, dict) else None
        return node

    def keys(self, *paths: str) -> str | None:
        """Write the configuration's values as people would set them."""
        values = [(path, self.get(path)) for path in paths]
        return (
            "; ".join(f"{path}={one_line(value)}" for path, value in values if value not in (None, [], {}, "")) or None
        )

    def fact(self, name: str) -> str | None:
        return dict(facts(self.run)).get(name)

    def partitions(self) -> str | None:
        sizes, how = self.splits(), self.keys("data.split_by", "data.folds", "data.fold", "data.split_seed")
        return sizes and "; ".join(part for part in (sizes, how) if part)

    def splits(self) -> str | None:
        return "; ".join(map(self._size, counts_by_split(self.run))) or None

    def _size(self, split: SplitCounts) -> str:
        return f"{split.name} {counted(self.run, split.cases)} ({count(split.patients, 'patient')})"

    def excluded(self) -> str | None:
        if self.run.run.get("excluded") is None:
            return None
        return "; ".join(f"{n:,} {reason}" for reason, n in excluded_of(self.run)) or "nothing was left out"

    def data(self) -> str | None:
        name = self.run.name("data")
        return f"data={name} (synthetic)" if name and self.run.synthetic else None

    def preparation(self) -> str | None:
        """Say how inputs were brought to the network: size, grey levels, and the normalisation that was used."""
        keys = self.keys(
            "data.image_size", "data.channels", "data.fit", "data.window", "data.spacing", "data.mpp", "data.control"
        )
        return "; ".join(part for part in (keys, self.normalisation()) if part) or None

    def normalisation(self) -> str:
        """Say by which numbers inputs were normalised; of a bag's many features, how many and whose."""
        spec = self.run.run.get("spec") or {}
        used = {name: spec[name] for name in ("mean", "std") if spec.get(name)}
        if any(len(values) > CHANNELS for values in used.values() if isinstance(values, list)):
            return (
                f"each of {max(map(len, used.values()))} features normalised by the mean and SD of the training cases"
            )
        return f"normalised by {', '.join(f'{n} {one_line(v)}' for n, v in used.items())}" if used else ""

    def missing(self) -> str | None:
        keys = self.keys("data.on_bad", "data.uncertain", "data.blank")
        unknown = [f"{c['name']} is unknown of {count(c['missing'], 'training case')}" for c in self._beside()]
        beside = f"{', '.join(unknown)}; a missing value is a value of its own" if unknown else None
        return "; ".join(part for part in (keys, beside) if part) or None

    def _beside(self) -> list[dict[str, Any]]:
        return list((self.run.run.get("spec") or {}).get("covariates") or ())

    def predictors(self) -> str | None:
        """Say how inputs, and the columns beside them, were brought to the network."""
        parts = [self.preparation()]
        for c in self._beside():
            scaled = f"standardised by mean {c['mean']:.4g} and SD {c['std']:.4g} of the training cases"
            names = f"0 or 1 for each of {', '.join(map(str, c['categories']))}"
            parts.append(f"{c['name']}: {scaled if c['kind'] == 'number' else names}")
        return "; ".join(part for part in parts if part) or None

    def chosen_predictors(self) -> str | None:
        named = ", ".join(str(c["name"]) for c in self._beside())
        return f"the image, and beside it {named} (model.fusion={self.get('model.fusion')})" if named else None

    def events(self) -> str | None:
        """Count cases, patients and events of every split; None where the events of one aren't known."""
        splits = counts_by_split(self.run)
        header, rows = by_class(self.run)
        if rows:
            known = [
                f"{name}: " + ", ".join(map(" ".join, zip(header[1:], cells, strict=True))) for name, cells in rows
            ]
            return f"{self.splits()}; {header[0].lower()} each class: {'; '.join(known)}"
        if not splits or not all(split.positives for split in splits):
            return None
        return "; ".join(f"{self._size(split)}, {split.positives}" for split in splits)

    def disjoint(self) -> str | None:
        if self.run.splits is None or "patient" not in self.run.splits:
            return None
        column = "fold" if self.run.out_of_fold and "fold" in self.run.splits else "split"
        parts = self.run.splits.groupby("patient")[column].nunique()
        shared = int((parts > 1).sum())
        overlap = f"no patient stands in two {column}s" if not shared else f"{count(shared, 'patient')} in several"
        return f"by {self.get('data.split_by') or 'patient'}: {overlap}"

    def outputs(self) -> str | None:
        spec = self.run.run.get("spec") or {}
        if not spec.get("classes"):
            return None
        if "times" in self.run.target.forms:
            horizons = ", ".join(f"{horizon:g}" for horizon in spec.get("horizons") or ())
            return f"time to {spec['classes'][0]}; a risk, and the chance of no event up to {horizons}"
        return f"{spec.get('label_kind')}; a probability for each of: {', '.join(map(str, spec['classes']))}"

    def model(self) -> str | None:
        """Name the network, what goes in and what comes out: its layers are those of the named function."""
        name, spec = (self.run.above or self.run).name("model"), self.run.run.get("spec") or {}
        if not name:
            return None
        target, size = self.get("model._target_"), " x ".join(map(str, spec.get("size") or ()))
        given = f"inputs of {spec['channels']} channel(s), {size} pixels" if size and spec.get("channels") else None
        parts = (f"{name} ({target})" if target else name, given, self.outputs())
        return "; ".join(part for part in parts if part)

    def start(self) -> str | None:
        """Say what the weights were before training."""
        if not isinstance(self.get("model"), dict) or (self.get("init_from"), self.get("seed")) == (None, None):
            return None
        weights, seed = self.get("model.weights"), self.keys("seed")
        if self.get("init_from"):
            return f"those of {one_line(self.get('init_from'))}"
        return f"model.weights={weights}" if weights not in (None, "none") else f"random; {seed}"

    def training(self) -> str | None:
        """Write the settings of the training, those of the augmentation among them."""
        augment = self.get("augment")
        own = [f"augment.{key}" for key in augment if key != "kind"] if isinstance(augment, dict) else []
        return self.keys(
            "loss._target_", "sampler._target_", *own, "optimizer._target_", "optimizer.lr",
            "optimizer.weight_decay", "scheduler._target_", "trainer.max_epochs", "trainer.precision",
            "data.batch_size",
        )  # fmt: skip

    def chosen(self) -> str | None:
        for name, node in (self.get("callbacks") or {}).items():
            if isinstance(node, dict) and name == "best" and node.get("monitor"):
                return f"the epoch with the best {node['monitor']} ({node.get('mode') or 'max'}), on validation data"
        return None

    def balance(self) -> str | None:
        rows = (((self.run.above or self.run).run.get("imbalance") or {}).get("train") or {}).items()
        shares = ", ".join(
            f"{name} {row['percent']} %"
            if "percent" in row
            else f"{name} {number(row['mean'])} (SD {number(row['sd'])})"
            for name, row in rows
        )
        how = self.keys("loss._target_", "sampler._target_")
        return "; ".join(part for part in (shares and f"training split: {shares}", how) if part) or None

    def metrics(self) -> str | None:
        return ", ".join(label(name) for name in self.run.test.get("metrics") or {}) or None

    def measures(self) -> str | None:
        """Name the metrics, and the curves of calibration and of clinical use where the run has them."""
        calibration = self.run.test.get("calibration") or {}
        curves = [
            ("reliability diagram", calibration.get("bins")),
            ("smooth calibration curve", any(one.get("curve") for one in (calibration.get("smooth") or {}).values())),
            ("net benefit (decision curve)", self.run.test.get("utility")),
        ]
        parts = self.metrics(), ", ".join(name for name, there in curves if there)
        return "; ".join(part for part in parts if part) or None

    def intervals(self) -> str | None:
        if not self.run.test:
            return None
        n = self.get("eval.bootstrap")
        return f"95 % intervals over patients{f', bootstrap of {n:,} replicates' if isinstance(n, int) else ''}"

    def decision(self) -> str | None:
        return decision_text(self.run)[0] if self.run.test.get("decision") else None

    def calculated(self) -> str | None:
        """Say by what test predictions can be made again."""
        if not self.run.test.get("decision") or not self.config:
            return None
        versions = (self.run.run.get("versions") or {}).get("medtrain")
        if self.run.out_of_fold:
            return f"the runs that decision.json lists, each for its own fold; {self.decision()}"
        by = f"medtrain {versions}" if versions else "medtrain"
        return f"checkpoints/best.ckpt and decision.json of the run folder, by {by}; {self.decision()}"

    def output(self) -> str | None:
        return "; ".join(part for part in (self.outputs(), self.decision()) if part) or None

    def building(self) -> str | None:
        return "; ".join(part for part in (self.model(), self.training(), self.chosen()) if part) or None

    def clusters(self) -> str | None:
        """Name the columns of sites, if results were broken down by them."""
        usual = {*USUAL["site"], str(self.get("data.columns.site") or "site").lower()}
        named = [column for column in self.run.test.get("groups") or {} if str(column).lower() in usual]
        return f"by {', '.join(named)}: see Subgroups" if named else None

    def groups(self) -> str | None:
        sizes = sizes_of_groups(self.run)
        return f"subgroups: {sizes}" if sizes else None

    def internal(self) -> str | None:
        if not self.run.test or external(self.run):
            return None
        times = self.fact("Times tested")
        if self.run.out_of_fold:
            return "out of fold, see Cross-validation" + (f"; the cases were tested {times} time(s)" if times else "")
        return f"on the {self.run.test.get('split')} split" + (f"; test split used {times} time(s)" if times else "")

    def elsewhere(self) -> str | None:
        return f"data={self.run.name('data')}, with the decision of the training run" if external(self.run) else None

    def results(self) -> str | None:
        return "see Metrics, By class, Figures" if self.run.test.get("metrics") else None

    def failures(self) -> str | None:
        return "see Worst mistakes and the confusion figure" if self.run.failures is not None else None

    def flow(self) -> str | None:
        parts = (self.splits(), self.excluded() and f"left out: {self.excluded()}")
        return "; ".join(part for part in parts if part) or None

    def software(self) -> str | None:
        return "; ".join(part for part in map(self.fact, ("Versions", "Code", "Device")) if part) or None

    def full_model(self) -> str | None:
        return "config.yaml, checkpoints/best.ckpt and decision.json of the run folder" if self.config else None

    def ensemble(self) -> str | None:
        """Say how many networks stand behind a prediction."""
        if self.run.out_of_fold:
            return f"{self._networks()}; a case is judged by those of its fold, which had not learned it"
        if self.run.members:
            return f"the mean of {self._networks()}"
        return "one network" if self.model() else None

    def _networks(self) -> str:
        return f"{len(self.run.members)} networks ({self.run.name('model')})"
