"""explain for bags: heatmaps on the slide, its top tiles, and lesions put together from tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from medtrain.core.segments import Packed
from medtrain.explain import sanity_check
from medtrain.explain.bags import METHODS, instance_scores, methods, remarks
from medtrain.explain.heatmap import between, painted, ranks, slide_overlay
from medtrain.explain.names import safe_name, unique_names
from medtrain.explain.regions import lesions
from medtrain.explain.sanity import verdict
from medtrain.io.files import atomic_path, write_text
from medtrain.io.geojson import feature, write_geojson
from medtrain.io.slide_picture import SlidePicture
from medtrain.report.contact_sheet import Tile, contact_sheet
from medtrain.report.progress import bar
from medtrain.task.classification.classes import decision_in_words, in_words, number_of, predicted, wanted_classes
from medtrain.task.explanation import Explanation, Request

COLUMNS = (
    "case", "patient", "slide", "prediction", "class", "prob", "method", "tiles",
    "peak_x", "peak_y", "regions", "picture", "map", "error",
)  # fmt: skip
SCALES = {
    "attention": "attention, by rank among the slide's tiles (1: the highest)",
    "contribution": "contribution to {}, by rank (red: for it, blue: against it)",
    "gradient": "what speaks for {} by the gradient, by rank (red: for it, blue: against it)",
}
TOP = 12  # tiles shown
RED = (203, 52, 44)

Row = dict[str, Any]
Values = dict[str, NDArray[Any]]  # of a slide's tiles: attention, contribution_<class>, score


def explain_bags(task: Any, request: Request) -> Explanation:
    """Write heatmaps, tables of tiles, GeoJSON, top tiles and lesions for each slide."""
    data: Any = request.data
    explanation, progress = Explanation(COLUMNS), bar("explaining", "cases")
    named = methods(task.model, request.method)
    explanation.notes += remarks(task.model) + _unplaced(data)
    wanted = wanted_classes(request.classes, task.spec.classes)
    rows = explanation.rows
    lesions_of_all: list[Row] = []
    checks: dict[str, list[dict[str, Any]]] = {name: [] for name in named}
    for batch in data.predict_dataloader() if len(data.readable) else ():
        batch = {key: value.to(request.device) for key, value in batch.items()}
        with torch.no_grad():
            seen = {key: value.cpu() for key, value in task.final_outputs(batch).items()}
            bags = task.inputs(batch)
        table = task.predictions([seen], data.cases, request.decision)
        for number, case in enumerate(batch["case"].tolist()):
            bag = bags.alone(number)
            values, about = _values(task, bag, table.loc[case], named, wanted)
            for slide in _slides(request, case, values):
                regions = slide.regions(about["lesion"])
                lesions_of_all += [{"case": data.cases["case"].iloc[case], **region} for region in regions]
                rows += [{"row": case, "regions": len(regions), **row} for row in slide.draw(about)]
            if len(checks[named[0]]) < request.sanity and len(bag.x) > 2:
                for name in named:
                    likely = torch.tensor([task.spec.classes.index(about["likely"])])
                    checks[name].append(sanity_check(task.model, METHODS[name], bag, task.target.outputs_for(likely)))
            progress(len({row["row"] for row in rows}), len(data.readable))
    explanation.notes += data.told_slides()
    write_text(request.output / "regions.csv", pd.DataFrame(lesions_of_all, columns=REGION).to_csv(index=False))
    explanation.checks = {name: _mean_check(results) for name, results in checks.items() if results}
    return explanation


def _unplaced(data: Any) -> list[str]:
    """Tell of how many bags nobody knows where their tiles lie."""
    missing = len(data.unplaced)
    if not missing:
        return []
    return [
        f"{missing:,} of {len(data.bags):,} bags have no coordinates, or no size of tiles (data.tile_edge): no picture "
        "and no regions of them, tiles/NAME.csv has the values in the order of the file"
    ]


REGION = ("case", "slide", "region", "class", "score", "mean_score", "tiles", "area_mm2", "x", "y", "width", "height")


def _values(
    task: Any, bag: Packed, prediction: pd.Series, named: list[str], wanted: list[str] | None
) -> tuple[Values, dict[str, Any]]:
    """Compute what each tile of a case is worth, and tell what is predicted of the case."""
    classes, model = list(task.spec.classes), task.model
    likely = predicted(prediction, classes)
    lesion = task.spec.target.positive or likely[0]

    def number(name: str) -> torch.Tensor:
        return task.target.outputs_for(torch.tensor([classes.index(name)], device=bag.x.device))

    values = {}
    with torch.no_grad():
        for method in named:
            for name in likely[:1] if method == "attention" else wanted or likely:
                key = method if method == "attention" else f"{method}_{name}"
                values[key] = METHODS[method](model, bag, number(name))[0]
        if f"prob_{lesion}" in prediction:  # there are no lesions of a quantity
            values["score"] = instance_scores(model, bag, number(lesion), number_of(prediction, lesion))
    about = {
        "predicted": prediction,
        "likely": likely[0],
        "lesion": lesion,
        "decision": decision_in_words(prediction, classes),
    }
    return {key: value.float().cpu().numpy() for key, value in values.items()}, about


def _slides(request: Request, case: int, values: Values) -> list[_Slide]:
    """List the slides of a case, one but for data.unit=patient."""
    data: Any = request.data
    slides, start = [], 0
    several = len(data.members[case]) > 1
    case_name = unique_names([safe_name(name) for name in data.cases["case"]])[case]
    for place, bag in enumerate(data.members[case], start=1):
        stop = start + int(data.bags.lengths[bag])
        name = f"{case_name}_{place}" if several else case_name
        slides.append(_Slide(request, case, bag, name, {key: value[start:stop] for key, value in values.items()}))
        start = stop
    return slides


@dataclass
class _Slide:
    """One slide of an explained case: bag number, name of its files, and what its tiles are worth."""

    request: Request
    case: int
    bag: int
    name: str
    values: Values

    def __post_init__(self) -> None:
        data: Any = self.request.data
        slide = data.slides(self.bag)
        given = (self.request.form.get("slide_mpp"), self.request.form.get("default_mpp"))
        self.picture = SlidePicture(data.bags.coords(self.bag), data.bags.geometry(self.bag), slide, *given)

    def draw(self, about: dict[str, Any]) -> list[Row]:
        """Write the table of tiles, heatmaps and top tiles; returns the rows of explain.csv."""
        self._write_tiles()
        case, rows = self.request.data.cases.iloc[self.case], []
        for key, values in self.values.items():
            if key == "score":
                continue
            method, _, name = key.partition("_")
            name = name or about["likely"]
            row: Row = {"case": case["case"], "patient": case["patient"], "slide": self.name, "class": name}
            row |= {"prediction": about["decision"], "prob": number_of(about["predicted"], name), "method": method}
            row["words"] = in_words(about["predicted"], name)
            row |= {"tiles": len(values), "map": f"tiles/{self.name}.csv", "error": ""}
            if self.picture.coords is not None and self.picture.edge is not None:
                row |= self._heatmap(key, row)
                self._top_tiles(key)
            del row["words"]
            rows.append(row)
        return rows

    def _write_tiles(self) -> None:
        """Write tiles/NAME.csv, and tiles for QuPath where the slide's pixels are known."""
        coords, edge = self.picture.coords, self.picture.edge
        places = {} if coords is None else {"x": coords[:, 0], "y": coords[:, 1]}
        table = pd.DataFrame(places | self.values)
        write_text(self.request.output / "tiles" / f"{self.name}.csv", table.to_csv(index=False))
        if coords is None or edge is None or not self.picture.placed:
            return
        features = []
        shades = ranks(next(iter(self.values.values()))).tolist()
        measures_of_tiles = [
            dict(zip(self.values, of_tile, strict=True)) for of_tile in zip(*self.values.values(), strict=True)
        ]
        for shade, measures, (x, y) in zip(shades, measures_of_tiles, coords.tolist(), strict=True):
            ring = [[x, y], [x + edge, y], [x + edge, y + edge], [x, y + edge], [x, y]]
            features.append(feature([ring], "tile", between(shade), "tile", measures))
        write_geojson(self.request.output / "geojson" / f"{self.name}_tiles.geojson", features)

    def _heatmap(self, key: str, row: Row) -> Row:
        coords, edge, values = self.picture.coords, self.picture.edge, self.values[key]
        assert coords is not None and edge is not None
        thumbnail, scale = self.picture.thumbnail()
        heat = painted(ranks(values), coords / scale, edge / scale, thumbnail.shape[:2])
        what = f"{row['words']}; decision: {row['prediction'] or 'none of the classes'}"
        title, meaning = f"{self.name}\n{row['method']}; {what}", SCALES[row["method"]].format(row["class"])
        figure = slide_overlay(thumbnail, heat, title, meaning, signed=row["method"] != "attention")
        file = f"pictures/{self.name}_{safe_name(key)}.png"
        with atomic_path(self.request.output / file) as temporary, open(temporary, "wb") as stream:
            figure.savefig(stream, format="png")
        x, y = coords[int(values.argmax())] + edge / 2
        return {"picture": file, "peak_x": round(x), "peak_y": round(y)}

    def _top_tiles(self, key: str) -> None:
        best = np.argsort(-self.values[key], kind="stable")[:TOP]
        tiles = self.picture.tiles(best)
        if tiles is None:
            return
        shown = [Tile(np.moveaxis(x, -1, 0), [f"{v:.3g}"]) for x, v in zip(tiles, self.values[key][best], strict=True)]
        sheet = contact_sheet(f"{self.name}: the tiles of the highest {key.replace('_', ' to ')}", [("", shown)])
        with atomic_path(self.request.output / "top_tiles" / f"{self.name}_{safe_name(key)}.png") as temporary:
            sheet.save(temporary, format="png")

    def regions(self, name: str) -> list[Row]:
        """Find lesions of a class: rows of regions.csv; written as annotations for QuPath."""
        coords, edge = self.picture.coords, self.picture.edge
        if coords is None or edge is None or "score" not in self.values:
            return []
        threshold = self.request.region_threshold
        rows, features = [], []
        regions = lesions(self.values["score"], coords, edge, threshold, self.picture.edge_um)
        for number, region in enumerate(regions, start=1):
            (x, y), (width, height) = region.corner, region.size
            facts: Row = {"score": region.score, "mean_score": region.mean, "tiles": len(region.tiles)}
            facts["area_mm2"] = region.area
            measures = {key: float(value) for key, value in facts.items() if value is not None}
            features += [feature(polygon, name, RED, measures=measures) for polygon in region.polygons]
            place = {"x": round(x), "y": round(y), "width": round(width), "height": round(height)}
            rows.append({"slide": self.name, "region": number, "class": name, **facts, **place})
        if self.picture.placed:
            write_geojson(self.request.output / "geojson" / f"{self.name}_regions.geojson", features)
        return rows


def _mean_check(checks: list[dict[str, Any]]) -> dict[str, Any]:
    """Average the checks of several bags, which were checked one by one."""
    spearman = [check["spearman"] for check in checks]
    values = {name: [own[name] for own in spearman if own[name] is not None] for name in ("top", "all")}
    return verdict(values, len(checks))
