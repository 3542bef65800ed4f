"""The report of a check as one HTML page: no script, no other file."""

import html

from gfl_tf.dataset_check import text
from gfl_tf.dataset_check.check import Report
from gfl_tf.visualization import pictures

MOST_PICTURES = 12  # of a finding
MOST_LINES = 100

STYLE = """
:root { color-scheme: light dark; --faint: #8884; --bar: #4a86c5; --error: #c62828; --remark: #8a6d00; }
@media (prefers-color-scheme: dark) { :root { --error: #ff7b72; --remark: #e3b341; } }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid var(--faint); }
td:first-child, th:first-child { text-align: left; }
h3 { margin-bottom: .2rem; } .error { color: var(--error); } .remark { color: var(--remark); }
figure { display: inline-block; vertical-align: top; margin: .3rem; max-width: 31rem; }
figure img { max-width: 15rem; border-radius: 4px; }
figcaption { font-size: .75rem; overflow-wrap: anywhere; max-width: 30rem; }
.histogram td:last-child { width: 20rem; } .bar { background: var(--bar); height: .8rem; }
""".strip()


def render(report: Report) -> str:
    """The page."""
    turned = {record.path for split in report.splits for record in split.dataset.images if record.orientation != 1}
    body = [
        "<h1>Data set check</h1>",
        f"<p>{_lines(text.sources(report))}</p>",
        _table(text.overview_rows(report)),
        f"<p>{html.escape(text.verdict(report))}</p>",
        *(f"<p><b>Suggestion</b>: {html.escape(line)}</p>" for line in report.suggestions),
        *(_finding(each, turned) for each in report.findings),
    ]
    if report.targets:
        body += ["<h2>Regression targets</h2>", f"<p>{html.escape(text.targets_title(report))}</p>"]
        body.append(_table(text.target_rows(report.targets)))
    body += ["<h2>Histograms</h2>", *map(_histogram, report.histograms)]
    head = f'<meta charset="utf-8"><title>Data set check</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _finding(found, turned):
    shown, listed = [], []
    for example in found.examples:
        figure = _figure(example, turned) if len(shown) < MOST_PICTURES else None
        if figure:
            shown.append(figure)
        elif len(listed) < MOST_LINES:
            listed.append(f"<li>{html.escape(example.text)}</li>")
    rest = found.count - len(shown) - len(listed)
    more = [f"<p>and {rest} more, in report.json</p>"] if rest else []
    lines = [f"<details><summary>{len(listed)} without a picture</summary><ul>", *listed, "</ul></details>"]
    heading = f'<h3 class="{found.severity}">{html.escape(text.heading(found))}</h3>'
    return "\n".join([heading, f"<p>{html.escape(found.remedy)}</p>", *shown, *(lines if listed else []), *more])


def _figure(example, turned):
    """An example's picture, or pictures; None where there are none."""
    found = [
        pictures.data_uri(path, [(box, pictures.COLOUR)] if box else (), path in turned)
        for path, box in ((example.image, example.box), (example.other, ()))
        if path
    ]
    found = [f'<img src="{uri}" alt="">' for uri in found if uri]
    if not found:
        return None
    return f"<figure>{''.join(found)}<figcaption>{html.escape(example.text)}</figcaption></figure>"


def _histogram(histogram):
    most = max((count for _, count in histogram.bars), default=1)
    rows = [
        f"<tr><td>{html.escape(label)}</td><td>{count}</td>"
        f'<td><div class="bar" style="width: {100 * count / max(most, 1):.1f}%"></div></td></tr>'
        for label, count in histogram.bars
    ]
    title = html.escape(f"{histogram.split}, {histogram.title}")
    return "\n".join([f'<h3>{title}</h3><table class="histogram">', *rows, "</table>"])


def _table(rows):
    header, *rest = rows
    lines = [_row(header, "th"), *(_row(row, "td") for row in rest)]
    return "\n".join(["<table>", *lines, "</table>"])


def _row(cells, tag):
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _lines(lines):
    return html.escape(lines).replace("\n", "<br>")
