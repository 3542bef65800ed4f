"""The report of a check as text and as JSON."""

import dataclasses
import typing

from gfl_tf import texts
from gfl_tf.dataset_check.check import Report, overview
from gfl_tf.dataset_check.findings import ERROR, Finding
from gfl_tf.dataset_check.histograms import Histogram
from gfl_tf.dataset_check.targets import MAX_IMAGES, PERCENTILES, Targets

MOST_EXAMPLES = 3
MOST_BARS = 20
BAR = 40


def render(report: Report) -> str:
    """The report as lines of text."""
    blocks = [sources(report), "\n".join(texts.columns(overview_rows(report)))]
    blocks += [_finding(each) for each in report.findings]
    blocks += [_histogram(each) for each in report.histograms]
    if report.targets:
        blocks.append("\n".join([targets_title(report), *texts.columns(target_rows(report.targets))]))
    blocks += ["\n".join(["Suggestions", *(f"  {line}" for line in report.suggestions)])] if report.suggestions else []
    return "\n\n".join([*filter(None, blocks), verdict(report)])


def sources(report: Report) -> str:
    """Where each split lies."""
    return "\n".join(f"{split.name}: {split.dataset.report.source}" for split in report.splits)


def overview_rows(report: Report) -> list[tuple]:
    """The numbers of each split, all as text; a header comes first."""
    header = ("", *(split.name for split in report.splits))
    return [header, *((what, *map(str, numbers)) for what, numbers in overview(report.splits))]


def heading(found: Finding) -> str:
    """One line on a finding."""
    where = f" in {found.split}" if found.split else ""
    return f"{found.severity.upper()}{where}, {found.kind}: {found.title}: {found.count}"


def _finding(found):
    lines = [f"  {example.text}" for example in found.examples[:MOST_EXAMPLES]]
    rest = found.count - len(lines)
    return "\n".join([heading(found), *lines, *([f"  and {rest} more"] if rest else []), f"  -> {found.remedy}"])


def _histogram(histogram: Histogram):
    bars = histogram.bars[:MOST_BARS]
    most = max((count for _, count in bars), default=0)
    rows = [(label, str(count), "#" * -(-BAR * count // max(most, 1))) for label, count in bars]
    rest = len(histogram.bars) - len(bars)
    more = [f"  and {rest} more, of at most {histogram.bars[MOST_BARS][1]} boxes each"] if rest else []
    return "\n".join([f"{histogram.split}, {histogram.title}", *texts.columns(rows, left=(0, 2)), *more])


def targets_title(report: Report) -> str:
    """What the table of the targets shows."""
    targets, settings = report.targets, report.settings
    few = f", a sample of {MAX_IMAGES}" if targets.images == MAX_IMAGES else ""
    reach = "" if settings.num_bins is None else f"; the bins reach {settings.reach:g}"
    return (
        f"Distances from positives to the four sides, in strides (GFL, figure 5c): ATSS, {targets.images} images "
        f"with boxes{few}, {targets.boxes} boxes, {targets.unassigned} of them without a positive{reach}"
    )


def target_rows(targets: Targets) -> list[tuple]:
    """The table of the targets, all as text."""
    header = ("level", "stride", "positives", *(f"{p}%" if p < 100 else "most" for p in PERCENTILES), "beyond")
    rows = [
        (
            level.name,
            str(level.stride or ""),
            str(level.positives),
            *([f"{value:.1f}" for value in level.percentiles] or ["-"] * len(PERCENTILES)),
            f"{level.beyond:.1%}",
        )
        for level in targets.levels
    ]
    return [header, *rows]


def verdict(report: Report) -> str:
    """The last line."""
    errors = sum(each.severity == ERROR for each in report.findings)
    return f"Errors: {errors}. Remarks: {len(report.findings) - errors}."


def content(report: Report) -> dict[str, typing.Any]:
    """The report as a dict of what JSON has, with all examples."""
    return {
        "exit_code": report.exit_code,
        "settings": dataclasses.asdict(report.settings),
        "splits": {
            split.name: {
                "source": split.dataset.report.source,
                "class_names": list(split.dataset.class_names),
                **{what.replace(" ", "_"): numbers[0] for what, numbers in overview([split])},
            }
            for split in report.splits
        },
        "findings": [
            {
                **{name: getattr(each, name) for name in ("kind", "severity", "split", "count", "title", "remedy")},
                "examples": [example._asdict() for example in each.examples],
            }
            for each in report.findings
        ],
        "histograms": [each._asdict() for each in report.histograms],
        "targets": _targets_content(report.targets),
        "suggestions": report.suggestions,
    }


def _targets_content(targets):
    if targets is None:
        return None
    names = [f"p{each}" for each in PERCENTILES]
    levels = [{**level._asdict(), "percentiles": dict(zip(names, level.percentiles))} for level in targets.levels]
    return {**targets._asdict(), "levels": levels}
