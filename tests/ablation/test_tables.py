"""The papers' tables: what the rows change, on the bases that come along, and which figures they have."""

import functools
import pathlib
import re

import ml_collections
import pytest

from gfl_tf.ablation import base, tables
from gfl_tf.config_files import load_config
from tests.tiny import with_defaults

pytestmark = pytest.mark.one_stack

TINY = str(pathlib.Path(__file__).with_name("base.py"))
NOT_SOFT = dict(quality_targets=False)


@functools.cache
def model_of(name, config=TINY, overrides=()):
    """`config.model` of a row as a dict, its parts checked and with all their fields."""
    return with_defaults(base.row_config(config, name, tables.find_row(name), overrides).model)


# What the papers say of their rows, field by field. Of those with one field alone, the others are as in the detector.
WANTED = {
    "gfl_1a/atss/no_quality": dict(score=dict(name="joint", guided="", **NOT_SOFT)),
    "gfl_1a/fcos/centerness_branch": dict(score=dict(name="branch", quality="centerness", **NOT_SOFT)),
    "gfl_1a/fcos/iou_branch": dict(score=dict(name="branch", quality="iou", **NOT_SOFT)),
    "gfl_1a/atss/centerness_guided": dict(score=dict(name="joint", guided="centerness", **NOT_SOFT)),
    "gfl_1a/atss/iou_guided": dict(score=dict(name="joint", guided="iou", **NOT_SOFT)),
    "gfl_1a/fcos/joint": dict(
        score=dict(name="joint"), classification_loss=dict(name="quality_focal"), boxes=dict(name="dirac")
    ),
    "gfl_1b/retinanet_qfl": dict(
        score=dict(name="joint"), classification_loss=dict(name="quality_focal"), assigner=dict(name="max_iou")
    ),
    "gfl_1c/2.5": dict(classification_loss=dict(name="quality_focal", beta=2.5), boxes=dict(name="anchor_deltas")),
    "gfl_2a/fcos/dirac": dict(boxes=dict(name="dirac"), score=dict(name="branch"), assigner=dict(name="fcos")),
    "gfl_2a/atss/gaussian": dict(boxes=dict(name="gaussian"), score=dict(name="branch")),
    "gfl_2a/atss/general": dict(boxes=dict(name="general", distribution_weight=0.0)),
    "gfl_2a/fcos/general_dfl": dict(boxes=dict(name="general"), classification_loss=dict(name="focal")),
    "gfl_2b/12": dict(boxes=dict(name="general", num_bins=12)),
    "gfl_2c/0.5": dict(boxes=dict(name="general", num_bins=32, bin_width=0.5)),
    "gfl_2c/4": dict(boxes=dict(name="general", num_bins=4, bin_width=4.0)),
    "gfl_3/neither": dict(boxes=dict(name="anchor_deltas"), classification_loss=dict(name="focal")),
    "gfl_3/qfl": dict(boxes=dict(name="anchor_deltas"), classification_loss=dict(name="quality_focal")),
    "gfl_3/dfl": dict(boxes=dict(name="general"), classification_loss=dict(name="focal")),
    "gfl_3/both": dict(boxes=dict(name="general"), classification_loss=dict(name="quality_focal")),
    "gflv2_1/variance": dict(score=dict(name="dgqp", statistics=("variance",), k=4, hidden=64)),
    "gflv2_1/topk_mean_variance": dict(score=dict(name="dgqp", statistics=("topk", "mean", "variance"))),
    "gflv2_2/k0": dict(score=dict(name="joint"), boxes=dict(name="general")),
    "gflv2_2/k16": dict(score=dict(name="dgqp", k=16, hidden=64, statistics=("topk", "mean"))),
    "gflv2_2/p256": dict(score=dict(name="dgqp", k=4, hidden=256)),
    "gflv2_4/composed_128": dict(score=dict(name="dgqp", composed_channels=128)),
    "gflv2_4/decomposed": dict(score=dict(name="dgqp", composed_channels=0)),
    "gflv2_5/retinanet_gflv2": dict(
        score=dict(name="dgqp"), boxes=dict(name="general"), assigner=dict(name="max_iou"), head=dict(groups=4)
    ),
    "gflv2_5/fcos_gflv2": dict(score=dict(name="dgqp"), assigner=dict(name="fcos"), grid=dict(offset=0.5)),
    "vfnet_2/gamma_2_alpha_0.75_unweighted": dict(
        classification_loss=dict(name="varifocal", alpha=0.75, gamma=2.0, iou_weighted=False)
    ),
    "vfnet_2/gamma_2.5_alpha_1.25": dict(
        classification_loss=dict(name="varifocal", alpha=1.25, gamma=2.5, iou_weighted=True)
    ),
    "vfnet_3/focal": dict(head=dict(star=False, refine=False), score=NOT_SOFT, classification_loss=dict(name="focal")),
    "vfnet_3/vfl": dict(head=dict(star=False, refine=False), classification_loss=dict(name="varifocal")),
    "vfnet_3/star": dict(head=dict(star=True, refine=False), classification_loss=dict(name="varifocal")),
    "vfnet_3/star_refine": dict(head=dict(star=True, refine=True)),
    "vfnet_3/fcos_atss": dict(score=dict(name="branch"), assigner=dict(name="atss"), boxes=dict(name="dirac")),
    "vfnet_5/retinanet_vfl": dict(classification_loss=dict(name="varifocal"), boxes=dict(name="anchor_deltas")),
    "vfnet_5/atss_gfl": dict(
        classification_loss=dict(name="quality_focal"), score=dict(name="branch", quality_targets=True)
    ),
    "vfnet_5/vfnet_gfl": dict(classification_loss=dict(name="quality_focal"), head=dict(name="vfnet", star=True)),
}


@pytest.mark.parametrize("name", WANTED)
def test_a_row_is_what_the_paper_says(name):
    found = model_of(name)
    for part, wanted in WANTED[name].items():
        assert {field: found[part][field] for field in wanted} == wanted, part


@pytest.mark.parametrize("table", tables.TABLES)
def test_rows_differ_from_each_other(table):
    rows = {row: model_of(f"{table}/{row}") for row in tables.TABLES[table].rows}
    same = [(one, other) for one in rows for other in rows if one < other and rows[one] == rows[other]]
    assert not same


# Of small the tables that have all detectors.
@pytest.mark.parametrize(
    "config, table", [*(("papers", table) for table in tables.TABLES), ("small", "gflv2_5"), ("small", "vfnet_5")]
)
def test_rows_on_the_bases_that_come_along(config, table):
    for row in tables.TABLES[table].rows:
        model_of(f"{table}/{row}", config)


def test_the_place_of_the_detector_in_a_base():
    assert model_of("gfl_3/both", "small:DETECTOR/resnet18")["backbone"]["name"] == "reference_resnet"
    assert model_of("vfnet_2/gamma_2_alpha_0.75", "gflv2_shapes")["head"]["name"] == "vfnet"
    assert model_of("gfl_3/qfl", "papers") == model_of("gfl_1a/atss/joint", "papers")


def test_the_docs_list_the_tables():
    page = (pathlib.Path(__file__).parents[2] / "docs" / "ablate.md").read_text()
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|.*\| ([\d, ]+) \|$", page, re.MULTILINE)
    listed = [pair for names, counts in rows for pair in zip(names.split(", "), map(int, counts.split(", ")))]
    assert listed == [(f"`{name}`", len(table.rows)) for name, table in tables.TABLES.items()]


@pytest.mark.parametrize(
    "detector, row", [("atss", "gfl_3/neither"), ("gfl", "gfl_3/both"), ("gflv2", "gflv2_4/decomposed")]
)
def test_a_row_without_changes_is_its_detector(detector, row):
    assert load_config(f"papers:{row}").model == load_config(f"papers:{detector}").model


def test_the_command_line_comes_before_the_row():
    """Of the base it changes what the row leaves alone."""
    fields = "--config.model.score.hidden=8", "--config.model.score.k=2"
    score = model_of("gflv2_2/k16", overrides=fields)["score"]
    assert (score["k"], score["hidden"]) == (16, 8)


@pytest.mark.parametrize("table", tables.TABLES.values(), ids=tables.TABLES)
def test_groups_and_figures(table):
    assert {row for group in table.groups for row in group.rows} == set(table.rows)
    assert all(group.reference in group.rows for group in table.groups)
    for row in table.rows.values():
        assert row.figures["AP50"] > row.figures["AP"] > 25
        assert row.figures["AP"] < row.figures.get("AP75", 45) < row.figures["AP50"]


def test_ablations_of_the_same_model_agree_on_it():
    """The papers print these models in more than one table."""
    for one, other in (
        ("gfl_1a/atss/joint", "gfl_3/qfl"),
        ("gfl_1a/atss/joint", "gfl_1c/2"),
        ("gfl_2a/atss/general_dfl", "gfl_3/dfl"),
        ("gfl_2b/16", "gfl_3/both"),
        ("gfl_2c/1", "gfl_3/both"),
        ("gflv2_2/k0", "gfl_3/both"),
        ("gflv2_2/k4", "gflv2_1/topk_mean"),
        ("gflv2_4/decomposed", "gflv2_2/k4"),
        ("vfnet_2/gamma_2_alpha_0.75", "vfnet_3/star_refine"),
        ("vfnet_5/vfnet_vfl", "vfnet_3/star_refine"),
    ):
        assert tables.find_row(one).figures == tables.find_row(other).figures, (one, other)
        assert model_of(one) == model_of(other), (one, other)


@pytest.mark.parametrize(
    "config, name, overrides, message",
    [
        ("small", "gfl_3/neither", ("--config.model.score.k=2",), "cannot take gfl_3/neither: .*score.k: the config"),
        ("gfl_r50_fpn_1x", "gfl_3/both", (), "gfl_r50_fpn_1x cannot take gfl_3/both: .* stand behind a colon"),
        ("small", "gflv2_2/k16", ("--config.model.boxes.num_bins=8",), "cannot take gflv2_2/k16: .*k = 16 is larger"),
    ],
)
def test_what_a_base_cannot_take(config, name, overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        model_of(name, config, overrides)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "config, overrides, message",
    [
        ("small:gflv2", [], "small:gflv2: the rows say which detector. Leave it out, as --config=small, or "),
        ("small", ["--config.seed=3"], "config.seed is decided by --seeds"),
        ("small", ["--config.name", "--config.train.epochs=3"], "config.name is decided by the rows"),
    ],
)
def test_what_the_ablation_decides(config, overrides, message):
    base.check("small:DETECTOR/resnet18", ["--config.train.epochs=3"])
    with pytest.raises(ValueError, match=message):
        base.check(config, overrides)


def test_changes_of_a_part():
    """With another name it is another part, with the same or none fields of the same."""
    row = tables.Row("gfl", dict(boxes=dict(name="dirac"), score=dict(k=2), box_weight=3.0), {})
    model = ml_collections.ConfigDict(dict(boxes=dict(name="general", bins=3), score=dict(k=1, p=5), box_weight=1.0))
    row.apply(model)
    assert model.to_dict() == dict(boxes=dict(name="dirac"), score=dict(k=2, p=5), box_weight=3.0)
    boxes = model_of("gfl_2b/12", overrides=("--config.model.boxes.distribution_weight=0.5",))["boxes"]
    assert (boxes["num_bins"], boxes["distribution_weight"]) == (12, 0.5)
