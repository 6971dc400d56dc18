"""Who answers for which box."""

from __future__ import annotations

import torch

from medtrain.core.assign import Guesses, centre, task_aligned
from medtrain.core.boxes import Boxes, decode, encode, grid_points, iou

POINTS, STRIDE = grid_points([(8, 8), (4, 4)], [8, 16], torch.device("cpu"))
FOUND = decode(torch.zeros(2, len(POINTS), 4), POINTS, STRIDE)  # each point says: a box of one stride around me
NONE = Boxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))


def aligned(boxes: list[list[float]], labels: list[int], image: list[int], probs: torch.Tensor | None = None, **more):  # type: ignore[no-untyped-def]
    probs = torch.full((2, len(POINTS), 2), 0.5) if probs is None else probs
    truth = Boxes(torch.tensor(boxes), torch.tensor(labels), torch.tensor(image))
    return task_aligned(Guesses(probs, FOUND, POINTS, STRIDE), truth, **more)


def test_the_best_points_of_its_image_answer_and_quality_is_scaled_to_the_iou() -> None:
    own = aligned([[8.0, 8, 20, 20]], [1], [1], top=3)
    assert set(own.image_P.tolist()) == {1} and set(own.box_P.tolist()) == {0} and len(own.point_P) == 3
    overlap = iou(FOUND[1][own.point_P], torch.tensor([8.0, 8, 20, 20]))
    assert own.quality_P.max() == overlap.max()
    inside = POINTS[own.point_P]
    assert ((inside >= 8) & (inside <= 20)).all()
    score = 0.5 * overlap**6
    torch.testing.assert_close(own.quality_P, score / score.max() * overlap.max())


def test_the_score_of_the_boxs_class_decides() -> None:
    probs = torch.full((2, len(POINTS), 2), 0.01)
    probs[0, 9, 1] = 0.9  # the point (12, 12)
    own = aligned([[8.0, 8, 24, 24]], [1], [0], probs, top=1, beta=0.0)
    assert own.point_P.tolist() == [9]


def test_a_point_answers_for_one_box_only_that_of_the_larger_iou() -> None:
    own = aligned([[8.0, 8, 16, 16], [6.0, 6, 20, 20]], [0, 0], [0, 0])
    assert len(set(own.point_P.tolist())) == len(own.point_P)
    assert own.box_P[own.point_P == 9].tolist() == [0]
    both = aligned([[8.0, 8, 16, 16], [8.0, 8, 16, 16]], [0, 1], [0, 0])  # two boxes in one place: the first
    assert len(set(both.point_P.tolist())) == len(both.point_P)


def test_a_box_smaller_than_the_grid_has_a_point() -> None:
    for corner in range(9, 20):
        own = aligned([[float(corner), 9, corner + 3.0, 12]], [0], [0])
        assert len(own.point_P) >= 1
        own = centre(
            POINTS, STRIDE, torch.tensor([[float(corner), 9, corner + 3, 12]]), *(torch.zeros(2, 1, dtype=torch.long))
        )
        assert len(own.point_P) == 1


def test_centre_takes_the_level_that_fits_and_the_smaller_box() -> None:
    large, small = torch.tensor([[0.0, 0, 64, 64]]), torch.tensor([[26.0, 26, 38, 38]])
    zero = torch.zeros(1, dtype=torch.long)
    own = centre(POINTS, STRIDE, large, zero, zero, reach=3.0, radius=1.0)
    assert (STRIDE[own.point_P] == 16).all() and len(own.point_P) == 4 and (own.quality_P == 1).all()
    own = centre(POINTS, STRIDE, small, zero, zero)
    assert (STRIDE[own.point_P] == 8).all()
    two = torch.zeros(2, dtype=torch.long)
    own = centre(POINTS, STRIDE, torch.cat([large, small]), two, two, reach=100.0)
    inner = ((POINTS > 26) & (POINTS < 38)).all(1) & (STRIDE == 8)
    assert (own.box_P[inner[own.point_P]] == 1).all()


def test_no_boxes_no_points() -> None:
    assert len(centre(POINTS, STRIDE, *NONE).point_P) == 0
    assert len(task_aligned(Guesses(torch.rand(2, len(POINTS), 2), FOUND, POINTS, STRIDE), NONE).point_P) == 0


def test_coding_of_the_points_own_boxes() -> None:
    torch.testing.assert_close(encode(FOUND[0], POINTS, STRIDE), torch.zeros(len(POINTS), 4), atol=1e-5, rtol=0)
