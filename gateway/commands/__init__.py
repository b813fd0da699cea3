"""The commands of ``leadwheel``, a group per file; ``gateway.cli`` names them."""
