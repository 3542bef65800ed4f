"""Files that are whole or not there at all."""

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


def test_nothing_changes_where_the_writing_fails(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as file:
        file.write("new")
        1 / 0  # noqa: B018
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
