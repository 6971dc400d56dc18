"""The memory that a network keeps for its backward pass, and so what checkpointing saves: counted, not guessed."""

from __future__ import annotations

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


def kept_bytes(network: nn.Module, x: Tensor) -> int:
    """Count the bytes of all tensors that autograd keeps for the backward pass of ``network(x)``, each once.

    Weights and the input itself, which are there anyway, don't count. On the device ``meta`` nothing is computed or
    allocated, so this can be asked for any size. The backward pass adds the gradients under way, and of a checkpointed
    network the block that runs again.
    """
    there = {_memory(tensor) for tensor in (*network.parameters(), *network.buffers(), x)}
    bytes_of: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if _memory(tensor) not in there:
            bytes_of[_memory(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        network(x)
    return sum(bytes_of.values())


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
