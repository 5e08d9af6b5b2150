"""What every balancer can do."""

from collections.abc import Set
from typing import Protocol


class Picker(Protocol):
    def pick(self, key: str | None, excluded: Set[int]) -> int:
        """Index of the node to use, -1 when none is left. `key` is what chash hashes; `excluded` is passed over."""

    def on_start(self, index: int) -> None:
        """A request goes to the node that was picked. Each call is answered by one on_finish()."""

    def on_finish(self, index: int, seconds: float, ok: bool) -> None:
        """It ended; `seconds` until the response head came or the failure, `ok`: there was a response."""
