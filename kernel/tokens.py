"""Secrets from the operating system's chance: the one kind of randomness that must not be repeatable."""

import secrets

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # no escaping in headers, shells or basic auth


def new_token(length: int) -> str:
    """A string of lower-case letters and digits, 5 bits of chance each."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
