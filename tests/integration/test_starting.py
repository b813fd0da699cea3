"""What a start loads: libraries that only some need are loaded by those who use them."""

import subprocess
from pathlib import Path

from tests.integration.process import COMMAND, TIMEOUT_S, command, environment

OF_KAFKA = ("aiokafka", "eventstore.kafka", "gateway.kafka", "gateway.nodes", "gateway.topics")
TOLD = {"PYTHONPROFILEIMPORTTIME": "1"}  # each module on standard error when it is loaded


def of_kafka(said: str) -> set[str]:
    loaded = {line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")}
    assert "gateway.server" in loaded
    return {name for name in loaded if name.startswith(OF_KAFKA)}


def test_a_service_without_kafka_loads_nothing_of_it(tmp_path: Path) -> None:
    serve = [*COMMAND, "serve", "--data-dir", str(tmp_path), "--port", "0"]
    with subprocess.Popen(serve, env=environment(**TOLD), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if '"listening"' in line:
                process.terminate()
        assert process.wait(TIMEOUT_S) == 0, said[-2000:]
    assert of_kafka(said) == set()


def test_whoever_asks_for_kafka_gets_it(tmp_path: Path) -> None:
    nobody = {"LEADWHEEL_KAFKA__ATTEMPT_S": "0.5", "LEADWHEEL_KAFKA__REQUEST_S": "0.5"}
    ended = command("serve", "--data-dir", str(tmp_path), "--kafka", "127.0.0.1:9", "--topic", "t", **TOLD, **nobody)
    assert ended.returncode == 3
    assert {"aiokafka", "eventstore.kafka"} <= of_kafka(ended.stderr)
