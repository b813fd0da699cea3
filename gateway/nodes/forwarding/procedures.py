"""What nodes ask of each other beside requests that they send on: a question and an answer, as structs.

A procedure is run by the service of one partition, here or at its owner: whoever asks does not see which. Its problems come
back as problems.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec

from gateway.nodes.forwarding.link import Reply
from gateway.orgs import Org
from gateway.problems import CODES, Invalid, Problem
from gateway.service import Service

Q = TypeVar("Q")
A = TypeVar("A")


class Procedure(Generic[Q, A]):
    """One question that can be asked of a partition.

    Parameters
    ----------
    is_repeatable : asking twice is harmless.
    """

    def __init__(
        self,
        name: str,
        question: type[Q],
        answer: type[A],
        run: Callable[[Service, Org, Q], Awaitable[A]],
        *,
        is_repeatable: bool = True,
    ) -> None:
        self.name, self.run, self.is_repeatable = name, run, is_repeatable
        self._question = msgspec.msgpack.Decoder(question)
        self._answer = msgspec.msgpack.Decoder(answer)

    def encoded(self, question: Q) -> bytes:
        return msgspec.msgpack.encode(question)

    async def answered(self, service: Service, org: Org, body: bytes) -> bytes:
        """Run for a question that came from another node. Raises ``Problem`` for one that is of another version."""
        try:
            question = self._question.decode(body)
        except msgspec.MsgspecError as error:
            raise _other_version(self.name, error) from error
        return msgspec.msgpack.encode(await self.run(service, org, question))

    def decoded(self, reply: Reply) -> A:
        """The answer. Raises the ``Problem`` that it is instead."""
        if reply.status != 200:
            raise problem_of(reply)
        try:
            return self._answer.decode(reply.body)
        except msgspec.MsgspecError as error:
            raise _other_version(self.name, error) from error


def problem_of(reply: Reply) -> Problem:
    """A problem document of another node, to be told on."""
    try:
        document: dict[str, Any] = msgspec.json.decode(reply.body, type=dict[str, Any])
        code, detail = str(document["code"]), str(document["detail"])
        errors = msgspec.convert(document.get("errors") or [], list[Invalid])
    except (msgspec.MsgspecError, KeyError):
        return Problem("owner_away", f"the owner answered {reply.status}, and not why")
    if code not in CODES:
        return Problem("owner_away", f"the owner says {code}: {detail}")
    known = ("type", "title", "status", "detail", "code", "message", "errors")
    members = {name: value for name, value in document.items() if name not in known}
    retry = reply.headers().get("Retry-After")
    headers = {} if retry is None else {"Retry-After": retry}
    return Problem(code, detail, errors=errors, headers=headers, members=members, status=reply.status)


def _other_version(name: str, error: Exception) -> Problem:
    return Problem("owner_away", f"the nodes run versions that do not understand each other ({name}: {error})")
