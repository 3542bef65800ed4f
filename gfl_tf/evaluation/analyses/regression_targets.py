"""How far the sides of the objects are from their positives (GFL, figure 5c)."""

import numpy as np

PERCENTILES = {"median": 50, "percentile_90": 90, "percentile_99": 99, "largest": 100}


def measure(points_px: np.ndarray, strides: np.ndarray, target_boxes: np.ndarray, reach: float | None = None) -> dict:
    """The four distances from each of K positives to the sides of its object, in strides: what the box branch learns.

    Args:
        points_px, strides, target_boxes: [K, 2], [K], [K, 4], in pixels.
        reach: the largest distance that the detector's distributions can say; None: it has none.

    Returns a dict: "positives": K; the percentiles; "reach" and "beyond_reach", the share of the distances that are
    longer, where there is one; "bins": {"from", "to" and "STRIDE px": how many, for each level}.
    """
    distances = np.concatenate([points_px - target_boxes[:, :2], target_boxes[:, 2:] - points_px], axis=1)
    distances = distances / strides[:, np.newaxis]
    numbers = {"positives": len(strides)}
    numbers.update({name: float(np.percentile(distances, share)) for name, share in PERCENTILES.items()})
    if reach is not None:
        numbers.update(reach=float(reach), beyond_reach=float(np.mean(distances > reach)))
    first, last = int(np.floor(distances.min())), int(np.floor(distances.max()))
    edges = np.arange(first, last + 2)
    levels = {f"{stride:g} px": np.histogram(distances[strides == stride], edges)[0] for stride in np.unique(strides)}
    numbers["bins"] = [
        {"from": int(low), "to": int(low) + 1, **{name: int(counts[index]) for name, counts in levels.items()}}
        for index, low in enumerate(edges[:-1])
    ]
    return numbers
