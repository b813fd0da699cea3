"""References from one feature to another by name, across packs and views; ``projections.resolving`` replaces them."""

from dataclasses import dataclass
from typing import Any

from projections.expressions import Dtype, Expr, Operand
from projections.windows import Window


@dataclass(frozen=True)
class Reference(Expr):
    """The value of another feature, resolved when all packs are known."""

    name: str
    returns: Dtype = "float"

    @property
    def dtype(self) -> Dtype:
        return self.returns

    def within(self, window: Window) -> Expr:
        raise TypeError(f"feature({self.name!r}) has its own window, and cannot be over {window}")

    def emit(self, w: Any) -> Operand:
        raise AssertionError(f"{self.name} was not resolved")


def feature(reference: str, *, returns: Dtype = "float") -> Expr:
    """Another feature by its reference ``view:name``, of whichever pack. ``returns`` is its type.

    It is an error at start when it does not exist, has another type, or leads back to itself.
    """
    if reference.count(":") != 1:
        raise ValueError(f"a feature's reference is view:name, not {reference!r}")
    return Reference(reference, returns)
