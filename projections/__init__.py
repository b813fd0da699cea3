"""Read models: what the log is folded into.

Enters: stored events, in order of (time, id) or late. Leaves: feature values as of a time, and the instant at
which they change next if nothing happens. Everything here is plain synchronous code: a value is a function of
the set of events, the catalogue and the time, whatever the order of arrival. It never reads a clock.
"""
