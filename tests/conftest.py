"""What tests of several folders share: a Kafka, brought up once for all of them and only if one asks."""

from collections.abc import Iterator

import pytest

from tests.broker.cluster import Cluster, missing_tools, running_cluster


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One broker. Tests that stop or pause a broker start one of their own."""
    if missing := missing_tools():
        pytest.skip(f"NO KAFKA HERE, not installed: {', '.join(missing)}")
    with running_cluster(tmp_path_factory.mktemp("kafka") / "cluster") as cluster:
        yield cluster
