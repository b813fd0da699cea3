"""Features of many leads, each read at its owner, put together in the order asked.

Each owner reads its own as of one instant; the answer's ``as_of`` is the latest of these.
"""

import asyncio
from typing import Any, Final

import msgspec
from aiohttp import web

from gateway.nodes.front import Front
from gateway.nodes.procedures import Procedure
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
    wanted, ask = await batch.asked(front.shared, request, org)
    groups: dict[int, list[str]] = {}
    for lead in dict.fromkeys(wanted.leads):
        groups.setdefault(front.partition_of_lead(org, lead), []).append(lead)
    asked: list[Any] = []
    for partition, leads in groups.items():
        service = front.local(partition)
        if service is not None:
            asked.append(batch.values(service, org, leads, ask))
        else:
            asked.append(front.call(READ, partition, org, msgspec.structs.replace(wanted, leads=leads)))
    found: list[BatchValues] = await asyncio.gather(*asked)
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
    return batch.answer(ask, whole, wanted.leads)
