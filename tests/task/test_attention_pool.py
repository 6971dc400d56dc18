"""Attention over the instances of a case, against the pooling of features by hand."""

import pytest
import torch

from medtrain.core.errors import UsageError
from medtrain.core.pool import attend_cases
from medtrain.loss import cross_entropy
from medtrain.model import class_logits, resnet10_3d, score_instances, warm_start
from medtrain.target import DataSpec
from medtrain.task.classification import Classification

SPEC = DataSpec.of("multiclass", ("a", "b", "c"), 1, (17, 17, 17))


def test_the_mean_by_the_softmax_of_scores():
    logits, scores = torch.randn(6, 3), torch.randn(6)
    cases = torch.tensor([7, 2, 7, 7, 2, 9])
    pooled, numbers = attend_cases(logits, scores, cases)
    assert numbers.tolist() == [2, 7, 9]
    for row, rows in zip(pooled, ([1, 4], [0, 2, 3], [5]), strict=True):
        torch.testing.assert_close(row, scores[rows].softmax(0) @ logits[rows])
    members, _ = attend_cases(logits[:, None].expand(-1, 2, -1), torch.stack([scores, scores * 0], 1), cases)
    torch.testing.assert_close(members[:, 0], pooled)
    torch.testing.assert_close(members[1, 1], logits[[0, 2, 3]].mean(0))


def network(seed=0):
    torch.manual_seed(seed)
    built = score_instances(resnet10_3d(SPEC, width=8, norm="group")).eval()
    torch.nn.init.normal_(built.fc.score.weight)
    return built


def test_logits_of_a_case_are_those_of_its_pooled_features():
    """Ilse et al., equations 8 and 9: the head on the weighted mean of features."""
    built, x = network(), torch.rand(5, 1, 17, 17, 17)
    features = []
    built.fc.register_forward_hook(lambda module, inputs, output: features.append(inputs[0]))
    with torch.no_grad():
        outputs = built(x)
        h = features[0]
        score = (built.fc.hidden(h).tanh() * built.fc.gate(h).sigmoid()) @ built.fc.score.weight[0]
        expected = score.softmax(0) @ h @ built.fc.weight.T + built.fc.bias
        pooled, _ = attend_cases(outputs[:, :-1], outputs[:, -1], torch.zeros(5, dtype=torch.long))
        torch.testing.assert_close(pooled[0], expected)
        assert torch.equal(class_logits(built, x), outputs[:, :-1])


def test_a_task_learns_from_cases_and_pools_over_batches():
    built = network()
    task = Classification(SPEC, built, loss=cross_entropy(SPEC), pool="attention").eval()
    x, case, y = torch.rand(5, 1, 17, 17, 17), torch.tensor([3, 1, 3, 3, 1]), torch.tensor([2, 0, 2, 2, 0])
    whole = {"x": x, "case": case, "instance": torch.arange(5), "y": y}
    with torch.no_grad():
        parts = [task.outputs({k: v[rows] for k, v in whole.items()}) for rows in ([4, 0], [2, 3, 1, 0])]
        cases = task.cases(parts)
        pooled, _ = attend_cases(class_logits(built, x), built(x)[:, -1], case)
        torch.testing.assert_close(cases["logits"], pooled)
        assert cases["case"].tolist() == [1, 3] and cases["y"].tolist() == [0, 2]
        loss = task.losses(whole)["loss"]
        torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(pooled, torch.tensor([0, 2])))
    task.losses(whole)["loss"].backward()
    assert built.fc.score.weight.grad.abs().max() > 0


def test_views_and_dropout_keep_the_score():
    built = network()
    built.fc.dropout = 0.5
    task = Classification(SPEC, built, pool="attention", views=lambda x: iter([x, x]), mc_dropout=3).eval()
    batch = {"x": torch.rand(3, 1, 17, 17, 17), "case": torch.tensor([0, 0, 1]), "instance": torch.arange(3)}
    with torch.no_grad():
        cases, plain = task.cases([task.final_outputs(batch)]), task.cases([task.outputs(batch)])
    torch.testing.assert_close(cases["logits"].softmax(1), plain["logits"].softmax(1), rtol=1e-4, atol=1e-5)
    assert cases["passes"].shape == (2, 3, 3)


def test_a_warm_start_with_other_classes_keeps_all_but_the_logits():
    given, two = network(), DataSpec.of("multiclass", ("a", "b"), 1, (17, 17, 17))
    fresh = score_instances(resnet10_3d(two, width=8, norm="group"))
    assert warm_start(fresh, given.state_dict()) == ["fc.weight", "fc.bias"]
    assert torch.equal(fresh.fc.gate.weight, given.fc.gate.weight)


def test_networks_without_a_head_of_ours_are_refused():
    with pytest.raises(UsageError, match=r"task\.pool=attention: Linear has no head"):
        score_instances(torch.nn.Linear(3, 1))
