"""Encoder and attention in one network: chunks change memory and nothing else, and no tile knows another's."""

from __future__ import annotations

import pytest
import torch

from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed, segment_offsets
from medtrain.model import end_to_end_mil, gated_attention_mil
from medtrain.target import DataSpec

SPEC = DataSpec.of("binary", ("0", "1"), 3, (16, 16), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


def bags(lengths: list[int]) -> Packed:
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (sum(lengths), 3, 16, 16), generator=draw, dtype=torch.uint8)
    return Packed(x, segment_offsets(lengths))


def gradients(chunk: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    net = end_to_end_mil(SPEC, chunk=chunk).train().double()  # so that only rounding is between the two
    logits = net(bags([3, 4]))
    logits.square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    return logits.detach(), {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def test_chunks_give_the_same_logits_and_gradients_as_all_tiles_at_once() -> None:
    (small, in_chunks), (large, at_once) = gradients(2), gradients(100)
    torch.testing.assert_close(small, large)
    for name, expected in at_once.items():
        torch.testing.assert_close(in_chunks[name], expected, rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.parametrize("encoder", ["resnet18", "efficientnet_b0", "convnext_tiny"])
def test_batch_mates_do_not_matter(encoder: str) -> None:
    net = end_to_end_mil(SPEC, encoder=encoder).eval()
    batch = bags([3, 2])
    with torch.no_grad():
        torch.testing.assert_close(net(batch)[:1], net(batch.alone(0)), rtol=1e-4, atol=1e-5)


def test_pretrained_norms_keep_their_statistics(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from medtrain.model import resnet18

    torch.save(resnet18(SPEC).state_dict(), tmp_path / "w.pt")
    net = end_to_end_mil(SPEC, weights=str(tmp_path / "w.pt")).train()
    before = {name: value.clone() for name, value in net.named_buffers()}
    net(bags([3, 2])).sum().backward()
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(before[name], value) for name, value in net.named_buffers())


def test_features_and_tiles_are_not_mixed_up() -> None:
    with pytest.raises(UsageError, match="tiles=true"):
        end_to_end_mil(DataSpec.of("binary", ("0", "1"), 512))
    with pytest.raises(UsageError, match="end_to_end_mil"):
        gated_attention_mil(SPEC)
    with pytest.raises(UsageError, match="did you mean 'resnet18'"):
        end_to_end_mil(SPEC, encoder="resnet81")
