"""Fills a Feast repository: one view of float features over leads, an SQLite online store. Runs in Feast's environment."""

import datetime as dt
import sys
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float64
from feast.value_type import ValueType

CONFIG = """project: bench
provider: local
registry: {directory}/registry.db
entity_key_serialization_version: 3
online_store:
  type: sqlite
  path: {directory}/online.db
"""


def main(directory: Path, leads: int, features: int) -> None:
    (directory / "feature_store.yaml").write_text(CONFIG.format(directory=directory))
    now = dt.datetime.now(dt.UTC)
    columns = {f"f{index}": [float(index) + lead / 7 for lead in range(leads)] for index in range(features)}
    rows = pd.DataFrame({"lead": [f"lead-{n:06d}" for n in range(leads)], "at": [now] * leads, **columns})
    rows.to_parquet(directory / "leads.parquet")
    entity = Entity(name="lead", join_keys=["lead"], value_type=ValueType.STRING)
    view = FeatureView(
        name="leads",
        entities=[entity],
        ttl=dt.timedelta(days=30),
        schema=[Field(name=name, dtype=Float64) for name in columns],
        source=FileSource(path=str(directory / "leads.parquet"), timestamp_field="at"),
    )
    store = FeatureStore(repo_path=str(directory))
    store.apply([entity, view])
    store.write_to_online_store("leads", rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
