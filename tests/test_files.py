"""Files that are whole or not there at all."""

import errno
import os

import pytest

from gfl_tf import files


def test_replacing(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with files.replacing(path) as file:
        file.write("ä")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text(encoding="utf-8") == "ä"
    with files.replacing(str(tmp_path / "b.npz"), "wb") as file:
        file.write(b"\0")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.json", "b.npz"]


@pytest.mark.parametrize("synced", [False, True])
@pytest.mark.parametrize("content", ["ä", "ä".encode()])
def test_write(tmp_path, content, synced):
    files.write(tmp_path / "a", content, synced)
    assert (tmp_path / "a").read_text(encoding="utf-8") == "ä" and os.listdir(tmp_path) == ["a"]


def test_nothing_changes_where_the_writing_fails(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as file:
        file.write("new")
        1 / 0  # noqa: B018
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_what_cannot_be_written_is_named_in_one_line(tmp_path, number):
    path = tmp_path / "a.json"
    with pytest.raises(OSError, match=f"{path} cannot be written.*{os.strerror(number)}") as error:
        with files.replacing(path) as file:
            file.write("half")
            raise OSError(number, os.strerror(number))
    assert error.value.errno == number and not list(tmp_path.iterdir())


def test_what_a_killed_process_left_goes(tmp_path):
    for name in (".partial-12-a.json", "a.json"):
        (tmp_path / name).touch()
    files.remove_partial(tmp_path)
    assert os.listdir(tmp_path) == ["a.json"]
    files.remove_partial(tmp_path / "none")


@pytest.mark.parametrize("content", [b"", b"{", b"\0\0", b"\xff"])
def test_the_good_ones_and_a_warning_of_each_other(tmp_path, caplog, content):
    for name, value in (("a", b"1"), ("b", content), ("d", b"2")):
        (tmp_path / name).write_bytes(value)
    found = files.good((tmp_path / name for name in "abcd"), files.read_json)
    assert list(found) == [(tmp_path / "a", 1), (tmp_path / "d", 2)]
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2 and all(f"{tmp_path / name} cannot be read" in text for name, text in zip("bc", warnings))


def test_a_good_one_or_the_default(tmp_path, caplog):
    path = tmp_path / "a.json"
    assert files.read_good(path, files.read_json) is None and not caplog.records
    path.write_text("{")
    assert files.read_good(path, files.read_json, []) == [] and f"{path} cannot be read" in caplog.text
    path.write_text("1")
    assert files.read_good(path, files.read_json, []) == 1
