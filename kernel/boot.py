"""Which boot of the machine this is: what was written but not synced survives a process, not a power cut."""

import uuid
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> bytes:
    """Sixteen bytes that stay the same until the machine starts again; zeros where that cannot be told."""
    try:
        return uuid.UUID(_BOOT_ID.read_text(encoding="ascii").strip()).bytes
    except (OSError, ValueError):
        return bytes(16)
