"""The contract of an aggregate."""

from abc import abstractmethod
from typing import Any

from projections.expressions import Expr
from projections.plan import Plan
from projections.windows import Window


class Aggregate(Expr):
    """An expression that keeps something in the state. Equal aggregates share what they keep."""

    @abstractmethod
    def register(self, plan: Plan) -> Any:
        """Add slots and fold lines; what is returned is handed to ``emit`` by ``kept``."""

    def within(self, window: Window) -> Expr:
        raise TypeError(f"{type(self).__name__} is over a lifetime, not over {window}")

    def windows_us(self) -> tuple[int, ...]:
        """Lengths of the windows it looks through."""
        return ()

    def kept(self, plan: Plan) -> Any:
        """What ``register`` returned, registered once."""
        return plan.build(self, lambda: self.register(plan))
