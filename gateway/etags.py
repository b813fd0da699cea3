"""Conditional requests: whether the caller has an answer already."""


def matches(wanted: str, etag: str) -> bool:
    """Whether an ``If-None-Match`` names the ETag: weak comparison, as RFC 9110 asks for it here.

    Examples
    --------
    >>> matches('"1", W/"2"', '"2"'), matches("*", '"2"'), matches('"3"', '"2"')
    (True, True, False)
    """
    if wanted == etag or wanted.strip() == "*":
        return True
    bare = etag.removeprefix("W/")
    return any(part.strip().removeprefix("W/") == bare for part in wanted.split(","))
