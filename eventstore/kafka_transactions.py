"""Writing to a partition by transactions, and giving a producer up whose broker may be gone."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from eventstore.kafka_records import Record

#: Records between two turns of the loop: about 2 ms.
_STEP_RECORDS = 256
#: For the sender of a producer that is given up.
_GRACE_S = 1.0


async def write_transaction(producer: AIOKafkaProducer, topic: str, partition: int, records: Sequence[Record]) -> int:
    """Write records, all or none; the offset behind them. Raises what the client raises: then nobody knows which."""
    await producer.begin_transaction()
    sent = []
    builder = producer.create_batch()
    for count, record in enumerate(records, 1):
        parts = {"key": record.key, "value": record.value, "timestamp": record.timestamp_ms}
        if builder.append(**parts, headers=record.headers) is None:
            sent.append(await producer.send_batch(builder, topic, partition=partition))
            builder = producer.create_batch()
            builder.append(**parts, headers=record.headers)
        if count % _STEP_RECORDS == 0:
            await asyncio.sleep(0)
    in_last: int = builder.record_count()
    sent.append(await producer.send_batch(builder, topic, partition=partition))
    for future in sent:
        future.add_done_callback(_note_told)
    told = await asyncio.gather(*sent)
    await producer.commit_transaction()
    if told[-1].offset < 0:
        raise KafkaError("the broker knows the batch, but not where it stands")
    return int(told[-1].offset + in_last)


async def end_producer(producer: AIOKafkaProducer) -> None:
    """Give a producer up whose broker may be gone. Its own ``stop`` would flush, and wait for as long as that takes."""
    producer._closed = True
    sender = producer._sender.sender_task
    if sender is not None:
        sender.remove_done_callback(producer._sender._fail_all)
        sender.cancel()
    await producer.client.close()  # what the sender still asks is answered by that
    if sender is not None:
        await asyncio.wait([sender], timeout=_GRACE_S)
        sender.cancel()
        sender.add_done_callback(_note_told)
    accumulator = producer._message_accumulator
    batches = [*accumulator._pending_batches, *(each for queue in accumulator._batches.values() for each in queue)]
    waiting = [producer._txn_manager.wait_for_transaction_end()]
    for future in [*waiting, *(future for batch in batches for future in (batch.future, batch._drain_waiter))]:
        if future is not None:
            future.add_done_callback(_note_told)


def _note_told(future: "asyncio.Future[object]") -> None:
    """Whatever failed there is told by the batch that was written."""
    if not future.cancelled():
        future.exception()
