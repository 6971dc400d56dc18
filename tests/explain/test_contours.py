"""Outlines over three planes: where the planes lie, and that every mask is drawn."""

from __future__ import annotations

import numpy as np

from medtrain.explain.contours import Outline, colours_of, contours_in_planes, fullest


def box(shape: tuple[int, ...], *ends: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*pair) for pair in ends)] = True
    return mask


SHAPE = (10, 20, 30)
PREDICTED = Outline("core", box(SHAPE, (2, 5), (4, 9), (10, 20)), box(SHAPE, (3, 5), (4, 9), (12, 21)))


def test_planes_are_those_that_hold_most() -> None:
    tall = box(SHAPE, (0, 10), (6, 7), (14, 15))
    tall[7, 3:15, 8:22] = True
    assert fullest([Outline("a", tall)], SHAPE)[0] == 7
    assert fullest([Outline("a", np.zeros(SHAPE, bool))], SHAPE) == (5, 10, 15)


def test_each_mask_is_drawn_in_its_plane_true_ones_dashed() -> None:
    empty = Outline("edge", np.zeros(SHAPE, bool))
    figure = contours_in_planes(np.zeros(SHAPE), [PREDICTED, empty], (2.0, 1.0, 1.0), "case $1")
    planes = figure.axes
    assert len(planes) == 3 and [len(axes.collections) for axes in planes] == [2, 2, 2]
    assert planes[0].collections[0].get_linestyle() != planes[0].collections[1].get_linestyle()
    assert planes[1].get_aspect() == 2.0
    outline = planes[0].collections[1].get_paths()[0].vertices  # seen from the feet: both axes turned
    assert outline[:, 0].min() == 30 - 20 - 0.5 and outline[:, 1].max() == 20 - 4 - 0.5


def test_without_truth_nothing_is_called_true() -> None:
    figure = contours_in_planes(np.zeros(SHAPE), [Outline("core", PREDICTED.predicted_DHW)], (1, 1, 1), "case")
    assert [len(axes.collections) for axes in figure.axes] == [1, 1, 1]
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "solid: predicted"


def test_colours_are_those_of_one_class_each_and_what_is_marked_is_named() -> None:
    for number in (2, 6, 13, 104):
        assert len(set(colours_of(number))) == number
    outlines = [Outline(f"class {n}", PREDICTED.predicted_DHW & (n != 3)) for n in range(13)]
    (legend,) = contours_in_planes(np.zeros(SHAPE), outlines, (1, 1, 1), "case").legends
    assert [text.get_text() for text in legend.get_texts()] == [f"class {n}" for n in range(13) if n != 3]
    many = [Outline(f"class {n}", PREDICTED.predicted_DHW) for n in range(30)]
    figure = contours_in_planes(np.zeros(SHAPE), many, (1, 1, 1), "case")
    assert "6 more classes are drawn, not named" in figure.legends[0].get_title().get_text()
    figure.draw_without_rendering()
    for text in figure.legends[0].get_texts():
        place = text.get_window_extent()
        assert place.x0 >= 0 and place.x1 <= figure.bbox.width and place.y1 < figure.axes[0].get_window_extent().y0
    nothing = contours_in_planes(np.zeros(SHAPE), [Outline("a", np.zeros(SHAPE, bool))], (1, 1, 1), "case")
    assert "nothing is marked" in nothing.legends[0].get_title().get_text()
