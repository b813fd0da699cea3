"""The change feed: what changes of which lead, told to whoever listens while it happens.

Enter: delivered events and time. Leave: entries with ids that grow, kept for a while for those who come back.
Nothing is followed, and nothing costs anything, while nobody listens and nobody did within the time that
changes are kept for. Everything is bounded: what is kept, what waits for a listener, what waits to be followed.
"""
