"""File names of a COCO file: inside the folder of images, mended where other tools wrote them."""

import pytest

from gfl_tf.data import coco_files

WHERE = "x.json: image 7"


@pytest.fixture
def folder(tmp_path):
    """images/a.jpg, images/sub/my dog.jpg, and secret.jpg beside the folder."""
    (tmp_path / "images" / "sub").mkdir(parents=True)
    for name in ("images/a.jpg", "images/sub/my dog.jpg", "secret.jpg"):
        (tmp_path / name).write_text("")
    return tmp_path / "images"


@pytest.mark.parametrize(
    "name, expected, is_mended",
    [
        ("a.jpg", "a.jpg", False),
        ("./a.jpg", "a.jpg", False),
        ("sub/../a.jpg", "a.jpg", False),
        ("sub/my dog.jpg", "sub/my dog.jpg", False),
        ("sub\\my dog.jpg", "sub/my dog.jpg", True),
        ("sub/my%20dog.jpg", "sub/my dog.jpg", True),
        ("sub\\my%20dog.jpg", "sub/my dog.jpg", True),
        ("not\\there%20.jpg", "not\\there%20.jpg", False),
    ],
)
def test_paths(folder, name, expected, is_mended):
    assert coco_files.find(name, str(folder), WHERE) == (str(folder / expected), is_mended)


def test_a_name_counts_first_as_it_stands(folder):
    for name in ("sub\\my dog.jpg", "100%25.jpg"):
        (folder / name).write_text("")
        assert coco_files.find(name, str(folder), WHERE) == (str(folder / name), False)


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "sub/../../secret.jpg", "..", "..\\secret.jpg", "%2e%2e/secret.jpg", "..%5Csecret.jpg"]
)
def test_a_name_that_leads_out_is_refused(folder, name):
    with pytest.raises(ValueError, match="x.json: image 7 has the file name .* leads out of the images folder"):
        coco_files.find(name, str(folder), WHERE)


def test_absolute_names(folder, monkeypatch):
    with pytest.raises(ValueError, match="leads out"):
        coco_files.find(str(folder.parent / "secret.jpg"), str(folder), WHERE)
    assert coco_files.find(str(folder / "a.jpg"), str(folder), WHERE) == (str(folder / "a.jpg"), False)
    monkeypatch.chdir(folder)
    assert coco_files.find("a.jpg", ".", WHERE) == ("./a.jpg", False)


def test_a_link_out_of_a_linked_folder_is_not_followed_backwards(folder, tmp_path_factory):
    """link/../secret.jpg lies beside the link's target; the name means images/secret.jpg."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "secret.jpg").write_text("")
    (elsewhere / "inner").mkdir()
    (elsewhere / "inner" / "b.jpg").write_text("")
    (folder / "link").symlink_to(elsewhere / "inner")
    assert coco_files.find("link/../secret.jpg", str(folder), WHERE) == (str(folder / "secret.jpg"), False)
    assert coco_files.find("link/b.jpg", str(folder), WHERE) == (str(folder / "link" / "b.jpg"), False)
