"""From names in the settings to packs: imports them, finds mistakes, and says in which file and line they stand."""

import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from eventstore.system import BUILT_IN
from eventstore.types import EventType, EventTypes
from kernel.errors import DefinitionError, DuplicateFeature
from kernel.settings import OrgSettings
from projections.expressions import Expr
from projections.fields import field_info, undecodable
from projections.language import FeatureSpec, Pack, View
from projections.packs import browsing, commerce, sales, service, tutoring
from projections.signals import snake_case
from projections.wording import did_you_mean, hint_for, raising_line

BUILT_IN_PACKS: dict[str, Pack] = {each.pack.name: each.pack for each in (commerce, tutoring, service, browsing, sales)}


def load_packs(names: Iterable[str]) -> list[Pack]:
    """The packs of an org, in the order of its settings. Raises ``DefinitionError``."""
    packs = [load_pack(name) for name in names]
    taken: dict[str, str] = {pack.name: "built in" for pack in BUILT_IN_PACKS.values()}
    for pack in packs:
        if pack is BUILT_IN_PACKS.get(pack.name):
            continue
        if pack.name in taken:
            raise DuplicateFeature(f"pack {pack.name}", pack.where, taken[pack.name])
        taken[pack.name] = pack.where
    return packs


def load_pack(name: str) -> Pack:
    """A built-in pack by name, or the ``pack`` of a module of the user's. Raises ``DefinitionError``."""
    if name in BUILT_IN_PACKS:
        return BUILT_IN_PACKS[name]
    with declaring(name):
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            raise DefinitionError(name, f"no pack and no module of that name ({error})", _where_looked(name)) from error
    found = getattr(module, "pack", None)
    if not isinstance(found, Pack):
        where = f"{getattr(module, '__file__', name)}:1"
        raise DefinitionError(where, f"the module {name} has no pack", f'pack = Pack("{name.rpartition(".")[2]}")')
    return found


def _where_looked(name: str) -> str:
    hint = did_you_mean(name, BUILT_IN_PACKS, "built in")
    looked = f"looked in PYTHONPATH and in {', '.join(each or '.' for each in sys.path[:3])}, …"
    return hint if hint.startswith("did") else looked


@contextmanager
def declaring(pack: str) -> Iterator[None]:
    """Whatever a pack's own statements raise is a mistake in a definition, told with file and line."""
    try:
        yield
    except DefinitionError:
        raise
    except SyntaxError as error:
        raise DefinitionError(f"{error.filename}:{error.lineno}", f"pack {pack}: {error.msg}") from error
    except Exception as error:  # - a pack may raise anything; the start ends with what and where
        where = raising_line(error.__traceback__) or pack
        raise DefinitionError(where, f"pack {pack}: {type(error).__name__}: {error}", hint_for(error)) from error


def views_of(packs: Iterable[Pack], settings: OrgSettings) -> list[tuple[Pack, View]]:
    """Every view of the packs, under an org's settings. Raises ``DefinitionError``, also where two have one name."""
    found: list[tuple[Pack, View]] = []
    seen: dict[str, View] = {}
    for pack in packs:
        with declaring(pack.name):
            views = pack.views(settings)
        for view in views:
            if view.name in seen:
                raise DuplicateFeature(view.name, view.where, seen[view.name].where)
            seen[view.name] = view
            found.append((pack, view))
    return found


def registered(own: Iterable[Pack]) -> EventTypes:
    """The registry of every type of the built-in packs, of further packs, and of the system."""
    own = list(own)
    packs = [*BUILT_IN_PACKS.values(), *own]
    types = [*BUILT_IN, *(t for pack in packs for t in pack.types)]
    seen: dict[str, EventType] = {}
    for each in types:
        if each.name in seen:
            first = seen[each.name]
            hint = f"the pack {first.pack} has one, at {_class_line(first)}: choose another name"
            raise DefinitionError(_class_line(each), f"event type declared twice: {each.name}", hint)
        seen[each.name] = each
    for each in (one for pack in own for one in pack.types):
        if path := undecodable(each.payload):
            hint = "numbers, texts, flags, lists and structs of them; eventstore.fields has the usual ones"
            raise DefinitionError(_class_line(each), f"{each.name}: no JSON value is what {path!r} declares", hint)
    return EventTypes(types)


def _class_line(event_type: EventType) -> str:
    payload = event_type.payload
    try:
        return f"{inspect.getsourcefile(payload)}:{inspect.getsourcelines(payload)[1]}"
    except (OSError, TypeError):
        return event_type.pack


def check_signals(specs: Iterable[FeatureSpec], types: EventTypes) -> None:
    """Every event type that a feature listens to must be declared by some pack, switched on or not."""
    declared = [each.payload for each in types]
    names = [each.__name__ for each in declared]
    for spec in specs:
        for listened in _types_of(spec.documented.expr):
            if not any(issubclass(each, listened) for each in declared):
                raise DefinitionError(
                    spec.where,
                    f"{spec.reference}: unknown event type {snake_case(listened.__name__)}",
                    _declare(listened.__name__, names),
                )


def _declare(name: str, names: list[str]) -> str:
    near = did_you_mean(name, [each for each in names if each != name], "")
    how = f"declare class {name} with @pack.event(…), and name its pack in the settings"
    return f"{near} Or {how}" if near.startswith("did") else how


def _types_of(expr: Expr) -> Iterator[type]:
    for signal in expr.listened():
        yield from signal.types


def check_absences(packs: Sequence[Pack], types: EventTypes) -> None:
    """What an absence names must exist: its event type, its cause and answers, and their key."""
    for pack in packs:
        for absence in pack.absences:
            for name in (absence.event_type, absence.cause, *absence.answers):
                event_type = types.get(name)
                if event_type is None:
                    hint = did_you_mean(name, [each.name for each in types], "declared")
                    raise DefinitionError(pack.where, f"an absence names an unknown event type {name!r}", hint)
                if field_info(event_type.payload, absence.key) is None:
                    hint = did_you_mean(absence.key, event_type.payload.__struct_fields__, f"fields of {name}")
                    raise DefinitionError(pack.where, f"an absence names an unknown field {absence.key!r}", hint)
