import gzip
from pathlib import Path

import msgspec
import pytest

from gateway.records import NO_MAPPING, read_mapping, read_rows
from kernel.errors import SettingsError

FORMS = {"purchase_completed": {"amount": "json", "order_id": "text"}, "flagged": {"yes": "flag", "tags": "json"}}


def events(path: Path, text: str, mapping: str = "", name: str = "rows") -> list[dict[str, object]]:
    file = path / name
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    columns = NO_MAPPING
    if mapping:
        (path / "mapping.toml").write_text(mapping)
        columns = read_mapping(path / "mapping.toml")
    return [msgspec.json.decode(row.body) for row in read_rows(file, columns, FORMS)]


NDJSON = '{"id":"1","lead":"a","type":"t","data":{"x":1.50}}\n\n  {"lead":"a","type":"t"}\n'


@pytest.mark.parametrize("name", ["rows.ndjson", "rows.gz"])
def test_ndjson_is_read_plain_or_gzipped_and_blank_lines_are_skipped(tmp_path: Path, name: str) -> None:
    first, second = events(tmp_path, NDJSON, name=name)
    assert first == {"id": "1", "lead": "a", "type": "t", "data": {"x": 1.5}}
    assert str(second["id"]).startswith("row:")


def test_a_line_that_is_no_json_is_posted_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_text('{"lead":"a"}\n{"lead":\n')
    rows = list(read_rows(file))
    assert rows[1].body == b'{"lead":'
    assert rows[1].line == 2


def test_equal_rows_get_different_ids_and_a_second_reading_the_same_ones(tmp_path: Path) -> None:
    text = '{"lead":"a","type":"t"}\n' * 3 + '{"lead":"b","type":"t"}\n'
    ids = [event["id"] for event in events(tmp_path, text)]
    assert len(set(ids)) == 4
    assert ids == [event["id"] for event in events(tmp_path, text)]
    assert [str(each).rpartition(":")[2] for each in ids] == ["0", "1", "2", "0"]


def test_a_row_whose_id_is_null_gets_one(tmp_path: Path) -> None:
    (event,) = events(tmp_path, '{"id": null, "lead":"a","type":"t"}\n')
    assert str(event["id"]).startswith("row:")


def test_a_mapping_finds_fields_in_objects(tmp_path: Path) -> None:
    text = '{"who": {"id": "a"}, "basket": {"total": 1.50}}\n'
    mapping = '"who.id" = "lead"\n"basket.total" = "data.amount"\n[constants]\ntype = "t"\n'
    (event,) = events(tmp_path, text, mapping)
    assert (event["lead"], event["data"]) == ("a", {"amount": 1.5})


def test_a_mapping_that_names_one_key_within_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="none within another"):
        events(tmp_path, '{"a":1}\n', 'a = "data.x"\nb = "data.x.y"\n')


def test_a_csv_names_envelope_keys_and_fields_of_the_payload(tmp_path: Path) -> None:
    text = "lead,type,time,data.amount,data.order_id\na,purchase_completed,1.5,12.50,007\nb,purchase_completed,,,\n"
    first, second = events(tmp_path, text)
    assert first["time"] == 1.5
    assert first["data"] == {"amount": 12.5, "order_id": "007"}
    assert "time" not in second
    assert "data" not in second


def test_a_csv_cell_is_a_boolean_or_a_list_where_the_type_declares_one(tmp_path: Path) -> None:
    (event,) = events(tmp_path, 'lead,type,data.yes,data.tags,data.other\na,flagged,TRUE,"[""x""]",true\n')
    assert event["data"] == {"yes": True, "tags": ["x"], "other": "true"}


def test_a_cell_that_is_not_of_its_type_stays_a_text_for_the_door_to_refuse(tmp_path: Path) -> None:
    (event,) = events(tmp_path, "lead,type,data.amount\na,purchase_completed,twelve\n")
    assert event["data"] == {"amount": "twelve"}


def test_a_mapping_names_columns_and_constants(tmp_path: Path) -> None:
    mapping = 'Customer = "lead"\nTotal = "data.amount"\n[constants]\ntype = "purchase_completed"\n'
    (event,) = events(tmp_path, "Customer,Total,Junk\nx,3,y\n", mapping)
    assert {key: event[key] for key in ("lead", "type", "data")} == {
        "lead": "x",
        "type": "purchase_completed",
        "data": {"amount": 3},
    }


def test_a_mapping_holds_for_ndjson_too(tmp_path: Path) -> None:
    mapping = 'customer = "lead"\ntotal = "data.amount"\n[constants]\ntype = "purchase_completed"\n'
    (event,) = events(tmp_path, '{"customer":"x","total":3.25,"junk":1}\n', mapping)
    assert event["lead"] == "x"
    assert event["data"] == {"amount": 3.25}
    assert "junk" not in event


def test_a_quoted_cell_may_hold_line_breaks_and_the_row_stays_one_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text('lead,type,data.note\na,t,"x\ny"\nb,t,z\n')
    rows = list(read_rows(file))
    assert [b"\n" in row.body for row in rows] == [False, False]
    assert msgspec.json.decode(rows[0].body)["data"] == {"note": "x\ny"}


@pytest.mark.parametrize("mapping", ['a = "leed"', "a = 1", 'constants = "x"', '[constants]\nleed = "x"', "="])
def test_a_mapping_to_no_key_is_refused(tmp_path: Path, mapping: str) -> None:
    with pytest.raises(SettingsError):
        events(tmp_path, "a\n1\n", mapping)


def test_an_unknown_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        events(tmp_path, "lead,type,when\na,t,1\n")
    assert caught.value.key == "when"


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08broken", b"\x1f\x8b"])
def test_a_broken_gzip_is_a_file_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "rows.gz"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="readable"):
        list(read_rows(file))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing"):
        list(read_rows(tmp_path / "nothing"))


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert events(tmp_path, "") == []
