"""What the sales pack reads out of a profile: e-mail domains, words of titles, company sizes."""

import re
from itertools import groupby
from typing import Any

from tests.oracle.facts import Log

_C_LEVEL = {"chief", "ceo", "cto", "cfo", "coo", "cmo", "cio", "ciso", "cpo", "cro", "founder", "cofounder", "owner"}
_EDU = re.compile(r"(?P<before>.*)\.(?:edu|(?:ac|edu)\.[^\W\d_]{2})", re.DOTALL)


def latest_profile(log: Log) -> dict[str, Any]:
    """Each field's latest value; an absent field stays, a null clears."""
    profile: dict[str, Any] = {}
    for fact in log.of("profile_updated"):
        profile.update(fact.data)
    return profile


def has_text(value: str | None) -> int:
    """1 if there is a character that is not white space."""
    return 1 if value is not None and any(not character.isspace() for character in value) else 0


def domain_of(email: str | None) -> str | None:
    """What follows the last ``@``, trimmed, lower case, without a trailing dot; None if that is nothing.

    >>> domain_of(" a@b@ Example.ORG. ")
    'example.org'
    """
    if email is None or "@" not in email:
        return None
    domain = email.rsplit("@", 1)[1].strip().lower().removesuffix(".")
    return domain or None


def domain_type(domain: str | None, free: frozenset[str]) -> str | None:
    """``edu``, ``free`` or ``corporate``."""
    if domain is None:
        return None
    match = _EDU.fullmatch(domain)
    if match is not None and match["before"].strip(".") != "":
        return "edu"
    return "free" if domain in free else "corporate"


def words_of(title: str) -> list[str]:
    """Maximal runs of letters and digits, lower case.

    >>> words_of("Co-Founder & C.E.O., 3M")
    ['co', 'founder', 'c', 'e', 'o', '3m']
    """
    runs = groupby(title, key=lambda character: character.isalpha() or character.isdigit())
    return ["".join(run).lower() for inside, run in runs if inside]


def seniority(title: str | None) -> str | None:
    """The first level that fits; null without a word."""
    words = words_of(title or "")
    pairs = list(zip(["", *words], words, strict=False))
    if not words:
        return None
    if _C_LEVEL & set(words) or any(word == "president" and before != "vice" for before, word in pairs):
        return "c_level"
    if {"vp", "svp", "evp"} & set(words) or ("vice", "president") in pairs:
        return "vp"
    if {"director", "head"} & set(words):
        return "director"
    return "manager" if {"manager", "supervisor"} & set(words) else "individual"


def size_estimate(company_size: int | None, email_type: str | None) -> str | None:
    """From the size, else from the e-mail's domain."""
    if company_size is None:
        by_domain = {"free": "individual", "edu": "large", "corporate": "medium"}
        return None if email_type is None else by_domain[email_type]
    for most, name in ((10, "micro"), (50, "small"), (250, "medium"), (1000, "large")):
        if company_size <= most:
            return name
    return "enterprise"
