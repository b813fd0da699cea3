"""Who is to hold which partition: laws of the assignment, and a group that lives under it."""

from collections import Counter
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.nodes.group.assignor import assign
from gateway.nodes.group.layout import Layout, Standing, decode_layout, decode_standing, encode

NAMES = "abcde"


def standing(node: str, *leads: int, copies: Mapping[int, bool] | None = None, is_stopping: bool = False) -> Standing:
    found = dict.fromkeys(leads, True) if copies is None else dict(copies)
    return Standing(node, f"http://{node}", leads, found, is_stopping)


@st.composite
def standings(draw: st.DrawFn) -> tuple[list[Standing], int]:
    partitions = draw(st.integers(2, 12))
    nodes = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    holders = draw(
        st.lists(st.sampled_from([*nodes, None]), min_size=partitions, max_size=partitions)  # None: nobody's
    )
    found = []
    for node in nodes:
        leads = [partition for partition, holder in enumerate(holders) if holder == node]
        copies = draw(st.dictionaries(st.integers(0, partitions - 1), st.booleans()))
        found.append(
            standing(node, *leads, copies=copies | dict.fromkeys(leads, True), is_stopping=draw(st.booleans()))
        )
    return found, partitions


@given(standings(), st.integers(0, 3))
def test_who_leads_keeps_it_and_nothing_is_left_alone(given_: tuple[list[Standing], int], count: int) -> None:
    said, partitions = given_
    layout = assign(said, partitions=partitions, standbys=count)
    claimed = {partition: each.node for each in said for partition in each.leads}
    assert claimed.items() <= layout.leaders.items(), "nobody else is given what a member claims"
    active = {each.node for each in said if not each.is_stopping}
    assert set(layout.leaders) == (set(range(partitions)) if active else set(claimed))
    for partition, node in layout.leaders.items():
        if partition not in claimed:
            assert node in active
            assert not any(
                each.copies.get(partition) for each in said if each.node in active - {node}
            ) or _has_complete(said, node, partition), "who has a complete copy comes first"
    for partition, node in layout.moves.items():
        assert node in active
        assert node != layout.leaders[partition]
        is_left = layout.leaders[partition] not in active
        assert is_left or _has_complete(said, node, partition), "a partition waits for the copy before it moves"
    for partition, nodes in layout.standbys.items():
        assert layout.leaders[partition] not in nodes
        assert len(set(nodes)) == len(nodes)
        others = active - {layout.leaders[partition]}
        assert min(count, len(others)) <= len(nodes) <= max(count, 1)


def _has_complete(said: list[Standing], node: str, partition: int) -> bool:
    return any(each.node == node and each.copies.get(partition) for each in said)


@given(standings(), st.randoms(use_true_random=False))
def test_whoever_computes_it_finds_the_same(given_: tuple[list[Standing], int], chance: object) -> None:
    said, partitions = given_
    shuffled = list(said)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert assign(said, partitions=partitions, standbys=1) == assign(shuffled, partitions=partitions, standbys=1)


class Group:
    """Nodes that do what they are told, a generation at a time."""

    def __init__(self, partitions: int, standbys: int = 1) -> None:
        self.partitions, self.standbys = partitions, standbys
        self.members: dict[str, Standing] = {}
        self.layout = Layout(partitions, {}, {}, {})

    def join(self, node: str) -> None:
        self.members[node] = standing(node)

    def turn(self) -> Layout:
        """One generation: give back what moves, lead what is given, make copies (begun in one turn, whole in the next)."""
        layout = self.layout = assign(list(self.members.values()), partitions=self.partitions, standbys=self.standbys)
        for node, said in self.members.items():
            leads = tuple(p for p, who in layout.leaders.items() if who == node and p not in layout.moves)
            copies = {p: p in said.copies for p in range(self.partitions) if layout.follows(node, p)}
            copies |= dict.fromkeys((p for p, who in layout.leaders.items() if who == node), True)
            self.members[node] = msgspec.structs.replace(said, leads=leads, copies=copies)
        return layout

    def settle(self) -> int:
        """Turns until nothing changes any more."""
        for turns in range(1, 60):
            before = self.layout, dict(self.members)
            if (self.turn(), self.members) == before:
                return turns
        raise AssertionError(f"it never comes to rest: {self.layout}")

    def loads(self) -> list[int]:
        counts = Counter(self.layout.leaders.values())
        return sorted(counts[node] for node, each in self.members.items() if not each.is_stopping)


@given(st.integers(2, 12), st.lists(st.tuples(st.sampled_from(["join", "stop", "die"]), st.sampled_from(NAMES))))
def test_a_group_comes_to_rest_level_and_with_its_copies(partitions: int, steps: list[tuple[str, str]]) -> None:
    group = Group(partitions)
    group.join("z")
    for step, node in steps:
        if step == "join" and node not in group.members:
            group.join(node)
        elif step == "stop" and node in group.members:
            group.members[node] = msgspec.structs.replace(group.members[node], is_stopping=True)
        elif step == "die":
            group.members.pop(node, None)
        group.turn()
    group.settle()
    loads = group.loads()
    assert max(loads) - min(loads) <= 1
    assert sum(loads) == partitions
    assert group.layout.moves == {}
    wanted = min(1, len(loads) - 1)
    assert all(len(nodes) == wanted for partition, nodes in group.layout.standbys.items())


def test_when_a_node_dies_its_partitions_go_to_their_copies_and_no_other_one_moves() -> None:
    group = Group(9)
    for node in "abc":
        group.join(node)
    group.settle()
    before = dict(group.layout.leaders)
    copies = {node: set(said.copies) for node, said in group.members.items()}
    del group.members["b"]
    after = group.turn().leaders
    for partition, node in before.items():
        if node != "b":
            assert after[partition] == node
        else:
            assert partition in copies[after[partition]]


def test_a_node_that_joins_is_given_nothing_before_its_copy_is_whole() -> None:
    group = Group(6)
    group.join("a")
    group.settle()
    group.join("b")
    first = group.turn()
    assert set(first.leaders.values()) == {"a"}
    assert first.moves == {}
    group.settle()
    assert group.loads() == [3, 3]


@pytest.mark.parametrize("said", [b"", b"{}", b"[1]", b'{"node": 1}', b"\xff"])
def test_what_is_none_of_ours_is_nothing(said: bytes) -> None:
    assert decode_standing(said) is None
    assert decode_layout(said) is None


def test_what_is_said_arrives() -> None:
    said = standing("a", 1, 2, copies={3: False}, is_stopping=True)
    assert decode_standing(encode(said)) == said
    layout = assign([said, standing("b")], partitions=4, standbys=1)
    assert decode_layout(encode(layout)) == layout
