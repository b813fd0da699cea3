"""Virtual actors: every stream an entity in memory when it is needed, and only a snapshot when it is not.

Enter: events that were appended (``ingest``), questions for an entity (``host``), and time (``ticker``). Leave: folded
entities, snapshots with their deadlines, and the events that time alone causes. Invariants: one fold at a
time per entity; an entity holds all events of its stream up to its version, or is not given out; at most
``max_awake`` entities stay in memory, and an idle one is nothing but its state; every queue has a bound. It
knows no feature: folds are handed in.
"""
