"""A year of real data through the real ingest path: what ``leadwheel demo`` runs.

Enters: the Complete Journey files (``complete_journey``). Leaves: their events in the log, the leads aged on
time while the year goes by (``year``), and a summary of what was measured (``summary``). It never stores or
folds by a way of its own: what the demo shows is what the service does.
"""
