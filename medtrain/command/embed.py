"""embed: slides and pictures to features, which trainings and other programs read; what is there is not made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from medtrain.command import build
from medtrain.config import allowed
from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.data.pictures_embed import TABLE, PictureEmbedder
from medtrain.data.slide.bagged import Bagged
from medtrain.data.source import declared
from medtrain.report.progress import bar


def main(cfg: DictConfig, folder: Path) -> None:
    """Embed all slides of the table.

    Raises:
        UsageError: the data are neither slides nor pictures, or the encoder does not fit them.
        DataError: at the end, where there were bad slides; the others are done.
    """
    allowed.check_targets(cfg)
    if "encoder" not in declared(cfg.data.name).takes:
        _embed_pictures(cfg)
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


def _embed_pictures(cfg: DictConfig) -> None:
    """Write the features of all pictures that have labels into `output`, for data=feature_bags."""
    if declared(cfg.data.name).batches != "images":
        raise UsageError(f"embed is for slides and pictures, such as data=slide_table, not data={cfg.data.name}")
    if cfg.get("encoder") is None or cfg.output is None:
        raise UsageError(
            "embed of pictures needs an encoder and a folder: encoder=NAME encoder.weights=FILE output=DIR"
        )
    encoder = allowed.build("encoder", cfg.encoder)
    data: Any = build.data(cfg)
    data.prepare()
    if len(data.spec.size) != 2:
        raise UsageError(f"embed takes pictures, and data={cfg.data.name} holds volumes")
    build.say(f"encoder: {encoder.label}, {encoder.dim} features a picture")
    if encoder.loaded:
        build.say(f"encoder.weights: {encoder.loaded}")
    folder = Path(cfg.output)
    embedder = PictureEmbedder(encoder, folder, int(cfg.data.batch_size), bar("embedding", "pictures"), build.warn)
    cases, made = embedder.embed(data)
    build.say(f"{'SYNTHETIC data: ' * data.synthetic}{cases:,} pictures, {made:,} embedded now\n{folder / TABLE}")


def summary(made: list[Bagged], synthetic: bool, place: Path) -> str:
    """Say what was made, in a line or two."""
    good = [bagged for bagged in made if not bagged.error]
    tiles, mm2 = sum(bagged.tiles for bagged in good), sum(bagged.tissue_mm2 for bagged in good)
    lost = sum(bagged.bad_tiles for bagged in good)
    return (
        f"{'SYNTHETIC data: ' * synthetic}{len(good):,} bags, {tiles:,} tiles of {mm2:,.1f} mm2 tissue"
        + f"; {lost:,} tiles could not be read" * bool(lost)
        + f"\n{place}: bags, embed.csv, quality/ (pictures of what was taken for tissue, to look at)"
    )
