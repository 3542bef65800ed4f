"""Parts of a data set that are kept from training."""

import collections.abc
import dataclasses
import hashlib

from gfl_tf.data.coco import CocoDataset


def hold_out(dataset: CocoDataset, shares: collections.abc.Mapping[str, float], seed: int) -> dict[str, CocoDataset]:
    """Draws parts of a data set by image.

    Which images a part has hangs on their ids, the seed and the shares alone: not on the order of the file, nor on
    where the images lie and whether they are bad. A part that is added behind the others leaves these as they are.

    Args:
        dataset: `CocoDataset`.
        shares: {name of the part: its share of all images}; it gets one image at least.
        seed: of the drawing.

    Returns:
        {name: `CocoDataset`} of the parts, and of "train", which is what they leave.

    Raises:
        ValueError: there are too few images that can be used.
    """
    report = dataset.report
    ids = [record.id for record in (*dataset.images, *report.bad_images)]
    ids += [entry["id"] for entry in report.unsized_images]
    # A hash, as a generator's numbers could be others in another version of NumPy.
    ids.sort(key=lambda image_id: hashlib.sha256(f"{seed} {image_id}".encode()).digest())
    parts, end = {}, 0
    for name, share in shares.items():
        start, end = end, end + max(1, round(share * len(ids)))
        parts[name] = _part(dataset, set(ids[start:end]))
    parts["train"] = _part(dataset, set(ids[end:]))
    without = [name for name, part in parts.items() if not part.images]
    if without:
        raise ValueError(
            f"{report.source} has {len(dataset.images)} images to use: too few to hold out some, none is left for "
            f"{', '.join(without)}. Name validation data with --config.data.val_annotations=PATH, or train without an "
            "evaluation: --config.data.val_share=0"
        )
    return parts


def _part(dataset, ids):
    report = dataclasses.replace(
        dataset.report,
        bad_images=[record for record in dataset.report.bad_images if record.id in ids],
        unsized_images=[entry for entry in dataset.report.unsized_images if entry["id"] in ids],
    )
    images = [record for record in dataset.images if record.id in ids]
    return dataclasses.replace(dataset, images=images, report=report)
