"""Outlines over three planes: where the planes lie, and that every mask is drawn."""

from __future__ import annotations

import numpy as np

from medtrain.explain.contours import Outline, contours_in_planes, fullest


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
    assert any(text.get_text() == "solid: predicted" for text in figure.texts)
