"""The report of a check as one HTML page: no script, no other file."""

from gfl_tf.dataset_check import text
from gfl_tf.dataset_check.check import Report
from gfl_tf.visualization import pages, pictures

MOST_PICTURES = 12  # of a finding
MOST_LINES = 100


def render(report: Report) -> str:
    """The page."""
    turned = {record.path for split in report.splits for record in split.dataset.images if record.orientation != 1}
    return pages.render(
        "dataset_check.html",
        title="Data set check",
        sources=text.sources(report).splitlines(),
        overview=text.overview_rows(report),
        verdict=text.verdict(report),
        suggestions=report.suggestions,
        findings=[_finding(each, turned) for each in report.findings],
        targets_title=text.targets_title(report) if report.targets else "",
        targets=text.target_rows(report.targets) if report.targets else [],
        histograms=report.histograms,
    )


def _finding(found, turned):
    shown, listed = [], []
    for example in found.examples:
        uris = _uris(example, turned) if len(shown) < MOST_PICTURES else []
        if uris:
            shown.append((uris, example.text))
        elif len(listed) < MOST_LINES:
            listed.append(example.text)
    return {
        "severity": found.severity,
        "heading": text.heading(found),
        "remedy": found.remedy,
        "shown": shown,
        "listed": listed,
        "rest": found.count - len(shown) - len(listed),
    }


def _uris(example, turned):
    """Of an example's picture, or pictures; [] where there are none."""
    both = ((example.image, example.box), (example.other, ()))
    found = [
        pictures.data_uri(path, [(box, pictures.COLOUR)] if box else (), path in turned) for path, box in both if path
    ]
    return [uri for uri in found if uri]
