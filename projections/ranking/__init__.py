"""Ranked lists: many leads side by side, sorted, filtered and searched by their values.

Enter: a lead's identity, its values of some features and until when they hold, one lead at a time. Leave: pages.
Invariants: a row is replaced whole; the order of a list is total (value, then number of the lead); a list that was
begun is finished in the order it was begun in. Never waits, never folds, never asks the time.
"""
