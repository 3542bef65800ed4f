"""Diagrams with matplotlib, as PNG files and as SVG inside a page."""

import collections.abc
import contextlib
import io
import os
import re
import typing

import markupsafe

from gfl_tf import files

if typing.TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that can be told apart on light and on dark paper, by colour-blind readers too (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
# Stands for the page's text colour until a figure is inside a page.
_INK = "#010203"
_STYLE = {
    "figure.constrained_layout.use": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "legend.frameon": False,
    "font.size": 9,
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "svg.hashsalt": "gfl_tf",  # the same figure, the same bytes
}
_PAGE_STYLE = {
    **{name: _INK for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")},
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


Draw = collections.abc.Callable[["Axes"], None]


@contextlib.contextmanager
def _figure(draw, width, height, style):
    """A figure, without any window, into whose axes `draw` has drawn."""
    import matplotlib
    from cycler import cycler
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "axes.prop_cycle": cycler(color=COLOURS), **style}):
        figure = Figure(figsize=(width, height))
        draw(figure.subplots())
        yield figure


def svg(draw: Draw, title: str, width: float = 4.6, height: float = 3.2) -> markupsafe.Markup:
    """A diagram for a page, in the page's colours.

    Args:
        draw: draws into matplotlib's axes.
        title: what screen readers say.
        width, height: in inches.
    """
    file = io.StringIO()
    with _figure(draw, width, height, _PAGE_STYLE) as figure:
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    referenced = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    # Names that nothing refers to would stand in a page several times.
    text = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in referenced else "", text)
    label = f'<svg role="img" aria-label="{markupsafe.escape(title)}" '
    return markupsafe.Markup(text.replace("<svg ", label, 1))


def write_png(path: str | os.PathLike, draw: Draw, width: float = 4.6, height: float = 3.2) -> None:
    """The same diagram, dark on white, as a PNG file, written whole."""
    with _figure(draw, width, height, {}) as figure, files.replacing(path, "wb") as file:
        figure.savefig(file, format="png", dpi=150)
