"""Settings handed to a pack in a form that notes which of them it reads, so that a change of the others changes nothing."""

from typing import Any, cast

import msgspec

from kernel.settings import OrgSettings


class Reading:
    """Stands for a table of settings: the same attributes, each noted under its dotted name when it is read."""

    def __init__(self, table: msgspec.Struct, noted: dict[str, Any], path: str = "") -> None:
        self._table, self._noted, self._path = table, noted, path

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._table, name)
        path = f"{self._path}{name}"
        if isinstance(value, msgspec.Struct):
            return Reading(value, self._noted, f"{path}.")
        self._noted[path] = plain(value)
        return value


def plain(value: Any) -> Any:
    """A setting as JSON has it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def noting(settings: OrgSettings, noted: dict[str, Any]) -> OrgSettings:
    """The settings, which write into ``noted`` what is read of them."""
    return cast("OrgSettings", Reading(settings, noted))
