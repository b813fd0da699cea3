"""Ranked lists: a table of every lead beside the actors, kept current by events and by time.

Enter: marks of leads that got an event, and questions. Leave: pages, each as of one instant, on which every value is the
lead's live one. A table is made when the first question needs it, or at start where the settings name its
features; it lives in memory and is made again after a restart. No table, no cost.
"""
