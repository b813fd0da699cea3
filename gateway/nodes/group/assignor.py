"""Who is to hold which partition, from what all nodes say of themselves. A pure function: whichever node computes it.

Who leads a partition keeps it: it is given to somebody else only when its leader has given it back, or has left the
group. So a node may go on answering for what it leads while the group makes up its mind. What nobody leads goes to a node with a
complete copy, else to one with a begun one, else to whoever has least. Then loads are levelled: a partition moves to a node with less as soon as
that one has a complete copy; until then it makes one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from gateway.nodes.group.layout import Layout, Standing

#: What all leads share: moved last of all.
_SHARED = 0


def assign(standings: Sequence[Standing], *, partitions: int, standbys: int) -> Layout:
    """The layout for the next generation. O(partitions × nodes).

    Parameters
    ----------
    standbys : copies beside the leader's that every partition is to have, where there are so many nodes.
    """
    members = sorted(standings, key=lambda each: each.node)
    active = [each.node for each in members if not each.is_stopping]
    levels = {each.node: each.copies for each in members}
    led = {partition: each.node for each in reversed(members) for partition in each.leads if partition < partitions}
    leaders = _with_orphans(led, active, levels, partitions)
    wanted = _levelled(leaders, active, levels)
    moves = {
        partition: node
        for partition, node in wanted.items()
        if node != leaders[partition] and (_level(levels, node, partition) == 2 or leaders[partition] not in active)
    }
    return Layout(
        partitions=partitions,
        nodes={each.node: each.url for each in members},
        leaders=leaders,
        standbys=_standbys(leaders, wanted, active, levels, standbys),
        moves=moves,
    )


def _level(levels: Mapping[str, Mapping[int, bool]], node: str, partition: int) -> int:
    """2: a complete copy, 1: a begun one, 0: none."""
    copy = levels[node].get(partition)
    return 0 if copy is None else 1 + copy


def _with_orphans(
    led: Mapping[int, str], active: Sequence[str], levels: Mapping[str, Mapping[int, bool]], partitions: int
) -> dict[int, str]:
    leaders = {partition: led[partition] for partition in sorted(led)}
    loads = Counter(leaders.values())
    for partition in range(partitions) if active else ():
        if partition not in leaders:
            chosen = min(active, key=lambda node: (-_level(levels, node, partition), loads[node], node))
            leaders[partition] = chosen
            loads[chosen] += 1
    return leaders


def _levelled(
    leaders: Mapping[int, str], active: Sequence[str], levels: Mapping[str, Mapping[int, bool]]
) -> dict[int, str]:
    """Who is to lead in the end: everybody as much as the others, by as few moves as that takes."""
    wanted = dict(leaders)
    if not active:
        return wanted
    loads = dict.fromkeys(active, 0)
    for node in wanted.values():
        if node in loads:
            loads[node] += 1
    for partition, node in sorted(wanted.items()):
        if node not in loads:  # it is stopping
            chosen = min(active, key=lambda each: (-_level(levels, each, partition), loads[each], each))
            wanted[partition] = chosen
            loads[chosen] += 1
    while True:
        least = min(active, key=lambda each: (loads[each], each))
        most = max(active, key=lambda each: (loads[each], each))
        if loads[most] - loads[least] <= 1:
            return wanted
        movable = [partition for partition, node in wanted.items() if node == most]
        chosen_one = min(movable, key=lambda each: (each == _SHARED, -_level(levels, least, each), each))
        wanted[chosen_one] = least
        loads[most] -= 1
        loads[least] += 1


def _standbys(
    leaders: Mapping[int, str],
    wanted: Mapping[int, str],
    active: Sequence[str],
    levels: Mapping[str, Mapping[int, bool]],
    count: int,
) -> dict[int, tuple[str, ...]]:
    """Who keeps copies: who has one already, then who has least; and who is going to lead."""
    found: dict[int, tuple[str, ...]] = {}
    copies: Counter[str] = Counter()
    for partition, leader in sorted(leaders.items()):
        if partition == _SHARED:
            continue
        chosen = [wanted[partition]] if wanted[partition] != leader else []
        others = [node for node in active if node != leader and node not in chosen]
        others.sort(key=lambda node: (-_level(levels, node, partition), copies[node], node))
        chosen += others[: max(0, count - len(chosen))]
        copies.update(chosen)
        found[partition] = tuple(chosen)
    return found
