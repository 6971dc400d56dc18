"""The rows of docs/reference.md: which networks, on which data, with which settings; scripts/reference.py runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SETTINGS = ("short", "full")


@dataclass(frozen=True)
class Data:
    """Data of some rows.

    Args:
        name: for people.
        words: what the command says of them; ``{data}`` is the folder with all.
        needs: what has to be in that folder; empty for data that are drawn.
        folds: of the cross-validation that the row is judged by; 0 for one training, judged on the test split.
    """

    name: str
    words: str
    needs: str = ""
    folds: int = 0


@dataclass(frozen=True)
class Model:
    """A row: a network, its data and its settings.

    Args:
        name: the row's, as `--only` takes it.
        words: the network's.
        data: what it is trained on.
        settings: the words of each setting.
        minutes: about how long each takes on one core of a CPU.
    """

    name: str
    words: str
    data: Data
    settings: tuple[str, str]
    minutes: tuple[float, float]

    def epochs(self, setting: str) -> int:
        """Read after how many epochs training ends at the latest."""
        return int(self.settings[SETTINGS.index(setting)].rpartition("=")[2])

    def command(self, setting: str) -> str:
        """Write the words of the command, but for folders."""
        return " ".join([self.data.words, self.words, self.settings[SETTINGS.index(setting)]])


FILMS = Data(
    "PneumoniaMNIST, 28 px",
    "task=xray_cls data=medmnist data.file={data}/medmnist/pneumoniamnist.npz data.leakage=drop",
    "medmnist/pneumoniamnist.npz",
)
NODULES = Data(
    "LIDC-IDRI, crops of nodules, one fold of five",
    "experiment=lidc_nodules data.table={data}/lidc_nodules/nodules.csv data.folds=5 data.fold=0",
    "lidc_nodules/nodules.csv",
)
CELLS = Data("BCCD, blood cells, 320 x 240 px", "experiment=bccd data.root={data}/bccd/BCCD", "bccd/BCCD")
BAGS = Data(
    "MUSK1, bags of features, out of ten folds",
    "task=wsi_mil data=feature_bags data.table={data}/mil/musk1.csv",
    "mil/musk1.csv",
    folds=10,
)
VOLUMES = Data("drawn nodules in volumes (`phantom_volume`)", "task=volume_seg data=phantom_volume")


def rows_on(data: Data, epochs: tuple[int, int], models: Mapping[str, tuple[str, float]]) -> list[Model]:
    """Make rows that differ by their network alone.

    Args:
        epochs: of the short and the full setting.
        models: {name: (words beside model=, minutes an epoch on one core)}.
    """
    settings = (f"trainer.max_epochs={epochs[0]}", f"trainer.max_epochs={epochs[1]}")
    return [
        Model(name, f"model={name} {words}".strip(), data, settings, (minutes * epochs[0], minutes * epochs[1]))
        for name, (words, minutes) in models.items()
    ]


MODELS = [
    *rows_on(FILMS, (1, 10), {"resnet18": ("", 4), "resnet50": ("", 10), "densenet121": ("", 10)}),
    *rows_on(
        NODULES,
        (4, 40),
        {"resnet10_3d": ("", 0.25), "resnet18_3d": ("model.width=64", 1.5), "resnet50_3d": ("model.width=64", 2)},
    ),
    *rows_on(
        CELLS,
        (4, 40),
        {"faster_rcnn": ("", 6), "faster_rcnn_mobilenet": ("", 1.5), "retinanet": ("", 6), "yolo": ("", 0.25)},
    ),
    *rows_on(
        BAGS,
        (30, 30),
        {
            "mean_mil": ("", 0.02),
            "attention_mil": ("", 0.02),
            "gated_attention_mil": ("", 0.02),
            "transmil": ("", 0.05),
        },
    ),
    *rows_on(VOLUMES, (4, 40), {"unet_3d": ("", 1), "resunet_3d": ("", 1)}),
]
