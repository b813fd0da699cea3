"""What the settings allow a process, divided among the partitions that it may come to hold.

A node whose fellows are all gone holds every partition. So that it stays within its memory then, each has its share of what is
kept in memory for speed: leads awake, answers, pages and heads of streams. Limits of what waits are not divided: a request of
the largest size must find room in one partition.
"""

import msgspec

from kernel.settings import Settings

#: Below these a partition would do nothing but load what it has just dropped.
_LEAST_AWAKE, _LEAST_HEADS, _LEAST_CACHE_KIB = 1000, 1000, 2048


def portion_of(settings: Settings, partitions: int) -> Settings:
    """The settings of one partition's service.

    Examples
    --------
    >>> portion_of(Settings(), 26).actors.max_awake, Settings().actors.max_awake
    (2000, 50000)
    """
    parts = max(1, partitions - 1)
    actors, server, store = settings.actors, settings.server, settings.store
    return msgspec.structs.replace(
        settings,
        actors=msgspec.structs.replace(actors, max_awake=_share(actors.max_awake, parts, _LEAST_AWAKE)),
        server=msgspec.structs.replace(server, answers_mb=_share(server.answers_mb, parts, 1)),
        store=msgspec.structs.replace(
            store,
            heads_max=_share(store.heads_max, parts, _LEAST_HEADS),
            cache_kib=_share(store.cache_kib, parts, _LEAST_CACHE_KIB),
        ),
    )


def _share(whole: int, parts: int, least: int) -> int:
    return min(whole, max(least, whole // parts))
