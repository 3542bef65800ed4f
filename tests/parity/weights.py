"""Weights that depend on their names alone: the same ones in the reference's models and in ours, without a file.

The convention is that of the reference values beside the checkout (../shared/reference/README.md), so that one set of
weights serves these and the extracts in data/. NumPy only: the reference's environment has no TensorFlow.
"""

import re
import zlib

import numpy as np

# Factor on the He-normal standard deviation of a convolution, by the end of its name. Chosen so that scores, distances
# and qualities spread over their ranges, and deformable offsets stay around a cell.
GAINS = {
    "conv_offset.weight": 0.1,
    "bbox_head.gfl_cls.weight": 2.0,
    "bbox_head.gfl_reg.weight": 1.5,
    "bbox_head.reg_conf.0.weight": 4.0,
    "bbox_head.reg_conf.2.weight": 3.0,
    "bbox_head.vfnet_cls.weight": 2.0,
    "bbox_head.vfnet_reg.weight": 0.3,
    "bbox_head.vfnet_reg_refine.weight": 0.2,
    "bbox_head.atss_cls.weight": 2.0,
    "bbox_head.conv_cls.weight": 2.0,
    "bbox_head.conv_reg.weight": 1.0,
    "bbox_head.retina_cls.weight": 0.1,
    "bbox_head.retina_reg.weight": 0.02,
}
# Added to a bias.
SHIFTS = {
    "bbox_head.gfl_cls.bias": -4.0,
    "bbox_head.vfnet_cls.bias": -4.0,
    "bbox_head.atss_cls.bias": -4.0,
    "bbox_head.conv_cls.bias": -4.0,
    "bbox_head.conv_reg.bias": 2.5,
    "bbox_head.retina_cls.bias": -4.0,
    "bbox_head.vfnet_reg.bias": -0.7,
    "bbox_head.reg_conf.2.bias": 2.5,
}
LAST_NORM_OF_BLOCK = re.compile(r"backbone\.layer\d+\.\d+\.bn3\.weight$")


def weight(name, shape):
    """The array of mmdetection's state_dict entry `name`, in torch's layout (output, input, height, width)."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    shape = tuple(int(size) for size in shape)
    kind = name.rsplit(".", 1)[-1]
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if kind == "project":  # the bins 0..n of GFL's integral
        return np.arange(shape[0], dtype=np.float32)
    if kind == "running_var":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    normal = np.asarray(rng.standard_normal(shape))
    if kind == "running_mean":
        value = 0.1 * normal
    elif kind == "scale" or (kind == "weight" and len(shape) == 1):
        value = 1.0 + 0.1 * normal
        if LAST_NORM_OF_BLOCK.search(name):
            value = 0.2 * value  # residual branches stay small, or a hundred layers of them blow up
    elif kind == "weight":
        value = normal * _of(GAINS, name, 1.0) * np.sqrt(2.0 / np.prod(shape[1:]))
    elif kind == "bias":
        value = 0.1 * normal + _of(SHIFTS, name, 0.0)
        if name.endswith("bbox_head.gfl_reg.bias"):
            value = value - 0.2 * (np.arange(shape[0]) % (shape[0] // 4))  # towards short distances
    else:
        raise ValueError(f"no rule for the values of {name!r}")
    return np.asarray(value, np.float32)


def _of(table, name, default):
    return next((value for end, value in table.items() if name.endswith(end)), default)
