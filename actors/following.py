"""Folding what another process appended: its events come from the log's copy, in order, and are delivered as one's own are."""

from collections.abc import Awaitable, Callable, Sequence

from actors.host import ActorHost
from eventstore.event import Event


class Following:
    """Between a log that adopts events and the host that folds them."""

    def __init__(self, host: ActorHost) -> None:
        self._host = host

    async def take(self, adopt: Callable[[], Awaitable[Sequence[Event]]]) -> None:
        """Adopt events and fold them. What the log has got and was not folded, the host looks up by itself."""
        token = self._host.begin_append()
        try:
            await self._host.deliver(list(await adopt()))
        except BaseException:
            self._host.doubt(token)
            raise
        self._host.end_append(token)
