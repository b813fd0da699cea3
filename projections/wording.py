"""Words for mistakes in a pack: what was probably meant, and where it stands."""

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import TypeVar

E = TypeVar("E", bound=BaseException)

_OURS = str(Path(__file__).parent)
_PACKS = str(Path(__file__).parent / "packs")


def _is_pack(filename: str) -> bool:
    """Whether a file is neither the language nor machinery: a mistake stands in the innermost such frame."""
    if filename.startswith("<"):  # generated methods, and the import system
        return False
    return not filename.startswith(_OURS) or filename.startswith(_PACKS)


def did_you_mean(name: str, known: Iterable[str], what: str) -> str:
    """A hint at what exists: the nearest name, or all of them.

    Examples
    --------
    >>> did_you_mean("seat", ["seats", "plan"], "fields")
    'did you mean seats?'
    >>> did_you_mean("x", [], "fields")
    'fields: none'
    """
    names = list(known)
    near = get_close_matches(name, names, n=1)
    return f"did you mean {near[0]}?" if near else f"{what}: {', '.join(names) or 'none'}"


def hint_for(error: BaseException) -> str:
    """A hint at what was meant by a statement of a pack that raised: what it says itself, or the nearest name."""
    said = "; ".join(getattr(error, "__notes__", ()))
    if said:
        return said
    if isinstance(error, AttributeError) and error.name is not None:
        known = [name for name in dir(error.obj) if not name.startswith("_")]
        return did_you_mean(error.name, known, "there are")
    if isinstance(error, NameError) and error.name is not None:
        near = get_close_matches(error.name, _names_at(error.__traceback__), n=1)
        return f"did you mean {near[0]}?" if near else f"import or assign {error.name} before this line"
    if isinstance(error, ModuleNotFoundError):
        return "install it for the Python that runs leadwheel, or put it into PYTHONPATH"
    return ""


def _names_at(traceback: TracebackType | None) -> list[str]:
    """The names that the statement could have used."""
    names: list[str] = []
    while traceback is not None:
        names = [*traceback.tb_frame.f_locals, *traceback.tb_frame.f_globals]
        traceback = traceback.tb_next
    return names


def hinted(error: E, hint: str) -> E:
    """The error with a hint for whoever wrote the pack."""
    error.add_note(hint)
    return error


def calling_line() -> str:
    """``file:line`` of the pack's statement that is being run."""
    frame = sys._getframe(1)
    while frame.f_back is not None and not _is_pack(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def raising_line(traceback: TracebackType | None) -> str | None:
    """``file:line`` of the innermost statement outside the language and the import machinery."""
    found = None
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if _is_pack(filename) and "importlib" not in filename:
            found = f"{filename}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found
