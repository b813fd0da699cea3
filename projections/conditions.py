"""Conditions: what users write about features, predictions and payloads, compiled by a CEL library, never ``eval``.

Enters: an expression and what its names mean. Leaves: a ``Condition``, which answers within some microseconds and
never raises. What is compared or computed with null has no value, nor has a division by zero or a number that is not
finite: the condition does not hold, the number is None. ``projections.cel_checker`` says how.

A feature is ``view.name``; a prediction ``prediction.NAME``; in a reward rule a field of the payload is its bare name
(``property.city`` within a struct). An ``amount`` takes part as the float64 nearest to its exact decimal.
"""

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, Literal

import cel
import msgspec

from kernel.errors import InvalidDefinition
from kernel.fixed import MICRO, Amount
from projections.catalogue import Catalogue
from projections.cel_checker import Checker, Kind
from projections.fields import FieldKind, field_info
from projections.wording import did_you_mean

#: What a prediction may be called, and as what it is handed to a condition: ``prediction:NAME``.
PREDICTIONS: Final = ("conversion_30d", "churn_risk_30d", "ib_call_risk_14d", "customer_health_score")
_PREDICTION: Final = "prediction"
_HINT_MAX: Final = 200
_DTYPES: Final = {"int": Kind.NUMBER, "float": Kind.NUMBER, "string": Kind.TEXT, "list": Kind.LIST}
_FIELDS: Final[dict[FieldKind, Kind]] = {
    "number": Kind.NUMBER,
    "amount": Kind.NUMBER,
    "text": Kind.TEXT,
    "flag": Kind.FLAG,
    "list": Kind.LIST,
}

#: Gives the value of a reference; None for null. ``dict.get`` of what was read will do.
Values = Callable[[str], Any]


class Condition:
    """A compiled expression.

    Attributes
    ----------
    text : as it was written.
    reads : references of what it is about, each once: ``view:name``, ``prediction:NAME``, or a payload's ``field``.
    """

    __slots__ = ("_program", "_slots", "reads", "text")

    def __init__(self, text: str, program: Any, reads: tuple[str, ...], kinds: tuple[Kind, ...]) -> None:
        self.text, self.reads = text, reads
        self._program = program
        self._slots = tuple((name, f"v{i}", f"n{i}", kinds[i]) for i, name in enumerate(reads))

    def holds(self, values: Values) -> bool:
        """Whether it is true; False also where something that decides is null."""
        return self._evaluated(values) is True

    def number(self, values: Values) -> float | None:
        """Its number; None where it has none, or one that is not finite."""
        found = self._evaluated(values)
        return found if isinstance(found, float) and math.isfinite(found) else None

    def _evaluated(self, values: Values) -> Any:
        bound: dict[str, Any] = {}
        for name, value_name, null_name, kind in self._slots:
            value = _plain(values(name), kind)
            bound[null_name] = value is None
            if value is not None:
                bound[value_name] = value
        try:
            return self._program.execute(bound)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - an absent value raises one of many types; a panic of the library is no Exception
            return None


def _plain(value: Any, kind: Kind) -> Any:
    """A value as the library takes it; None for null and for what is not of its kind."""
    match kind:
        case Kind.NUMBER:
            if isinstance(value, Amount):
                return value / MICRO
            if isinstance(value, int | float | Decimal) and math.isfinite(value):
                return float(value)
        case Kind.TEXT if isinstance(value, str):
            return value
        case Kind.FLAG if isinstance(value, bool):
            return value
        case Kind.LIST if isinstance(value, list | tuple):
            return [each for each in value if isinstance(each, str)]
    return None


def feature_condition(
    text: str, catalogue: Catalogue, *, path: str, wants: Literal["flag", "number"] = "flag"
) -> Condition:
    """An expression over features and predictions, those of the market included.

    Raises
    ------
    InvalidDefinition
        With ``path``: not CEL, an unknown name, kinds that do not go together.
    """

    def lookup(name: str) -> Kind | None:
        view, _, rest = name.partition(".")
        if view == _PREDICTION:
            return Kind.NUMBER if rest in PREDICTIONS else None
        reference = f"{view}:{rest}"
        found = next((each for each in catalogue.all_features if each.feature == reference), None)
        return None if found is None else _DTYPES[found.dtype]

    def known() -> list[str]:
        names = [each.feature.replace(":", ".", 1) for each in catalogue.all_features]
        return names + [f"{_PREDICTION}.{each}" for each in PREDICTIONS]

    return _compiled(text, lookup, known, path, wants, separator=":")


def payload_condition(
    text: str, payload: type[msgspec.Struct], *, path: str, wants: Literal["flag", "number"] = "flag"
) -> Condition:
    """An expression over the declared fields of an event type's payload; ``payload_values`` gives them.

    Raises
    ------
    InvalidDefinition
        As ``feature_condition``.
    """

    def lookup(name: str) -> Kind | None:
        info = field_info(payload, name)
        return None if info is None else _FIELDS.get(info.kind)

    return _compiled(text, lookup, lambda: list(payload.__struct_fields__), path, wants, separator=".")


def payload_values(payload: Any) -> Values:
    """The values of a decoded payload's fields, for a ``payload_condition``."""

    def value(name: str) -> Any:
        found = payload
        for part in name.split("."):
            found = getattr(found, part, None)
        return found

    return value


def read_values(values: Mapping[str, Any]) -> Values:
    """The values of features and predictions by reference; what is not there is null."""
    return values.get


def _compiled(
    text: str,
    lookup: Callable[[str], Kind | None],
    known: Callable[[], list[str]],
    path: str,
    wants: Literal["flag", "number"],
    *,
    separator: str,
) -> Condition:
    missing: list[str] = []

    def looked_up(name: str) -> Kind | None:
        found = lookup(name)
        if found is None:
            missing.append(name)
        return found

    try:
        checked = Checker(text, looked_up, path=path).check(Kind.FLAG if wants == "flag" else Kind.NUMBER)
        program = cel.compile(checked.text)
    except InvalidDefinition as error:
        if missing:
            hint = did_you_mean(missing[0], known(), "there are")
            near = f" ({hint})" if len(hint) < _HINT_MAX else ""
            raise InvalidDefinition([(path, f"a name that is known here{near}", missing[0])]) from error
        raise
    except ValueError as error:  # the library's own grammar, such as an escape that there is not
        raise InvalidDefinition([(path, "an expression in CEL", text[:100])]) from error
    kinds = tuple(kind for name in checked.names if (kind := lookup(name)) is not None)
    reads = tuple(name.replace(".", separator, 1) for name in checked.names)
    for pattern in checked.patterns:
        _check_pattern(pattern, path)
    return Condition(text, program, reads, kinds)


def _check_pattern(pattern: str, path: str) -> None:
    """A pattern is compiled where it is used, so that a bad one would only never match."""
    try:
        cel.compile(f"''.matches({pattern})").execute({})
    except (ValueError, RuntimeError, TypeError) as error:
        raise InvalidDefinition([(path, "a regular expression", pattern)]) from error
