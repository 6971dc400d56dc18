"""embed: slides, pictures and volumes to features, which trainings read; what is there is not made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from medtrain.command import build
from medtrain.command.opening import tell_encoder
from medtrain.config import allowed
from medtrain.config.features import on_features
from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.data.batches.encoded import EncodedData
from medtrain.data.features_export import TABLE, export_features
from medtrain.data.slide.bagged import Bagged
from medtrain.data.source import declared
from medtrain.report.progress import bar


def main(cfg: DictConfig, folder: Path) -> None:
    """Embed all slides of the table, or all pictures or volumes that have labels.

    Raises:
        UsageError: the data are neither slides nor pictures, or the encoder does not fit them.
        DataError: at the end, where there were bad slides; the others are done.
    """
    allowed.check_targets(cfg)
    if "encoder" not in declared(cfg.data.name).takes:
        _embed_cases(cfg)
        return
    data: Any = build.data(cfg, progress=bar("embedding", "tiles"))
    build.say(f"encoder: {data.encoder.label}, {data.encoder.dim} features a tile")
    if data.encoder.loaded:
        build.say(f"encoder.weights: {data.encoder.loaded}")
    place, made = data.embed()
    build.say(summary(made, data.synthetic, place))
    if bad := [bagged for bagged in made if bagged.error]:
        problems = [Problem("bad_slide", bagged.slide, bagged.error) for bagged in bad]
        raise DataError(f"{len(bad)} of {len(made)} slides have no bag ({place / 'embed.csv'}):", problems)


def _embed_cases(cfg: DictConfig) -> None:
    """Keep the features of all cases that have labels; with `output` in files for data=feature_bags, too."""
    if not on_features(cfg):
        fitting = declared(cfg.data.name).features_with(True)
        raise UsageError(
            "embed needs encoder=NAME, and encoder.weights=FILE where it has any"
            if fitting
            else f"embed is for slides, pictures and volumes, not for data={cfg.data.name}"
        )
    data = build.data(cfg)
    assert isinstance(data, EncodedData)
    data.prepare()
    tell_encoder(data)
    build.say(f"{'SYNTHETIC data: ' * data.synthetic}{len(data.cases):,} {data.noun}, {data.made:,} embedded now")
    if cfg.output is not None:
        written = export_features(data, Path(cfg.output))
        build.say(f"{Path(cfg.output) / TABLE}: {written:,} files written now")


def summary(made: list[Bagged], synthetic: bool, place: Path) -> str:
    """Say what was made, in a line or two."""
    rows = [bagged for bagged in made if not bagged.error]
    good = list({bagged.bag: bagged for bagged in rows}.values())
    tiles, mm2 = sum(bagged.tiles for bagged in good), sum(bagged.tissue_mm2 for bagged in good)
    lost = sum(bagged.bad_tiles for bagged in good)
    return (
        f"{'SYNTHETIC data: ' * synthetic}{len(good):,} bags, {tiles:,} tiles of {mm2:,.1f} mm2 tissue"
        + f"; {lost:,} tiles could not be read" * bool(lost)
        + f"; {len(rows) - len(good):,} rows name a slide that another one names" * (len(rows) > len(good))
        + f"\n{place}: bags, embed.csv, quality/ (pictures of what was taken for tissue, to look at)"
    )
