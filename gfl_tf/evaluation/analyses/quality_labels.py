"""What a quality output would have to learn: IoU beside centerness (GFL, section 5 and figure 9)."""

import numpy as np

NUM_BINS = 20
LOW = 0.4  # "most of IoU labels is larger than 0.4 yet centerness labels tend to be much smaller"


def measure(iou: np.ndarray, centerness: np.ndarray) -> dict:
    """Two labels in 0..1 of K positives.

    Returns a dict: "positives": K; of each label the median and the share below `LOW`; "bins": {"from", "iou",
    "centerness": how many}.
    """
    labels = {"iou": iou, "centerness": centerness}
    edges = np.linspace(0, 1, NUM_BINS + 1)
    counts = {name: np.histogram(values, edges)[0] for name, values in labels.items()}
    return {
        "positives": len(iou),
        **{f"median_{name}": float(np.median(values)) for name, values in labels.items()},
        **{f"{name}_below_{LOW}": float(np.mean(values < LOW)) for name, values in labels.items()},
        "bins": [
            {"from": round(float(edges[index]), 2), **{name: int(of[index]) for name, of in counts.items()}}
            for index in range(NUM_BINS)
        ],
    }
