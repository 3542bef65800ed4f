"""Which detectors are timed, by the name of a suite. Without TensorFlow: the command reads it before that comes."""

import typing

Size = tuple[int, int]  # height, width in pixels
MULTIPLE = 32  # of which sides are: others would be padded, and FLOPs spent on nothing


class Suite(typing.NamedTuple):
    """Configs, by their names.

    Attributes:
        detectors: {config: least share of the machine's limit that its forward pass should reach; None: open}.
        pairs: (config, another one, most that the first should take of the time of the second; None: open).
        deformable: a config whose tracing is timed beside that of the detectors.
        sizes: of the images.
    """

    detectors: dict[str, float | None]
    pairs: tuple[tuple[str, str, float | None], ...]
    deformable: str
    sizes: tuple[Size, ...]


SUITES = {
    "small": Suite(
        detectors={"gflv2_shapes": None},
        pairs=(
            ("gflv2_shapes", "gflv2_shapes:gfl", None),
            ("gflv2_shapes:vfnet", "gflv2_shapes:atss", None),
        ),
        deformable="gflv2_shapes:vfnet",
        sizes=((128, 160), (640, 640)),
    ),
    "large": Suite(
        detectors={"gfl_r50_fpn_1x": 0.92, "gflv2_r50_fpn_1x": 0.92, "vfnet_r50_fpn_1x": 0.85},
        pairs=(
            ("gflv2_r50_fpn_1x", "gfl_r50_fpn_1x", 1.01),
            ("vfnet_r101_fpn_1x", "atss_r101_fpn_1x", 1.12),
        ),
        deformable="vfnet_r50_fpn_mdconv_c3-c5_ms2x",
        sizes=((800, 1344), (640, 640)),
    ),
}
