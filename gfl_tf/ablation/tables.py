"""The papers' ablation tables: each row a detector and what is changed of it, with the figures that the paper prints.

The figures are AP, AP50 and AP75 in percent, of ResNet-50 and 12 epochs on COCO: minival of the GFL papers, val2017 of
VarifocalNet. Detectors that gfl_tf does not have (FoveaBox, SSD, RepPoints) are left out.
"""

import collections.abc
import dataclasses
import typing

import ml_collections

METRICS = ("AP", "AP50", "AP75")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        detector: the one that it starts from, of `gfl_tf.build.RECIPES`.
        changes: of fields of `config.model`, see `apply`.
        figures: {metric: percent}, as printed.
    """

    detector: str
    changes: dict[str, typing.Any]
    figures: dict[str, float]

    def apply(self, model: ml_collections.ConfigDict) -> None:
        """Makes the changes in `config.model` of its detector: a part of another name is another part, others are
        changed field by field."""
        for field, value in self.changes.items():
            if isinstance(value, dict) and value.get("name", model[field].get("name")) == model[field].get("name"):
                model[field].update(value)
            else:
                model[field] = value


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows that can be compared with each other.

    Attributes:
        rows: their names.
        reference: the one that the others' differences are from.
    """

    rows: tuple[str, ...]
    reference: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a paper.

    Attributes:
        source: paper and number.
        title: what is varied.
        rows: {name: `Row`}, in the paper's order.
        groups: of the rows' names.
    """

    source: str
    title: str
    rows: dict[str, Row]
    groups: tuple[Group, ...]


def find(table: str) -> Table:
    """The table of `TABLES`; ValueError: there is no such one."""
    if table not in TABLES:
        raise ValueError(f"there is no table {table!r}; choose one of {', '.join(TABLES)}")
    return TABLES[table]


def chosen(table: str, rows: collections.abc.Collection[str]) -> tuple[str, ...]:
    """Some rows of a table, in its order; without any, all. ValueError: there is no such table or row."""
    known = find(table).rows
    for row in rows:
        if row not in known:
            raise ValueError(f"{table} has no row {row!r}; choose of {', '.join(known)}")
    return tuple(row for row in known if not rows or row in rows)


def find_row(name: str) -> Row:
    """The row of "TABLE/ROW"; ValueError: there is no such table or row."""
    table, _, row = name.partition("/")
    chosen(table, [row])
    return TABLES[table].rows[row]


_FOCAL, _QFL, _VFL = (dict(name=name) for name in ("focal", "quality_focal", "varifocal"))
_PLAIN = dict(name="joint", quality_targets=False, weight_boxes_by="none")  # the score is that of the class alone
_JOINT = dict(name="joint")
_JOINT_TARGETS = dict(name="joint", weight_boxes_by="none")
_GENERAL = dict(name="general")
_WITH_QFL = dict(score=_JOINT, classification_loss=_QFL)
_WITH_GFLV2 = dict(boxes=_GENERAL, score=dict(name="dgqp"), classification_loss=_QFL, box_weight=2.0)
# VarifocalNet, section 5.4, replaces the loss alone: ATSS keeps its centerness branch beside IoU targets.
_SOFT_BRANCH = dict(name="branch", quality_targets=True)
# Trained on hard labels. Places outside an image then take no part, as in VarifocalNet's code.
_HARD = dict(
    score=dict(name="joint", quality_targets=False, weight_boxes_by="iou"),
    classification_loss=_FOCAL,
    assigner=dict(name="atss"),
)


def _row(detector, changes, *figures):
    return Row(detector, changes, dict(zip(METRICS, figures)))


def _table(source, title, rows, reference):
    return Table(source, title, rows, (Group(tuple(rows), reference),))


def _by_base(source, title, changes, figures, reference):
    """The same {kind: changes} in several detectors, with {base: figures of each kind}; rows are BASE/KIND."""
    rows = {
        f"{base}/{kind}": _row(base, changes[kind], *printed)
        for base, of_base in figures.items()
        for kind, printed in zip(changes, of_base, strict=True)
    }
    groups = (Group(tuple(f"{base}/{kind}" for kind in changes), f"{base}/{reference}") for base in figures)
    return Table(source, title, rows, tuple(groups))


def _gfl_1a():
    changes = {
        "no_quality": dict(score=_PLAIN),
        "centerness_branch": {},
        "iou_branch": dict(score=dict(name="branch", quality="iou")),
        "centerness_guided": dict(score={**_PLAIN, "guided": "centerness"}),
        "iou_guided": dict(score={**_PLAIN, "guided": "iou"}),
        "joint": _WITH_QFL,
    }
    fcos = [(37.8, 56.2, 40.8), (38.5, 56.8, 41.6), (38.7, 56.7, 42.0), (37.9, 56.7, 40.7), (38.2, 57.0, 41.1)]
    atss = [(38.0, 56.5, 40.7), (39.2, 57.4, 42.2), (39.6, 57.6, 43.0), (38.2, 56.2, 41.0), (38.9, 57.4, 41.8)]
    figures = {"fcos": [*fcos, (39.0, 57.8, 41.9)], "atss": [*atss, (39.9, 58.5, 43.0)]}
    return _by_base("GFL, table 1(a)", "How the quality of a box is represented", changes, figures, "no_quality")


def _gfl_1c():
    figures = {0.0: (37.6, 55.4, 40.3), 1.0: (39.0, 58.1, 41.7), 2.0: (39.9, 58.5, 43.0), 2.5: (39.7, 58.1, 42.7)}
    figures[4.0] = 38.2, 55.4, 41.6
    rows = {
        f"{beta:g}": _row("atss", dict(score=_JOINT, classification_loss={**_QFL, "beta": beta}), *printed)
        for beta, printed in figures.items()
    }
    return _table("GFL, table 1(c)", "beta of Quality Focal Loss", rows, "2")


def _gfl_2a():
    changes = {
        "dirac": {},
        "gaussian": dict(boxes=dict(name="gaussian")),
        "general": dict(boxes=dict(name="general", distribution_weight=0.0)),
        "general_dfl": dict(boxes=_GENERAL),
    }
    figures = {
        "fcos": [(38.5, 56.8, 41.6), (38.6, 56.5, 41.6), (38.8, 56.6, 42.0), (39.0, 57.0, 42.3)],
        "atss": [(39.2, 57.4, 42.2), (39.3, 57.0, 42.4), (39.3, 57.1, 42.5), (39.5, 57.3, 42.8)],
    }
    return _by_base("GFL, table 2(a)", "How a side of a box is represented", changes, figures, "dirac")


def _gfl_2b():
    figures = {12: (40.1, 58.4, 43.1), 14: (40.2, 58.3, 43.6), 16: (40.2, 58.6, 43.4), 18: (40.1, 58.1, 43.1)}
    rows = {f"{n}": _row("gfl", dict(boxes=dict(name="general", num_bins=n)), *figures[n]) for n in figures}
    return _table("GFL, table 2(b)", "n, the number of bins but one", rows, "16")


def _gfl_2c():
    figures = {0.5: (40.2, 58.4, 43.0), 1.0: (40.2, 58.6, 43.4), 2.0: (39.9, 58.3, 42.9), 4.0: (39.8, 58.5, 42.8)}
    rows = {}
    for width, printed in figures.items():  # up to 16 strides in all
        boxes = dict(name="general", num_bins=int(16 / width), bin_width=width)
        rows[f"{width:g}"] = _row("gfl", dict(boxes=boxes), *printed)
    return _table("GFL, table 2(c)", "The width of a bin, in strides", rows, "1")


def _gflv2_1():
    figures = {
        ("topk",): (40.8, 58.5, 44.2),
        ("mean",): (40.2, 58.5, 43.6),
        ("variance",): (40.3, 58.3, 43.7),
        ("topk", "mean"): (41.1, 58.8, 44.9),
        ("topk", "variance"): (40.9, 58.5, 44.7),
        ("topk", "mean", "variance"): (40.9, 58.4, 44.7),
    }
    rows = {
        "_".join(statistics): _row("gflv2", dict(score=dict(statistics=statistics)), *printed)
        for statistics, printed in figures.items()
    }
    return _table("GFLv2, table 1", "What the DGQP knows of a distribution", rows, "topk_mean")


def _gflv2_2():
    of_k = {1: (40.2, 58.3, 44.0), 2: (40.9, 58.5, 44.6), 3: (40.9, 58.5, 44.6), 4: (41.1, 58.8, 44.9)}
    of_k |= {8: (41.0, 58.6, 44.5), 16: (40.8, 58.5, 44.4)}
    of_p = {8: (40.9, 58.4, 44.5), 16: (40.8, 58.3, 44.1), 32: (40.9, 58.7, 44.3)}
    of_p |= {128: (40.9, 58.3, 44.6), 256: (40.7, 58.3, 44.4)}
    rows = {"k0": _row("gfl", {}, 40.2, 58.6, 43.4)}  # the paper's name for GFL
    rows |= {f"k{k}": _row("gflv2", dict(score=dict(k=k)), *printed) for k, printed in of_k.items()}
    rows |= {f"p{p}": _row("gflv2", dict(score=dict(hidden=p)), *printed) for p, printed in of_p.items()}
    by_k, by_p = (tuple(name for name in rows if name.startswith(letter)) for letter in "kp")
    groups = (Group(by_k, "k4"), Group(("k4", *by_p), "k4"))  # k4 is p = 64, too
    return Table("GFLv2, table 2", "k and the hidden width p of the DGQP (p = 64, k = 4)", rows, groups)


def _gflv2_4():
    figures = {16: (40.5, 58.5, 43.7), 32: (40.5, 58.5, 43.7), 64: (40.7, 58.5, 44.3), 128: (40.7, 58.6, 44.4)}
    figures[256] = 40.7, 58.3, 44.2
    rows = {"gflv1": _row("gfl", {}, 40.2, 58.6, 43.4)}
    rows |= {
        f"composed_{d}": _row("gflv2", dict(score=dict(composed_channels=d)), *printed)
        for d, printed in figures.items()
    }
    rows["decomposed"] = _row("gflv2", {}, 41.1, 58.8, 44.9)
    return _table("GFLv2, table 4", "J = C x I, or the statistics joined to the class features", rows, "decomposed")


def _gflv2_5():
    figures = {
        "retinanet": [(36.5, 55.5, 38.7), (38.6, 56.2, 41.7)],
        "fcos": [(38.5, 56.9, 41.4), (40.6, 58.2, 43.9)],
        "atss": [(39.2, 57.4, 42.2), (41.1, 58.8, 44.9)],
    }
    rows, groups = {}, []
    for base, (without, with_gflv2) in figures.items():
        rows[base] = _row(base, {}, *without)
        rows[f"{base}_gflv2"] = _row(base, _WITH_GFLV2, *with_gflv2)
        groups.append(Group((base, f"{base}_gflv2"), base))
    return Table("GFLv2, table 5", "GFLv2 in other detectors", rows, tuple(groups))


def _vfnet_2():
    figures = {
        (1.0, 0.5, True): (41.2, 59.2, 44.7),
        (1.5, 0.75, True): (41.5, 59.7, 45.1),
        (2.0, 0.75, True): (41.6, 59.5, 45.0),
        (2.0, 0.75, False): (41.2, 59.1, 44.4),
        (2.5, 1.25, True): (41.5, 59.4, 45.2),
        (3.0, 1.0, True): (41.3, 59.0, 44.7),
    }
    rows = {}
    for (gamma, alpha, weighted), printed in figures.items():
        loss = {**_VFL, "gamma": gamma, "alpha": alpha, "iou_weighted": weighted}
        name = f"gamma_{gamma:g}_alpha_{alpha:g}{'' if weighted else '_unweighted'}"
        rows[name] = _row("vfnet", dict(classification_loss=loss), *printed)
    return _table("VarifocalNet, table 2", "alpha, gamma and weights of Varifocal Loss", rows, "gamma_2_alpha_0.75")


def _vfnet_3():
    raw = dict(star=False, refine=False)
    like_vfnet = dict(assigner=dict(name="atss"), grid=dict(offset=0.0), box_weight=2.0)
    rows = {
        "focal": _row("vfnet", dict(head=raw, **_HARD), 39.0, 57.7, 41.8),
        "vfl": _row("vfnet", dict(head=raw), 40.1, 58.5, 43.4),
        "star": _row("vfnet", dict(head=dict(refine=False)), 40.7, 59.0, 44.0),
        "star_refine": _row("vfnet", {}, 41.6, 59.5, 45.0),
        "fcos_atss": _row("fcos", like_vfnet, 39.2, 57.3),  # AP75 is illegible in the text that we have
    }
    return _table("VarifocalNet, table 3", "The parts of VarifocalNet", rows, "focal")


def _vfnet_5():
    figures = {
        "retinanet": [(36.5, 55.5, 38.8), (37.3, 56.4, 40.0), (37.4, 56.5, 40.2)],
        "atss": [(39.3, 57.5, 42.5), (39.8, 57.7, 43.2), (40.2, 58.2, 44.0)],
        "vfnet": [(40.0, 58.0, 43.2), (41.1, 58.9, 42.2), (41.6, 59.5, 45.0)],
    }
    soft = {"retinanet": dict(score=_JOINT_TARGETS), "atss": dict(score=_SOFT_BRANCH), "vfnet": {}}
    hard = {"retinanet": {}, "atss": {}, "vfnet": _HARD}
    # In VarifocalNet's code of this row, places outside an image are negatives.
    of_vfl = {"atss": dict(assigner=dict(ignore_outside=False))}
    rows, groups = {}, []
    for base, (fl, gfl, vfl) in figures.items():
        rows[f"{base}_fl"] = _row(base, hard[base], *fl)
        rows[f"{base}_gfl"] = _row(base, {**soft[base], "classification_loss": _QFL}, *gfl)
        rows[f"{base}_vfl"] = _row(base, {**soft[base], **of_vfl.get(base, {}), "classification_loss": _VFL}, *vfl)
        groups.append(Group(tuple(f"{base}_{loss}" for loss in ("fl", "gfl", "vfl")), f"{base}_fl"))
    return Table("VarifocalNet, table 5", "Focal, quality focal and varifocal loss", rows, tuple(groups))


TABLES = {
    "gfl_1a": _gfl_1a(),
    "gfl_1b": _table(
        "GFL, table 1(b)",
        "Quality Focal Loss in RetinaNet",
        {
            "retinanet": _row("retinanet", {}, 35.6, 55.5, 38.1),
            "retinanet_qfl": _row("retinanet", dict(score=_JOINT_TARGETS, classification_loss=_QFL), 36.4, 56.3, 39.1),
        },
        "retinanet",
    ),
    "gfl_1c": _gfl_1c(),
    "gfl_2a": _gfl_2a(),
    "gfl_2b": _gfl_2b(),
    "gfl_2c": _gfl_2c(),
    "gfl_3": _table(
        "GFL, table 3",
        "Quality and Distribution Focal Loss on ATSS",
        {
            "neither": _row("atss", {}, 39.2, 57.4, 42.2),
            "qfl": _row("atss", _WITH_QFL, 39.9, 58.5, 43.0),
            "dfl": _row("atss", dict(boxes=_GENERAL), 39.5, 57.3, 42.8),
            "both": _row("gfl", {}, 40.2, 58.6, 43.4),
        },
        "neither",
    ),
    "gflv2_1": _gflv2_1(),
    "gflv2_2": _gflv2_2(),
    "gflv2_4": _gflv2_4(),
    "gflv2_5": _gflv2_5(),
    "vfnet_2": _vfnet_2(),
    "vfnet_3": _vfnet_3(),
    "vfnet_5": _vfnet_5(),
}
