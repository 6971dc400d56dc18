"""Names of boxes' classes follow the rule of tables: two ways to write one are refused, joined and told, or kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medtrain.core.errors import UsageError
from medtrain.data.rows.manifest import Manifest
from medtrain.data.source.box_table import box_table
from medtrain.data.source.coco import coco
from medtrain.data.source.voc import voc
from tests.data.boxes import make_coco, option, picture

NAMES = ("Nodule", "nodule", "Nodule", "mass")  # one a picture


def of_table(folder: Path, **changes: Any) -> Manifest:
    lines = [f"{n}.png,{name},{5 + n},5,12,12" for n, name in enumerate(NAMES)]
    (folder / "t.csv").write_text("\n".join(["path,label,x,y,width,height", *lines]) + "\n")
    for n in range(len(NAMES)):
        picture(folder / f"{n}.png")
    cfg = option("box_table", table=str(folder / "t.csv"), cache_dir=str(folder / "cache"), **changes)
    return box_table(cfg, None, None)


def of_coco(folder: Path, **changes: Any) -> Manifest:
    make_coco(folder, {f"p{n}_0.png": [(name, [5 + n, 5, 12, 12])] for n, name in enumerate(NAMES)})
    cfg = option("coco", root=str(folder), annotations="annotations.json", images="images", **changes)
    cfg["cache_dir"] = str(folder / "cache")
    return coco(cfg, None, None)


def of_voc(folder: Path, **changes: Any) -> Manifest:
    (folder / "Annotations").mkdir(exist_ok=True)
    for n, name in enumerate(NAMES):
        picture(folder / "JPEGImages" / f"{n}.png")
        box = f"<bndbox><xmin>{6 + n}</xmin><ymin>6</ymin><xmax>{17 + n}</xmax><ymax>17</ymax></bndbox>"
        shown = f"<filename>{n}.png</filename><size><width>60</width><height>40</height><depth>1</depth></size>"
        content = f"<annotation>{shown}<object><name>{name}</name>{box}</object></annotation>"
        (folder / "Annotations" / f"{n}.xml").write_text(content)
    cfg = option("voc", root=str(folder), cache_dir=str(folder / "cache"), **changes)
    return voc(cfg, None, None)


@pytest.mark.parametrize("of", [of_table, of_coco, of_voc])
def test_two_ways_to_write_a_class(of: Callable[..., Manifest], tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        of(tmp_path)
    assert "'Nodule' (2) and 'nodule' (1)\ndata.merge_case=true joins them, data.classes=[" in str(refused.value)
    joined = of(tmp_path, merge_case=True)
    assert counts(joined) == {"Nodule": 3, "mass": 1}
    assert [p.detail for p in joined.warnings if p.kind == "merged_case"] == ["'nodule' (1) is taken for 'Nodule'"]
    ours = of(tmp_path, merge_case=True, classes=["nodule", "mass"])
    assert counts(ours) == {"nodule": 3, "mass": 1} and not ours.bad
    apart = of(tmp_path, classes=["Nodule", "nodule", "mass"])
    assert counts(apart) == {"Nodule": 2, "nodule": 1, "mass": 1}


@pytest.mark.parametrize("of", [of_table, of_coco, of_voc])
def test_a_class_that_data_classes_writes_otherwise_is_a_problem_of_its_box(
    of: Callable[..., Manifest], tmp_path: Path
) -> None:
    manifest = of(tmp_path, classes=["Nodule", "mass"])
    (problem,) = [problem for _, problem in manifest.bad]
    assert problem.kind == "bad_label" and "'nodule'" in problem.detail and "data.merge_case=true" in problem.detail


def counts(manifest: Manifest) -> dict[str, int]:
    """Boxes of each class."""
    target: Any = manifest.target
    assert manifest.truth is not None
    return dict(Counter(target.classes[n] for n in manifest.truth.label_M.tolist()))
