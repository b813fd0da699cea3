"""A model's bytes say what they belong to, and are refused by name elsewhere."""

import pytest

from bandit.learners.learner import LearnerSettings
from bandit.versions import model_sha256, opened, sealed, stamp_in, stamp_of
from kernel.errors import ModelMismatch

STAMP = stamp_of(LearnerSettings("vw", "bag"), "vowpalwabbit 9.11.9", width=3, seed=5)


def test_what_was_sealed_is_opened() -> None:
    model = sealed(STAMP, 12, b"weights")
    assert opened(model, STAMP) == (12, b"weights")
    assert stamp_in(model) == STAMP
    assert (
        model_sha256(model)
        == model_sha256(sealed(STAMP, 12, b"weights"))
        != model_sha256(sealed(STAMP, 13, b"weights"))
    )


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (stamp_of(LearnerSettings("vw", "bag"), "vowpalwabbit 9.10.0", width=3, seed=5), "library"),
        (stamp_of(LearnerSettings("vw", "cover"), "vowpalwabbit 9.11.9", width=3, seed=5), "settings"),
        (stamp_of(LearnerSettings("vw", "bag"), "vowpalwabbit 9.11.9", width=4, seed=5), "width"),
        (stamp_of(LearnerSettings("vw", "bag"), "vowpalwabbit 9.11.9", width=3, seed=6), "seed"),
        (stamp_of(LearnerSettings("linear", "bag"), "vowpalwabbit 9.11.9", width=3, seed=5), "kind"),
    ],
)
def test_a_model_of_something_else_is_refused_by_name(other: object, what: str) -> None:
    with pytest.raises(ModelMismatch, match="rebuild it from the log") as refused:
        opened(sealed(STAMP, 1, b""), other)  # type: ignore[arg-type]
    assert refused.value.what == what


@pytest.mark.parametrize("place", [0, 5, -1])
def test_damaged_bytes_are_refused(place: int) -> None:
    model = bytearray(sealed(STAMP, 1, b"weights"))
    model[place] ^= 0x01
    with pytest.raises(ModelMismatch):
        opened(bytes(model), STAMP)


def test_cut_bytes_are_refused() -> None:
    with pytest.raises(ModelMismatch, match="damaged"):
        opened(sealed(STAMP, 1, b"weights")[:-3], STAMP)
