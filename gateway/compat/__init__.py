"""Clients of other systems, unchanged.

Enters: what such a client sends. Leaves: events in the native envelope, and refusals in the sender's own words.
Adapters only: they translate, and never decide what may enter the log; that is the door's.
"""
