"""A description as text."""

import math
import textwrap

from gfl_tf import texts
from gfl_tf.description.describe import FLOPS, Description, Part


def render(description: Description) -> str:
    """Tables of parts and levels, and the memory."""
    total, memory = description.total, description.activations
    parts = [["", "parameters", "share", "GFLOPs", "share"]]
    rows = {**description.parts, "all": total}
    parts += [[name, *_costs(part, total)] for name, part in rows.items()]
    places = sum(level.places for level in description.levels)
    levels = [["level", "stride", "points", "places", *(f"sees, {name}" for name in description.levels[0].fields)]]
    for level in description.levels:
        fields = ("any" if math.isinf(field) else f"{field:g}" for field in level.fields.values())
        levels.append([level.name, str(level.stride), f"{level.rows} x {level.columns}", f"{level.places:,}", *fields])
    notes = [
        f"Parameters can be learnt, frozen or not; beside them are {total.statistics:,} moving means and variances.",
        f"FLOPs: {FLOPS[0].lower()}{FLOPS[1:]}",
        f"Activations, {description.precision}: {_mebibytes(memory.total)} MiB in all, the most that training keeps of "
        f"the forward pass; {_mebibytes(memory.peak)} MiB at most at a time in inference, one operation after the "
        "other.",
        f"{places:,} places. What a place sees is the side of a square in pixels, by kernels and strides alone, "
        "without statistics over whole maps; any: a deformable convolution looks where its input says.",
    ]
    blocks = [
        f"{description.name}, one image of {description.height} x {description.width} pixels (height x width)",
        "\n".join(texts.columns(parts)),
        "\n".join(texts.columns(levels)),
        "\n".join(textwrap.fill(note, 100) for note in notes),
    ]
    return "\n\n".join(blocks)


def _costs(part: Part, total: Part):
    return [
        f"{part.parameters:,}",
        _share(part.parameters, total.parameters),
        f"{part.flops / 1e9:,.3f}",
        _share(part.flops, total.flops),
    ]


def _share(value, total):
    percent = 100 * value / total if total else 0.0
    return f"{percent:.1f}%" if percent >= 0.1 or not value else f"{percent:.2g}%"


def _mebibytes(count):
    return f"{count / 2**20:,.1f}"
