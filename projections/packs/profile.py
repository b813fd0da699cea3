"""What can be read from a profile's texts: kinds of e-mail domain, seniority of a title, size of a company."""

import re
from collections.abc import Iterator
from itertools import pairwise

_WORD = re.compile(r"[^\W_]+")
_ACADEMIC = re.compile(r"[^.]+(?:\.[^.]+)*\.(?:ac|edu)\.[a-z]{2}")

C_LEVEL = frozenset(
    ("chief", "ceo", "cto", "cfo", "coo", "cmo", "cio", "ciso", "cpo", "cro", "founder", "cofounder", "owner")
)
VICE = frozenset(("vp", "svp", "evp"))
RANKS = (("director", frozenset(("director", "head"))), ("manager", frozenset(("manager", "supervisor"))))


def has_text(value: str) -> int:
    """1 if the value has a character that is not white space, else 0."""
    return int(bool(value.strip()))


def email_domain(email: str) -> str | None:
    """What follows the last ``@``: trimmed, lower case, without a trailing dot; None where that is nothing.

    Examples
    --------
    >>> email_domain("Ann@Example.COM. ")
    'example.com'
    """
    _, at, domain = email.rpartition("@")
    domain = domain.strip().lower().removesuffix(".")
    return domain if at and domain else None


class DomainKinds:
    """Kinds of domain, given the free providers of the org's settings."""

    def __init__(self, free: tuple[str, ...]) -> None:
        self.free = frozenset(each.lower() for each in free)

    def __repr__(self) -> str:
        return f"DomainKinds({sorted(self.free)})"

    def __call__(self, email: str) -> str | None:
        domain = email_domain(email)
        if domain is None:
            return None
        if (domain.endswith(".edu") and domain != ".edu") or _ACADEMIC.fullmatch(domain):
            return "edu"
        return "free" if domain in self.free else "corporate"


def title_words(title: str) -> list[str]:
    """Maximal runs of letters and digits, in lower case."""
    return [word.lower() for word in _WORD.findall(title)]


def title_seniority(title: str) -> str | None:
    """The first rank that fits the title's words; ``individual`` where none does, None without a word.

    Examples
    --------
    >>> title_seniority("Senior Vice President, Sales"), title_seniority("President"), title_seniority("--")
    ('vp', 'c_level', None)
    """
    words = title_words(title)
    if not words:
        return None
    if C_LEVEL.intersection(words) or "president" in _not_after_vice(words):
        return "c_level"
    if VICE.intersection(words) or ("vice", "president") in pairwise(words):
        return "vp"
    return next((rank for rank, fitting in RANKS if fitting.intersection(words)), "individual")


def _not_after_vice(words: list[str]) -> Iterator[str]:
    return (word for before, word in pairwise(["", *words]) if before != "vice")


def size_of_company(size: int) -> str:
    """The class of a number of employees."""
    bounds = ((10, "micro"), (50, "small"), (250, "medium"), (1000, "large"))
    return next((name for bound, name in bounds if size <= bound), "enterprise")


def size_of_domain(kind: str) -> str:
    """A guess from the kind of domain, where no size is known."""
    return {"free": "individual", "edu": "large", "corporate": "medium"}[kind]
