"""Looking back: how values came about, what they were, and what is worth saying of a lead.

Enter: a lead's events from the log, and the catalogue. Leave: explanations with the events behind them, vectors through
time, lines of plain text for people and prompts. The rest of ``projections`` knows nothing of it.
"""
