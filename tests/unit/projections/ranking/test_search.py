import random

from projections.ranking.search import Haystack, folded


def rows(haystack: Haystack, wanted: str) -> list[int]:
    return [row for row, is_found in enumerate(b"".join(haystack.find(wanted))) if is_found]


def test_a_text_is_found_in_any_part_and_any_case() -> None:
    haystack = Haystack()
    haystack.put(0, ["lead-1", "Ann Straße", None, "ACME"])
    haystack.put(1, ["lead-2", None, "ann@x.com", None])
    assert rows(haystack, "ANN") == [0, 1]
    assert rows(haystack, "strasse") == [0]
    assert rows(haystack, "lead") == [0, 1]
    assert rows(haystack, "acme") == [0]
    assert rows(haystack, "nobody") == []
    assert rows(haystack, "") == []


def test_no_match_reaches_from_one_text_or_row_into_the_next() -> None:
    haystack = Haystack()
    haystack.put(0, ["ab", "cd"])
    haystack.put(1, ["ef"])
    for wanted in ("bc", "b\nc", "de", "d\ne", "b c"):
        assert rows(haystack, wanted) == []
    haystack.put(2, ["line one\nline two"])
    assert rows(haystack, "one\nline") == [2]


def test_a_row_is_found_once_and_under_its_latest_texts_only() -> None:
    haystack = Haystack()
    haystack.put(300, ["aaaa", "aa"])
    assert rows(haystack, "a") == [300]
    haystack.put(300, ["b"])
    assert (rows(haystack, "a"), rows(haystack, "b")) == ([], [300])
    haystack.put(300, [])
    assert rows(haystack, "b") == []


def test_many_rows_are_found_as_a_plain_scan_finds_them() -> None:
    chance = random.Random(1)
    texts = ["".join(chance.choices("abÄ ", k=chance.randrange(8))) for _ in range(1_000)]
    haystack = Haystack()
    for row, text in enumerate(texts):
        haystack.put(row, [text])
    for wanted in ("a", "ab", "ä", "b a", "abab"):
        assert rows(haystack, wanted) == [row for row, text in enumerate(texts) if folded(wanted) in folded(text)]


def test_a_search_again_finds_what_a_plain_scan_finds_though_rows_changed_meanwhile() -> None:
    chance = random.Random(2)
    texts = ["".join(chance.choices("ab", k=4)) for _ in range(700)]
    haystack = Haystack()
    for row, text in enumerate(texts):
        haystack.put(row, [text])
    for _ in range(300):
        wanted = "".join(chance.choices("ab", k=chance.randrange(1, 5)))
        assert rows(haystack, wanted) == [row for row, text in enumerate(texts) if wanted in text]
        row = chance.randrange(len(texts))
        texts[row] = "".join(chance.choices("ab", k=4))
        haystack.put(row, [texts[row]])


def test_a_search_under_way_that_is_forgotten_goes_on_with_the_rows_of_now() -> None:
    haystack = Haystack()
    for row in range(600):
        haystack.put(row, ["a"])
    assert len(rows(haystack, "a")) == 600
    searching = haystack.find("a")
    next(searching)
    for other in "bcdefghij":
        rows(haystack, other)
    haystack.put(599, ["b"])
    assert sum(map(sum, searching)) == 600 - 256 - 1
