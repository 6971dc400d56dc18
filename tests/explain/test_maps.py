"""Maps against the formula, on the right layer of any network, and a check that tells edges from reasons."""

import numpy as np
import pytest
import torch
from torch import nn

from medtrain.data.phantom.anatomy import draw_anatomy, draw_chest, grid
from medtrain.data.phantom.xray import soft_nodules
from medtrain.explain import attention, cell, grad_cam, half_area, overlay, peak, sanity_check
from medtrain.explain.features import last_features
from medtrain.explain.maps import allowed
from medtrain.explain.sanity import randomised
from medtrain.model import Ensemble, convnext_tiny, densenet121, efficientnet_b0, resnet18
from medtrain.model.attention import AttentionPool
from medtrain.target import DataSpec

GREY = DataSpec.of("binary", ("no", "yes"), channels=1, size=(64, 64))


def small(logits=1, pool=None):
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*layers, pool or nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, logits))


@pytest.mark.parametrize("logits", [1, 3])
def test_grad_cam_is_the_weighted_sum_of_features(logits):
    """With a mean and a linear head, the gradient of logit k by feature c is w_kc / (h w): equations 1 and 2."""
    network, x = small(logits).eval(), torch.rand(2, 1, 16, 24)
    features = network[:11](x)
    numbers = torch.tensor([0, 1])
    weight = torch.cat([-network[13].weight, network[13].weight]) if logits == 1 else network[13].weight
    expected = torch.einsum("bchw,bc->bhw", features, weight[numbers]).relu() / features[0, 0].numel()
    torch.testing.assert_close(grad_cam(network, x, numbers), expected)


@pytest.mark.parametrize(
    ("build", "with_average", "with_attention"),
    [
        (resnet18, "layer4", "layer4"),
        (densenet121, "features", "features.relu5"),
        (efficientnet_b0, "features", "features"),
        (convnext_tiny, "features", "features"),
    ],
)
def test_the_last_feature_map_is_found(build, with_average, with_attention):
    for attentive, name in ((False, with_average), (True, with_attention)):
        network = build(GREY, attention=attentive).eval()
        x = torch.rand(1, 1, 64, 64)
        assert last_features(network, x, network).layer is network.get_submodule(name)
        assert allowed(network, "all", x) == (["attention"] * attentive + ["gradcam"], [])
    heat = grad_cam(network, torch.rand(1, 1, 64, 64), torch.tensor([1]))
    assert heat.shape == (1, 2, 2) and (heat >= 0).all()


def test_any_timm_network():
    timm = pytest.importorskip("timm")
    network = timm.create_model("resnet10t", num_classes=2, in_chans=1).eval()
    assert last_features(network, torch.rand(1, 1, 64, 96), network).layer is network.layer4


def edges(network, x_BCHW, classes_B):
    """An 'explanation' that looks good and knows nothing of the network."""
    return (x_BCHW[:, 0].diff(dim=1)[:, :, 1:] ** 2 + x_BCHW[:, 0].diff(dim=2)[:, 1:] ** 2).sqrt()


def test_random_weights_are_random_and_only_where_asked():
    network = small()
    top, whole, again = randomised(network, 0, 2), randomised(network, 0), randomised(network, 0)
    assert torch.equal(top[0].weight, network[0].weight) and not torch.equal(top[8].weight, network[8].weight)
    assert not torch.equal(whole[0].weight, network[0].weight) and torch.equal(whole[0].weight, again[0].weight)
    assert float(whole[8].weight.std()) == pytest.approx(float(network[8].weight.std()), rel=0.05)


def nodule_films(count, size=40):
    """Phantom films, half of them with nodules, and where these are (size / 4)."""
    films, masks = [], []
    for number in range(count):
        draw = np.random.default_rng(number)
        x, y = grid(size, size, draw)
        film, lungs = draw_chest(draw_anatomy(draw), x, y, False)
        nodules = soft_nodules(draw, x, y, lungs) * 1.5 if number % 2 else np.zeros_like(film)
        films.append(film + nodules + draw.normal(0, 0.02, film.shape).astype(np.float32))
        masks.append(nodules.reshape(size // 4, 4, size // 4, 4).max((1, 3)) > 0.1)
    x = torch.tensor(np.stack(films), dtype=torch.float32)[:, None]
    return (x - x.mean()) / x.std(), torch.arange(count) % 2, torch.tensor(np.stack(masks))


def test_maps_lie_on_planted_lesions_and_depend_on_the_weights():
    x, y, masks = nodule_films(192)
    network = small(pool=AttentionPool(16))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for epoch in range(12):
        for part in torch.randperm(160, generator=torch.Generator().manual_seed(epoch)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(network(x[part])[:, 0], y[part].float())
            loss.backward()
            optimizer.step()
    network.eval()
    new = torch.arange(161, 192, 2)  # unseen films with nodules
    chance = masks[new].float().mean((1, 2))
    for method in (grad_cam, attention):
        heat = method(network, x[new], y[new])
        on = (heat * masks[new]).sum((1, 2)) / heat.sum((1, 2)).clamp_min(1e-12)
        assert on.mean() > 2.5 * chance.mean(), method.__name__
        check = sanity_check(network, method, x[new[:4]], y[new[:4]])
        assert check["passed"] is True and check["spearman"]["all"] < 0.5, (method.__name__, check)
    check = sanity_check(network, edges, x[new[:4]], y[new[:4]])
    assert check["passed"] is False and check["spearman"] == {"top": 1.0, "all": 1.0}
    flat = sanity_check(network, lambda n, x, c: torch.ones(len(x), 4, 4), x[:4], y[:4])
    assert flat["passed"] is None and flat["spearman"]["all"] is None


def test_peak_and_area_by_hand():
    heat = np.zeros((4, 8), np.float32)
    heat[1, 6], heat[2, 0] = 3, 1
    assert peak(heat) == (1.5 / 4, 6.5 / 8) and half_area(heat) == 1 / 32
    assert cell(heat) == (1 / 4, 1 / 8)
    covered = np.kron(np.array([[0, 1], [5, 2]], np.float32), np.ones((3, 2), np.float32))[:5]  # cells of 3 x 2, cut
    assert peak(covered, (3, 2)) == (4 / 5, 1 / 4) and cell(covered, (3, 2)) == (3 / 5, 2 / 4)
    assert peak(np.ones((2, 2))) is None and half_area(np.ones((2, 8))) == 0.5 and half_area(np.zeros((2, 2))) is None


@pytest.mark.parametrize("channels", [1, 3])
def test_the_heat_is_painted_where_it_is(channels):
    film = np.full((channels, 60, 80), 20000, np.uint16)
    heat = np.zeros((3, 4), np.float32)
    heat[0, 3] = 2.0
    figure = overlay(film, heat, r"a $ and \ in a name", "scale")
    painted = figure.axes[1].images[1]
    alpha, shown = painted.get_alpha(), painted.get_array()
    assert np.unravel_index(int(shown.argmax()), shown.shape)[1] >= 70 and alpha[:10, 70:].min() > 0.6
    assert alpha[40:, :40].max() == 0
    figure.canvas.draw()


def test_the_map_of_an_ensemble_is_the_mean_of_its_members():
    members = [small().eval(), resnet18(GREY).eval()]
    both, x, numbers = Ensemble(members).eval(), torch.rand(2, 1, 64, 64), torch.tensor([1, 1])
    maps = [grad_cam(member, x, numbers) for member in members]
    assert [tuple(each.shape[1:]) for each in maps] == [(16, 16), (2, 2)]
    fine = [maps[0], nn.functional.interpolate(maps[1][:, None], (16, 16), mode="bilinear")[:, 0]]
    scaled = [each / each.amax((1, 2), keepdim=True).clamp(min=1e-12) for each in fine]
    torch.testing.assert_close(grad_cam(both, x, numbers), (scaled[0] + scaled[1]) / 2)
    assert allowed(both, "all", x[:1]) == (["gradcam"], [])
    top = randomised(both, 0, 2)
    for before, after, name in ((members[0], top.members[0], "8"), (members[1], top.members[1], "fc")):
        assert not torch.equal(before.get_submodule(name).weight, after.get_submodule(name).weight)
    assert torch.equal(top.members[0][0].weight, members[0][0].weight)
