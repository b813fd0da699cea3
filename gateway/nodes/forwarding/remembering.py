"""Where decisions were made, as far as this node was told: a hint that saves asking every node."""

from collections import OrderedDict


class Whereabouts:
    """Partitions by organisation and decision, the latest told last.

    Parameters
    ----------
    most : that are kept, about 250 bytes each.
    """

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._of: OrderedDict[tuple[str, str], int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._of)

    def get(self, org: str, decision: str) -> int | None:
        return self._of.get((org, decision))

    def note(self, org: str, decision: str, partition: int) -> None:
        """It was made there."""
        self._of[org, decision] = partition
        self._of.move_to_end((org, decision))
        if len(self._of) > self._most:
            self._of.popitem(last=False)

    def forget(self, org: str, decision: str) -> None:
        """It was not there."""
        self._of.pop((org, decision), None)
