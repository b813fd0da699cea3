"""Features of many leads, each read at its owner, put together in the order asked.

Each owner reads its own as of one instant; the answer's ``as_of`` is the latest of these.
"""

import asyncio
from typing import Final

import msgspec
from aiohttp import web

from gateway.nodes.forwarding import stale
from gateway.nodes.forwarding.front import Front
from gateway.nodes.forwarding.procedures import Procedure
from gateway.orgs import Org
from gateway.problems import Problem
from gateway.routes import batch
from gateway.routes.batch import BatchRequest, BatchValues
from gateway.routing import Route
from gateway.service import Service


async def _read(service: Service, org: Org, wanted: BatchRequest) -> BatchValues:
    return await batch.values(service, org, wanted.leads, batch.ask_of_batch(service, org, wanted))


READ: Final = Procedure("batch", BatchRequest, BatchValues, _read)


async def batch_features(front: Front, route: Route, request: web.Request, org: Org) -> web.StreamResponse:
    """The answer that one process would give. Raises ``Problem`` where an owner is away."""
    request, is_stale_wanted = stale.without_parameter(request)
    wanted, ask = await batch.asked(front.shared, request, org)
    groups: dict[int, list[str]] = {}
    for lead in dict.fromkeys(wanted.leads):
        groups.setdefault(front.partition_of_lead(org, lead), []).append(lead)
    if ask.service is not None:  # its list, as this node knows it: the others may learn of it a moment later
        wanted = msgspec.structs.replace(wanted, features=list(ask.service.features), service=None)

    async def read(partition: int, leads: list[str]) -> tuple[BatchValues, bool]:
        service = front.local(partition)
        if service is not None:
            return await batch.values(service, org, leads, ask), False
        asked = msgspec.structs.replace(wanted, leads=leads)
        return await front.call_or_stale(READ, partition, org, asked, is_stale_wanted=is_stale_wanted)

    answers = await asyncio.gather(*(read(partition, leads) for partition, leads in groups.items()))
    found = [each for each, _ in answers]
    if any(each.catalogue != ask.span.fingerprint for each in found):
        raise Problem("owner_away", "the nodes run with other packs or settings: their values do not mean the same")
    values = {
        lead: part
        for leads, each in zip(groups.values(), found, strict=True)
        for lead, part in zip(leads, each.parts, strict=True)
    }
    whole = BatchValues(
        max(each.as_of_us for each in found), ask.span.fingerprint, [values[lead] for lead in wanted.leads]
    )
    response = batch.answer(ask, whole, wanted.leads)
    if any(is_old for _, is_old in answers):
        front.tallies.stale += 1
        return stale.marked(stale.reply_of(response))
    return response
