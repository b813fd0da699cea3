"""Model files: whole or not there, named when damaged, refused when they do not fit."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from skops import io as skops

from eventstore.event import Event, NewEvent
from eventstore.system import org_stream
from kernel.errors import ModelCorrupt, ModelNotFound, ModelSchemaMismatch
from kernel.ids import Position
from kernel.steps import finish
from scoring import registry
from scoring.challenge import Model
from scoring.conversion import ConversionModel
from scoring.drift import ColumnDrift, drift, drifted, drifted_share, psi, reference_of
from scoring.model import Importance
from scoring.promotion import Promotions
from scoring.request import Request
from scoring.synth import World
from scoring.training import TrainedModels, train
from tests.unit.scoring.leads import CATALOGUE
from tests.unit.scoring.worlds import streams_of

# One worker runs this module, so that its models are trained once.
pytestmark = pytest.mark.xdist_group("registry")

ROWS = np.array([[1.0, 2.0, np.nan, 3.0], [0.0, 30.0, 4.0, 0.0]])
FEATURES = (
    "activity:form_submit_count",
    "timing:days_since_last_activity",
    "recency:days_since_last_ib_call",
    "activity:meeting_count",
)


@pytest.fixture(scope="module")
def trained() -> TrainedModels:
    world = World(900, 3)
    request = Request(step_days=30, features=FEATURES)
    return finish(train(CATALOGUE, streams_of(world), request, until_us=world.end_us, now_us=1))


@pytest.fixture
def conversion(trained: TrainedModels) -> ConversionModel:
    assert trained.conversion is not None
    return trained.conversion


def answers(model: Model) -> list[Any]:
    if isinstance(model, ConversionModel):
        return [model.predict_proba(ROWS).tolist(), model.contributions(ROWS).values.tolist()]
    return [model.curve(ROWS).tolist()] if hasattr(model, "curve") else [model.health(ROWS).score.tolist()]


def test_a_saved_model_answers_as_before(tmp_path: Path, trained: TrainedModels) -> None:
    models = trained.models()
    assert set(models) == {"conversion", "time_to_close", "multitask"}
    for family, model in models.items():
        version = registry.save(tmp_path, model, config="b2b")
        assert version.id == f"{family}-0001"
        again = registry.load(tmp_path, version.id, fingerprint=model.card.fingerprint)
        assert answers(again) == answers(model)
        assert again.card == model.card
        assert registry.version(tmp_path, version.id).config == "b2b"


def test_versions_count_up_and_a_deleted_ones_number_is_not_missed(tmp_path: Path, conversion: ConversionModel) -> None:
    made = [registry.save(tmp_path, conversion).id for _ in range(3)]
    assert made == ["conversion-0001", "conversion-0002", "conversion-0003"]
    registry.delete(tmp_path, "conversion-0002")
    assert [each.id for each in registry.versions(tmp_path)] == ["conversion-0001", "conversion-0003"]
    assert registry.save(tmp_path, conversion).id == "conversion-0004"


def test_a_number_that_somebody_else_took_meanwhile_is_left_to_them(
    tmp_path: Path, conversion: ConversionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.save(tmp_path, conversion)
    monkeypatch.setattr(registry, "_names", lambda directory: [])
    assert registry.save(tmp_path, conversion).id == "conversion-0002"


def test_a_torn_write_leaves_nothing_that_is_read(
    tmp_path: Path, conversion: ConversionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(path: Path, body: bytes) -> None:
        path.write_bytes(body[:10])
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(registry, "_write_synced", torn)
    with pytest.raises(OSError, match="no space"):
        registry.save(tmp_path, conversion)
    assert list(tmp_path.iterdir()) == []
    assert registry.versions(tmp_path) == []


def test_a_directory_that_is_not_there_holds_no_versions(tmp_path: Path) -> None:
    assert registry.versions(tmp_path / "none") == []


@pytest.mark.parametrize("name", ["conversion-0009", "../conversion-0001", "conversion-1", "", "pickle"])
def test_an_unknown_or_odd_id_is_not_found(tmp_path: Path, conversion: ConversionModel, name: str) -> None:
    registry.save(tmp_path, conversion)
    for use in (registry.version, registry.load, registry.delete):
        with pytest.raises(ModelNotFound):
            use(tmp_path, name)


def test_a_flipped_byte_is_found_before_the_file_is_read(tmp_path: Path, conversion: ConversionModel) -> None:
    file = tmp_path / registry.save(tmp_path, conversion).id / "model.skops"
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(body)
    with pytest.raises(ModelCorrupt, match="hashes differ"):
        registry.load(tmp_path, "conversion-0001")


def test_a_damaged_card_is_named(tmp_path: Path, conversion: ConversionModel) -> None:
    registry.save(tmp_path, conversion)
    (tmp_path / "conversion-0001" / "card.json").write_bytes(b"{}")
    with pytest.raises(ModelCorrupt, match="conversion-0001"):
        registry.versions(tmp_path)


class Unwanted:
    """A type that a file could bring along."""

    def __init__(self) -> None:
        self.value = 1


@pytest.mark.parametrize(
    "body",
    [skops.dumps({"kind": Unwanted()}), skops.dumps([1]), b"no zip", skops.dumps({})],
    ids=["foreign type", "list", "no zip", "no model"],  # the bytes have times in them
)
def test_types_that_are_not_trusted_and_other_contents_are_refused(
    tmp_path: Path, conversion: ConversionModel, body: bytes
) -> None:
    version = registry.save(tmp_path, conversion)
    forged = msgspec.structs.replace(version, sha256=registry.sha256(body).hexdigest())
    (tmp_path / version.id / "model.skops").write_bytes(body)
    (tmp_path / version.id / "card.json").write_bytes(msgspec.json.encode(forged))
    with pytest.raises(ModelCorrupt, match="conversion-0001"):
        registry.load(tmp_path, version.id)


def test_a_model_of_other_features_is_refused_by_name(tmp_path: Path, conversion: ConversionModel) -> None:
    registry.save(tmp_path, conversion)
    with pytest.raises(ModelSchemaMismatch, match="conversion-0001") as refused:
        registry.load(tmp_path, "conversion-0001", fingerprint="another")
    assert refused.value.actual == "another"


def stored(number: int, new: NewEvent | None) -> Event:
    """As it comes back from the log."""
    assert new is not None
    position = Position(number)
    return Event(new.stream, 1, number, position, new.id, new.type, new.at_us, new.at_us, new.data)


def test_promotions_are_a_fold_and_rolling_back_brings_the_one_before(
    tmp_path: Path, conversion: ConversionModel
) -> None:
    first, second, third = (registry.save(tmp_path, conversion) for _ in range(3))
    promotions = Promotions()
    assert promotions.champion("conversion") is None
    assert promotions.roll_back("acme", "conversion", 5) is None
    log = [stored(1, promotions.promote("acme", first, 5))]
    promotions.fold(log[-1])
    assert promotions.promote("acme", first, 6) is None
    assert promotions.challenger(registry.versions(tmp_path), "conversion") == third
    log.append(stored(2, promotions.promote("acme", second, 6)))
    promotions.fold(log[-1])
    champion, before = promotions.champion("conversion"), promotions.before("conversion")
    assert champion is not None
    assert before is not None
    assert (champion.version, champion.replaces, before.version) == (second.id, first.id, first.id)
    log.append(stored(3, promotions.roll_back("acme", "conversion", 7)))
    promotions.fold(log[-1])
    back = promotions.champion("conversion")
    assert back is not None
    assert (back.version, promotions.before("conversion")) == (first.id, None)
    replayed = Promotions()
    for event in log:
        replayed.fold(event)
    assert replayed.champion("conversion") == back
    assert len({event.id for event in log}) == 3
    assert all(event.stream == org_stream("acme") and event.id.startswith("~mp:") for event in log)


def test_configurations_have_champions_of_their_own(tmp_path: Path, conversion: ConversionModel) -> None:
    b2b, plain = registry.save(tmp_path, conversion, config="b2b"), registry.save(tmp_path, conversion)
    promotions = Promotions()
    promotions.fold(stored(1, promotions.promote("acme", b2b, 1)))
    assert promotions.champion("conversion") is None
    assert promotions.challenger(registry.versions(tmp_path), "conversion") == plain
    champion = promotions.champion("conversion", "b2b")
    assert champion is not None
    assert champion.version == b2b.id


def test_psi_is_zero_for_the_same_and_large_for_another_population() -> None:
    rng = np.random.default_rng(1)
    before = np.where(rng.random(5000) < 0.1, np.nan, rng.normal(size=5000))
    reference = reference_of(before)
    assert psi(reference, before) == pytest.approx(0, abs=1e-9)
    assert psi(reference, before[rng.permutation(5000)[:1000]]) < 0.05
    assert psi(reference, before + 1.5) > 0.5
    assert psi(reference, np.full(500, np.nan)) > 1
    assert psi(reference_of(np.full(100, np.nan)), np.full(10, np.nan)) == 0
    assert psi(reference, before[:0]) == 0


def test_columns_that_moved_are_named_first(conversion: ConversionModel) -> None:
    rng = np.random.default_rng(2)
    rows = rng.poisson(1.0, size=(1000, 4)).astype(float)
    rows[:, 2] = np.nan
    card = msgspec.structs.replace(
        conversion.card, reference={name: reference_of(rows[:, place]) for place, name in enumerate(FEATURES)}
    )
    moved = rows.copy()
    moved[:, 1] += 3
    found = drift(card, moved, rows)
    assert found[0].column == FEATURES[1]
    assert found[0].ks is not None
    assert found[0].ks > 0.8
    assert found[0].p_value == pytest.approx(0, abs=1e-9)
    assert drifted(found) == [FEATURES[1]]
    assert next(each for each in found if each.column == FEATURES[2]).ks is None
    assert drift(card, moved)[0].ks is None


def test_drift_counts_by_what_a_model_lives_on(trained: TrainedModels) -> None:
    assert trained.conversion is not None
    importance = (Importance("a:x", 0.3, 0.0), Importance("a:kind", 0.1, 0.0), Importance("a:noise", -0.2, 0.0))
    card = msgspec.structs.replace(trained.conversion.card, importance=importance)

    def share(*moved: str) -> float:
        return drifted_share(card, [ColumnDrift(name, 1.0) for name in moved] + [ColumnDrift("a:y", 0.2)])

    assert share() == 0
    assert share("a:x") == pytest.approx(0.75)
    assert share("a:kind=b", "a:noise") == pytest.approx(0.25)
    assert drifted_share(msgspec.structs.replace(card, importance=()), [ColumnDrift("a:x", 1.0)]) == 0
