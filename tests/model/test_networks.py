"""The 2D networks: published sizes, any channels, small images, checkpointing that trains alike."""

import copy

import pytest
import torch
from torchvision import models

from medtrain.core.errors import UsageError
from medtrain.model import (
    convnext_tiny,
    densenet121,
    densenet169,
    densenet201,
    efficientnet_b0,
    efficientnet_b3,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
)
from medtrain.model.stem import fold_channels
from medtrain.target import DataSpec

IMAGENET = DataSpec.of("multiclass", tuple(str(i) for i in range(1000)), channels=3)
GREY = DataSpec.of("binary", ("no", "yes"), channels=1, size=(64, 64))
EACH = [resnet18, densenet121, efficientnet_b0, convnext_tiny]  # one a family


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (resnet18, models.ResNet18_Weights), (resnet34, models.ResNet34_Weights), (resnet50, models.ResNet50_Weights),
        (resnet101, models.ResNet101_Weights), (densenet121, models.DenseNet121_Weights),
        (densenet169, models.DenseNet169_Weights), (densenet201, models.DenseNet201_Weights),
        (efficientnet_b0, models.EfficientNet_B0_Weights), (efficientnet_b3, models.EfficientNet_B3_Weights),
        (convnext_tiny, models.ConvNeXt_Tiny_Weights),
    ],
)  # fmt: skip
def test_parameters_equal_the_published_count(build, names):
    with torch.device("meta"):
        network = build(IMAGENET)
    assert sum(p.numel() for p in network.parameters()) == names.DEFAULT.meta["num_params"]


@pytest.mark.parametrize("build", EACH)
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_any_channels_and_one_logit_for_binary(build, channels):
    network = build(DataSpec.of("binary", ("a", "b"), channels, (64, 64))).eval()
    with torch.no_grad():
        assert network(torch.rand(1, channels, 64, 64)).shape == (1, 1)


@pytest.mark.parametrize("build", EACH)
def test_small_images_keep_their_resolution_in_the_stem(build):
    small = build(DataSpec.of("multilabel", ("a", "b", "c"), 1, (28, 28))).eval()
    standard = build(DataSpec.of("multilabel", ("a", "b", "c"), 1, (224, 224)))
    with torch.no_grad():
        assert small(torch.rand(2, 1, 28, 28)).shape == (2, 3)
    assert {k: v.shape for k, v in small.state_dict().items()} == {k: v.shape for k, v in standard.state_dict().items()}
    sizes = []
    first = {resnet18: "layer1", densenet121: "features.denseblock1", convnext_tiny: "features.1"}
    block = small.get_submodule(first.get(build, "features.2"))  # EfficientNet divides twice before its third stage
    block.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[-2:]))
    small(torch.rand(1, 1, 28, 28))
    assert sizes == [(28, 28)]
    with pytest.raises(UsageError, match="auto, standard, small"):
        build(GREY, stem="tiny")


@pytest.mark.parametrize(
    ("build", "published"),
    [
        (efficientnet_b0, models.efficientnet_b0),
        (convnext_tiny, models.convnext_tiny),
        (densenet121, models.densenet121),
    ],
)
def test_weights_of_the_published_network_give_its_answers_on_grey(tmp_path, build, published):
    theirs = published(weights=None, num_classes=5)
    torch.save(theirs.state_dict(), tmp_path / "rgb.pth")
    spec = DataSpec.of("multiclass", tuple("abcde"), channels=1, size=(64, 64))
    ours = build(spec, weights=str(tmp_path / "rgb.pth"), dropout=0.3).double().eval()
    grey = torch.rand(2, 1, 64, 64, dtype=torch.double)
    with torch.no_grad():
        expected = theirs.double().eval()(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(ours(grey), expected, rtol=1e-4, atol=1e-4)  # the sum over RGB was taken in float32


def test_a_network_for_grey_can_be_probed_without_memory():
    with torch.device("meta"):
        assert resnet18(GREY).conv1.weight.is_meta


def test_grey_stem_equals_the_rgb_stem_on_grey_in_all_channels():
    rgb = models.resnet18(weights=None).conv1.double()
    grey = torch.rand(2, 1, 32, 32, dtype=torch.double)
    for channels in (1, 2, 4, 7):
        weight = fold_channels(rgb.weight, channels)
        assert weight.shape[1] == channels
        got = torch.conv2d(grey.expand(-1, channels, -1, -1), weight, stride=2, padding=3)
        torch.testing.assert_close(got, rgb(grey.expand(-1, 3, -1, -1)), rtol=1e-12, atol=1e-12)
    assert torch.equal(fold_channels(rgb.weight, 3), rgb.weight)
    torch.testing.assert_close(fold_channels(rgb.weight, 1), rgb.weight.sum(1, keepdim=True))
    five = fold_channels(torch.tensor([[1.0, 2.0, 3.0]]).reshape(1, 3, 1, 1), 5)
    assert five.flatten().tolist() == [0.5, 1.0, 3.0, 0.5, 1.0]


def test_dropout_acts_in_training_only_and_leaves_the_keys():
    plain, dropped = resnet18(GREY), resnet18(GREY, dropout=0.5)
    assert list(plain.state_dict()) == list(dropped.state_dict())
    features = torch.ones(1, 512)
    head = dropped.fc
    assert not torch.equal(head(features), head(features))
    head.eval()
    assert torch.equal(head(features), head(features))
    with pytest.raises(UsageError, match=r"dropout=1\.0"):
        resnet18(GREY, dropout=1.0)
    for build in EACH:
        with torch.device("meta"):
            assert list(build(GREY).state_dict()) == list(build(GREY, dropout=0.5).state_dict())


def test_checkpointing_has_equal_gradients_and_running_statistics():
    torch.manual_seed(0)
    plain = densenet121(GREY)
    saving = densenet121(GREY, checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    saving = copy.deepcopy(saving)
    x = torch.rand(2, 1, 64, 64)
    for network in (plain, saving):
        for _ in range(2):
            network(x).square().sum().backward()
    for (name, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(plain.named_buffers(), saving.buffers(), strict=True):
        assert torch.equal(a, b), name
    assert saving.features.denseblock1.denselayer1.norm1.num_batches_tracked == 2


def test_checkpointing_really_recomputes_in_training():
    calls = []
    block = densenet121(GREY, checkpointing=True).features.denseblock1
    block.denselayer2.norm1.register_forward_hook(lambda *_: calls.append(1))
    for training, expected in ((True, 2), (False, 1)):
        calls.clear()
        block.train(training)(torch.rand(2, 64, 8, 8, requires_grad=True)).sum().backward()
        assert len(calls) == expected
