"""How good predictions have been, over all partitions: their tallies are whole numbers, and add up."""

import asyncio
from typing import Any, Final

import msgspec
from aiohttp import web

from gateway.nodes.forwarding.front import Front
from gateway.nodes.forwarding.procedures import Procedure
from gateway.orgs import Org
from gateway.routes.lead_scoring import accuracy_answer
from gateway.routing import Route
from gateway.service import Service
from scoring.accuracy import Accuracy


class TalliesAsked(msgspec.Struct, frozen=True, array_like=True):
    """The tallies of an organisation's predictions."""


class Tallied(msgspec.Struct, frozen=True, array_like=True):
    dumped: Any


async def _tallies(service: Service, org: Org, asked: TalliesAsked) -> Tallied:
    return Tallied((await service.scores.of(org)).accuracy.dump())


TALLIES: Final = Procedure("tallies", TalliesAsked, Tallied, _tallies)


async def accuracy(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """The report over all leads. Raises ``Problem`` where an owner is away: without its part it would be wrong."""
    found = await asyncio.gather(*(front.call(TALLIES, partition, org, TalliesAsked()) for partition in front.leads()))
    whole = Accuracy()
    for each in found:
        whole.include(Accuracy.load(each.dumped))
    return accuracy_answer(request, org, whole)
