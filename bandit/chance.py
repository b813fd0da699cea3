"""Chance that can be looked up: numbers that follow from a seed and a name, the same in every process and on every day."""

from functools import lru_cache
from hashlib import blake2b

_SCALE = 2.0**-53


@lru_cache(maxsize=1024)
def _begun(seed: int, purpose: str) -> blake2b:
    """The hash after what most calls begin with. Nobody updates it: it is copied."""
    return blake2b(f"{seed}\n{purpose}".encode("utf-8", "surrogatepass"), digest_size=16)


def digest(seed: int, purpose: str, *names: str) -> bytes:
    """Sixteen bytes from a seed, what they are for, and whom they are about (BLAKE2b).

    Lengths stand before the names, so that no two lists of names give the same bytes.
    """
    hashed = _begun(seed, purpose).copy()
    for name in names:
        raw = name.encode("utf-8", "surrogatepass")
        hashed.update(len(raw).to_bytes(8, "little"))
        hashed.update(raw)
    return hashed.digest()


def unit(seed: int, purpose: str, *names: str) -> float:
    """A number in [0, 1), uniform over names: 53 bits of ``digest``.

    Examples
    --------
    >>> unit(1, "draw", "d-1") == unit(1, "draw", "d-1") != unit(2, "draw", "d-1")
    True
    """
    return (int.from_bytes(digest(seed, purpose, *names)[:8], "little") >> 11) * _SCALE
