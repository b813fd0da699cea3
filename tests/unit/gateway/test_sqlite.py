"""What the settings say of a log's file reaches it; a copy leaves what a power cut takes to its topic."""

import msgspec

from gateway.sqlite import copy_options, sqlite_options
from kernel.settings import StoreSettings

STORE = StoreSettings(kind="kafka", batch_events=17, cache_kib=99)


def test_every_setting_of_the_store_but_its_kind_is_an_option() -> None:
    options = msgspec.structs.asdict(sqlite_options(STORE))
    assert options.items() >= (msgspec.structs.asdict(STORE).items() - {("kind", "kafka")})


def test_a_copy_syncs_nothing_and_is_otherwise_the_same() -> None:
    assert sqlite_options(STORE).durability == "power"
    assert copy_options(STORE) == msgspec.structs.replace(sqlite_options(STORE), durability="process")
