"""The items of the benchmark: the one table of their names.

An item is a module of this folder with `measure(bench: Bench) -> Result`. It is imported when it is measured: the
command knows the names before TensorFlow comes.
"""

import importlib
import typing

# {name, that of the module: what it shows}
ITEMS = {
    "limit": "The machine: a 3x3 convolution, a matrix product and a copy",
    "forward": "Forward pass: FLOPs a second, and the share of the machine's 3x3 convolution",
    "pairs": "Detectors side by side: forward pass and training step",
    "predict": "Prediction: from images and from JPEGs to detections, over the forward pass",
    "step": "Training step over three forward passes, losses and memory",
    "peers": "Other detectors and runtimes on the same images",
    "int8": "Convolutions in integers",
    "inputs": "Input pipeline over decoding and resizing alone",
    "scoring": "COCO evaluation over pycocotools alone",
    "start_up": "Start-up: commands, imports, tracing and the first step",
    "served": "Served: batches over single images, and the tail of latency",
    "growth": "Growth of time and memory",
    "paper": "On paper: this machine as measured, 8 GPUs and 64",
    "accuracy": "AP of what was timed",
}


def chosen(names: list[str]) -> list[str]:
    """The items of these names in the table's order; of none all.

    Raises:
        ValueError: one is no item.
    """
    unknown = [name for name in names if name not in ITEMS]
    if unknown:
        raise ValueError(f"--only has {unknown[0]!r}; choose among {', '.join(ITEMS)}")
    return [name for name in ITEMS if name in names or not names]


def measure(name: str, bench: typing.Any) -> typing.Any:
    """The `Result` of an item, with a `Bench`."""
    return importlib.import_module(f"gfl_tf.benchmark.{name}").measure(bench)
