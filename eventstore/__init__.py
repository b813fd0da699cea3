"""The log: what enters is validated once at the door, what leaves is immutable and in order.

Enters: raw events (``admission``). Leaves: stored events by stream or in log order (``store``), and the
caches that can be rebuilt from them (``snapshots``). Invariants: an id is unique within its stream;
versions of a stream are 1, 2, 3 …; ``recorded_us`` never decreases along the log; nothing acknowledged is
lost. It never folds, and knows no feature.
"""
