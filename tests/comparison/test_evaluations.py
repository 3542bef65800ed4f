"""Which evaluations are made, which are taken as they are, and which cannot be compared."""

import json
import shutil
from unittest import mock

import pytest

from gfl_tf.comparison import evaluations
from gfl_tf.training import evaluate_run, provenance
from gfl_tf.training.run_dir import RunDirectory
from tests.comparison.conftest import write_evaluation

pytestmark = pytest.mark.one_stack


@pytest.fixture
def evaluate(config, monkeypatch):
    """Stands for `evaluate_run`; the list of the runs that were evaluated."""
    made = []

    def evaluate_(path, which, annotations, images, output, on_bad_image):
        made.append(path)
        return write_evaluation(output, config, 1.0, provenance.of_weights(RunDirectory(path), which))

    stand_in = mock.create_autospec(evaluate_run.evaluate_run, side_effect=evaluate_)
    monkeypatch.setattr(evaluate_run, "evaluate_run", stand_in)
    return made


def test_only_what_is_new_is_evaluated(run, evaluate):
    paths = [run("a"), run("b")]
    said = []
    dataset, found = evaluations.collect(paths, say=said.append)
    assert evaluate == paths and len(dataset.images) == 12
    assert [each.name for each in found] == ["a", "b"]
    assert str(found[1].folder) == f"{paths[1]}/evaluation/best-val"
    again = evaluations.collect(paths, say=said.append)[1]
    assert evaluate == paths and again[0].metrics == json.loads((found[0].folder / "metrics.json").read_text())
    assert [text.split("/")[-1] for text in said[2:]] == ["best-val", "best-val"]
    RunDirectory(paths[1]).weights_file("best").write_bytes(b"trained further")
    evaluations.collect(paths, say=said.append)
    assert evaluate == [*paths, paths[1]]


@pytest.mark.parametrize("change", [{"tta": {}}, {"settings": {}}, {"num_images": 11}])
def test_evaluations_of_another_kind_are_made_anew(run, evaluate, change):
    paths = [run("a"), run("b")]
    _, found = evaluations.collect(paths)
    file = found[1].folder / "metrics.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    evaluations.collect(paths)
    assert evaluate == [*paths, paths[1]]


def test_other_data_are_refused_before_anything_is_evaluated(run, evaluate, config, tmp_path):
    content = json.loads((tmp_path / "val.json").read_text())
    paths = [run("a")]
    for name, change in (("boxes", content["annotations"].pop), ("images", content["images"].pop)):
        change(0)
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        config.data.val_annotations = str(tmp_path / f"{name}.json")
        paths.append(run(name))
    with pytest.raises(ValueError) as caught:
        evaluations.collect(paths)
    first, boxes, images, remedy = str(caught.value).splitlines()
    assert f"those of {paths[0]} " in first and "--annotations=PATH" in remedy
    assert boxes == f"  {paths[1]}: other boxes or their classes"
    assert images == f"  {paths[2]}: 11 images in place of 12"
    assert not evaluate


def test_a_folder_stands_for_a_run_wherever_it_lies(evaluation, tmp_path):
    paths = [evaluation("one", 1.0), evaluation("two", 2.0)]
    shutil.move(paths[1], tmp_path / "moved")
    _, found = evaluations.collect([paths[0], str(tmp_path / "moved")])
    assert [each.name for each in found] == ["one", "moved"] and found[1].run is None
    shutil.move(tmp_path / "val.json", tmp_path / "elsewhere.json")
    with pytest.raises(ValueError, match="no annotation file .*--annotations"):
        evaluations.collect([paths[0], str(tmp_path / "moved")])
    now = dict(annotations=str(tmp_path / "elsewhere.json"), images=str(tmp_path / "val"))
    assert evaluations.collect([paths[0], str(tmp_path / "moved")], **now)[1] == found


def test_an_evaluation_of_an_earlier_version_is_refused(evaluation, tmp_path):
    paths = [evaluation("one", 1.0), evaluation("two", 2.0)]
    file = tmp_path / "two" / "metrics.json"
    metrics = json.loads(file.read_text())
    del metrics["evaluated"]
    file.write_text(json.dumps(metrics))
    with pytest.raises(ValueError, match="two/metrics.json has no 'evaluated', as of an earlier version"):
        evaluations.collect(paths)
