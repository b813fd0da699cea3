"""The built-in packs: declarations of event types and features, each read like the table of its specification."""
