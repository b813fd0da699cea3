"""Running a node: listen, join the others, and leave them in order when asked to.

SIGTERM or SIGINT: everything is given back while the socket is still open, so that what comes in meanwhile is sent on to who
has it then; when the others have taken over, the socket closes, requests in flight are answered, leads are snapshotted, exit 0.
"""

import asyncio
from pathlib import Path

import structlog

from gateway.nodes.across.claiming import ClaimsAtHome
from gateway.nodes.across.intake import ForwardingRecorder
from gateway.nodes.app import build_front_app
from gateway.nodes.forwarding.front import Front, FrontOptions
from gateway.nodes.node import Node, open_node
from gateway.nodes.topics import NodeTopics
from gateway.server import (
    CLOSE_TIMEOUT_S,
    FAILED,
    check_binding,
    listen,
    make_runner,
    runner_of_loops,
    settle_in,
    stop_signal,
    wait_either,
)
from kernel.clock import Clock, SystemClock
from kernel.errors import LeadwheelError
from kernel.settings import Settings

_log = structlog.get_logger(__name__)


def run(settings: Settings, directory: Path) -> int:
    """Serve as one of the nodes until a signal; the exit code."""
    return runner_of_loops()(serve(settings, directory, clock=SystemClock()))


async def serve(settings: Settings, directory: Path, *, clock: Clock) -> int:
    """Open, listen, join, wait for a signal, hand over, stop.

    Raises
    ------
    LeadwheelError
        The node could not start, or not go on.
    """
    stop = stop_signal()
    node = await open_node(settings, directory, clock=clock)
    settle_in()
    front = Front(node, front_options(settings))
    node.shared.recorder, node.shared.decider.claims = ForwardingRecorder(front), ClaimsAtHome(front)
    try:
        check_binding(settings, node.shared.keyring.is_open)
        topics = NodeTopics(front)
        runner = make_runner(build_front_app(front), settings)
        await runner.setup()
        try:
            await listen(runner, settings)
            await wait_either(_joined(node, topics, stop), node.wait_failed())
            if node.failure is None:
                await asyncio.gather(topics.close(), node.hand_over())
            node.shared.is_stopping = True
        finally:
            await topics.close()
            await runner.cleanup()
            await front.close()
    finally:
        is_closed = await _close(node)
    _log.info("stopped", failed=node.failure is not None, snapshots_complete=is_closed)
    if isinstance(node.failure, LeadwheelError):
        raise node.failure
    return FAILED if node.failure is not None else 0


def front_options(settings: Settings) -> FrontOptions:
    nodes = settings.nodes
    return FrontOptions(forward_timeout_s=nodes.forward_timeout_s, handover_wait_s=nodes.handover_wait_s)


async def _joined(node: Node, topics: NodeTopics, stop: asyncio.Event) -> None:
    """Join the others, and stay with them until a signal."""
    joining = asyncio.create_task(node.join(), name="joining")
    stopping = asyncio.create_task(stop.wait(), name="stopping")
    try:
        await asyncio.wait([joining, stopping], return_when=asyncio.FIRST_COMPLETED)
        if joining.done():
            joining.result()
            topics.start()
        await stopping
    finally:
        joining.cancel()
        stopping.cancel()


async def _close(node: Node) -> bool:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await node.close()
    except TimeoutError:
        return False
    return True
