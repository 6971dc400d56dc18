"""The interface of samplers that draw by how hard each case was."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Remembering(Protocol):
    """A sampler that takes, after every epoch, how hard each case of the training split was."""

    def remember(self, hardness_N: Any) -> None:
        """Take the hardness of each position, at least 0."""

    def state_dict(self) -> dict[str, Any]:
        """Give what was remembered, for a checkpoint."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what was remembered."""
