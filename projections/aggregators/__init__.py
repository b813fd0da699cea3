"""Aggregates: what the state keeps of a signal, and how a value follows from it.

One contract (``base.Aggregate``): ``register`` adds slots and fold lines to the plan, ``emit`` writes the lines
that compute the value as of ``at`` and declares the instants at which it changes. No aggregate depends on the
order of arrival: it either folds in any order, or guards, and the entity is refolded in order from its log.
"""
