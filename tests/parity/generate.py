"""Makes data/*.npz: what the reference implementation computes, in small extracts.

    python tests/parity/generate.py                         # every file, half an hour or more on two cores
    python tests/parity/generate.py --models NAME [NAME]    # some
    python tests/parity/generate.py --check REFERENCE       # against the stored values of ../shared/reference

It runs in an environment of its own, which the package and its tests never need: Python 3.11, mmcv 2.1.0 and mmdet
3.3.0. The files were made on two CPU threads with torch 2.15.0; those of FCOS, RetinaNet, ATSS with VFL and students
("ld_") with torch 2.13.0 and, of mmcv's operators, its modulated deformable convolution alone: NMS was done by a plain
loop of the same arithmetic. --check found the values of ../shared/reference, made with 2.13.0, bit for bit. Against a
current torch mmcv is built from its source:

    python -m venv ENV && . ENV/bin/activate
    pip install "setuptools<81" wheel ninja torch numpy opencv-python-headless
    pip download --no-deps --no-binary :all: --no-build-isolation mmcv==2.1.0 && tar xf mmcv-2.1.0.tar.gz
    cd mmcv-2.1.0 && sed -i 's/-std=c++17/-std=c++20/' setup.py     # ten minutes on two cores:
    MMCV_WITH_OPS=1 FORCE_CUDA=0 pip install --no-build-isolation . && pip install mmdet==3.3.0

A file of a detector holds (levels "P3" to "P7", maps as [2, H * W, channels], row-major):
    state/names, state/shapes: the entries of the reference's state_dict ("64,3,7,7");
    out/KIND/LEVEL: every out_step-th position of the raw outputs; out_stats/KIND/LEVEL: mean, standard deviation, sum
        of magnitudes, smallest, largest of the whole map. Kinds: "cls" (logits; of GFLv2 the joint score), "reg", and
        the "ctr" of ATSS and FCOS; of FCOS "reg" are distances, in pixels or (improved) in strides; of VFNet "reg" are
        the initial distances and "reg_refine" the refined ones, in pixels. Of RetinaNet's scores every 7th channel;
    f64_maxabsdiff/KIND: by how much the outputs differ from those in float64, per level;
    loss/CASE/NAME, loss/CASE/total: see inputs.CASES; per level but for VFNet and FCOS, weighted;
    grad/main/names, grad/main/l2: norm of each trainable parameter's gradient of the total;
    grad/main/noise_rel_l2: norm of its difference from the gradient in float64, or of another float32 run (without
        oneDNN) where that is larger, relative: the float32 noise;
    det/RULE/imgN/..., det_stress/RULE/imgN/...: bboxes, scores, labels, stable: whether float64 finds it too, with
        exact outputs and with NOISE: which of two boxes suppresses the other may hang on the last bits of their scores;
        extra: at most so many others are found then (not in all files);
        RULE: v2x (mmdetection 2's and the papers' candidates: points) or v3x (version 3's: pairs of point and class).
A file of a backbone: feat/C2..C5, every feat_step-th position and every third channel, feat_stats.
"""

import argparse
from pathlib import Path

import inputs
import numpy as np
import torch
from mmcv.ops import batched_nms
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from reference_models import (
    BACKBONES,
    DETECTORS,
    KINDS,
    STAGES,
    Probabilities,
    build_backbone,
    build_detector,
    stressed,
)

LEVELS = ("P3", "P4", "P5", "P6", "P7")
OUT_STEP = (97, 37, 13, 7, 3)  # one position in so many, coprime to the widths of the maps
MANY_CHANNELS = 100  # of more, one in seven is kept: of all of RetinaNet's nine anchors and 80 classes in turn
FEAT_STEP = (997, 241, 61, 13)
NOISE = 5e-6  # standard deviation, of a level's range: a few times float32's
NOISY_DRAWS = 8


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", default=[*DETECTORS, *BACKBONES])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("data"))
    parser.add_argument("--check", type=Path)
    arguments = parser.parse_args()
    register_all_modules(init_default_scope=True)
    if arguments.check:
        return check(arguments.check)
    for name in arguments.models:
        if name in BACKBONES:
            values = backbone_values(BACKBONES[name], normalized(inputs.images(), inputs.CANVAS))
        else:
            images = normalized(inputs.images(), inputs.CANVAS, *DETECTORS[name][3:])
            truth = {case: inputs.ground_truth(case) for case in inputs.CASES}
            values = extract(detector_values(DETECTORS[name], images, inputs.IMAGE_SHAPES, truth))
        path = arguments.output / f"{name}.npz"
        np.savez_compressed(path, **values)
        print(path, path.stat().st_size, flush=True)


def normalized(images, canvas, pixels="rgb"):
    """[2, 3, H, W] float32, padded with zeros; `pixels`: one of `inputs.PIXELS`."""
    mean, std, is_bgr = inputs.PIXELS[pixels]
    batch = np.zeros((len(images), *canvas, 3), np.float32)
    for padded, image in zip(batch, images):
        values = (image.astype(np.float32) - np.float32(mean)) / np.float32(std)
        padded[: image.shape[0], : image.shape[1]] = values[..., ::-1] if is_bgr else values
    return torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()


def detector_values(config, images, shapes, truth):
    """All values of a model, not strided yet: a dict of arrays as in the files."""
    model = build_detector(*config)
    meta = [{"img_shape": shape, "pad_shape": tuple(-(-size // 32) * 32 for size in shape)} for shape in shapes]
    state = model.state_dict()
    values = {
        "state/names": np.array(list(state)),
        "state/shapes": np.array([",".join(map(str, value.shape)) for value in state.values()]),
    }
    outputs, losses, gradients, maps = run(model, images, meta, truth, torch.float32)
    outputs64, _, gradients64, maps64 = run(model, images, meta, truth, torch.float64)
    for kind, levels in outputs.items():
        values.update({f"out/{kind}/{level}": array for level, array in zip(LEVELS, levels)})
        values.update({f"out_stats/{kind}/{level}": stats(array) for level, array in zip(LEVELS, levels)})
        values[f"f64_maxabsdiff/{kind}"] = np.array([np.abs(a - b).max() for a, b in zip(levels, outputs64[kind])])
    values.update({f"loss/{key}": value for key, value in losses.items()})
    names = list(gradients)
    with torch.backends.mkldnn.flags(enabled=False):
        other_kernels = run(model, images, meta, truth, torch.float32)[2]
    values["grad/main/names"] = np.array(names)
    values["grad/main/l2"] = np.array([np.linalg.norm(gradients[name].astype(np.float64)) for name in names])
    noise = [[relative_l2(other[name], gradients[name]) for name in names] for other in (gradients64, other_kernels)]
    values["grad/main/noise_rel_l2"] = np.max(noise, axis=0)
    return {**values, **detection_values(model, maps, maps64, meta)}


def detection_values(model, maps, maps64, meta):
    """Detections from raw outputs, and whether those from float64's agree: the keys "det..." of a file."""
    random = torch.Generator().manual_seed(0)
    others = [detect(model, maps64, meta)]
    others += [detect(model, with_noise(maps64, random), meta) for _ in range(NOISY_DRAWS)]
    values = {}
    for key, found in detect(model, maps, meta).items():
        values.update({f"{key}/{field}": array for field, array in found.items()})
        values[f"{key}/stable"] = np.all([stable(found, other[key]) for other in others], axis=0)
        values[f"{key}/extra"] = np.array(max((~stable(other[key], found)).sum() for other in others))
    return values


def with_noise(maps, random):
    def noisy(level):
        values = level.as_subclass(torch.Tensor)
        noise = torch.randn(values.shape, generator=random) * NOISE * (values.max() - values.min())
        return (values + noise).as_subclass(type(level))

    return {kind: [noisy(level) for level in levels] for kind, levels in maps.items()}


def run(model, images, meta, truth, dtype):
    """One forward and backward pass. -> raw outputs, losses, gradients, as NumPy arrays; the maps to detect from.

    `dtype`: of the network. Losses, these maps and VFNet's exponentials are float32 always: mmdetection's code after
    them is not written for another type.
    """
    model.to(dtype)
    model.zero_grad()
    head = model.bbox_head
    maps = head(model.neck(model.backbone(images.to(dtype))))
    kinds = KINDS.get(type(head).__name__, ("cls", "reg"))
    outputs = {kind: [flat(level) for level in levels] for kind, levels in zip(kinds, maps)}
    maps = [[level.float() for level in levels] for levels in maps]
    losses = {}
    for case, images_truth in truth.items():
        instances = [
            InstanceData(bboxes=torch.from_numpy(boxes), labels=torch.from_numpy(labels))
            for boxes, labels in images_truth
        ]
        parts = head.loss_by_feat(*maps, instances, meta)
        # Those of VFNet and FCOS are of all levels together.
        parts = {name: part if isinstance(part, list) else [part] for name, part in parts.items()}
        total = sum(sum(part) for part in parts.values())
        losses[f"{case}/total"] = total.item()
        losses.update({f"{case}/{name}": np.array([v.item() for v in part]) for name, part in parts.items()})
        if case == "main":
            total.backward(retain_graph=True)
    parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    gradients = {name: np.zeros(p.shape) if p.grad is None else p.grad.numpy().copy() for name, p in parameters}
    maps = {kind: [level.detach() for level in levels] for kind, levels in zip(kinds, maps)}
    if "reg_refine" in maps:
        maps = {"cls": maps["cls"], "reg": maps["reg_refine"]}
    if getattr(head, "norm_on_bbox", False):  # in strides, when the head trains
        maps["reg"] = [level * stride for level, stride in zip(maps["reg"], head.strides)]
    outputs = {kind: [level.detach().numpy() for level in levels] for kind, levels in outputs.items()}
    return outputs, losses, gradients, maps


def relative_l2(value, expected):
    return np.linalg.norm(value - expected) / max(np.linalg.norm(expected), 1e-30)


def flat(level):
    """[B, C, H, W] -> [B, H * W, C]."""
    return level.as_subclass(torch.Tensor).flatten(2).transpose(1, 2)


@torch.no_grad()
def detect(model, maps, meta):
    """{"det/v2x/img0": detections of an image}, of all settings, rules and images."""
    found = {}
    for settings, config in (("det", ConfigDict(model.test_cfg)), ("det_stress", stressed(model.test_cfg))):
        for rule, detect_by_rule in (("v3x", detect_3x), ("v2x", detect_2x)):
            for image, arrays in enumerate(detect_by_rule(model.bbox_head, list(maps.values()), meta, config)):
                found[f"{settings}/{rule}/img{image}"] = arrays
    return found


def detect_3x(head, maps, meta, config):
    """mmdetection 3's own selection: the best pairs of point and class of each level."""
    found = head.predict_by_feat(*maps, batch_img_metas=meta, cfg=config, rescale=False)
    return [as_arrays(one.bboxes, one.scores, one.labels) for one in found]


def detect_2x(head, maps, meta, config):
    """Version 2's selection, the papers': the best points of each level, by score, then all their classes.

    ATSS ranks by score times centerness, but holds the score alone against the threshold.
    """
    sizes = [level.shape[-2:] for level in maps[0]]
    priors = head.prior_generator.grid_priors(sizes, device="cpu")
    strides = [stride for stride, _ in head.prior_generator.strides]
    results = []
    for image, one in enumerate(meta):
        boxes, scores, factors = [], [], []
        for level, anchors in enumerate(priors):
            # [places, C] each; a point has several anchors in RetinaNet.
            score, box, *rest = (flat(kind[level])[image].reshape(len(anchors), -1) for kind in maps)
            is_probability = isinstance(maps[0][level], Probabilities)
            score = score if is_probability else score.sigmoid()
            factor = rest[0].sigmoid() if rest else torch.ones_like(score[:, :1])
            if config.nms_pre < len(score):
                keep = (score * factor).amax(dim=1).topk(config.nms_pre).indices
                score, box, factor, anchors = score[keep], box[keep], factor[keep], anchors[keep]
            if hasattr(head, "integral"):  # distances from the anchor's centre
                anchors, box = (anchors[:, :2] + anchors[:, 2:]) / 2, head.integral(box) * strides[level]
            boxes.append(head.bbox_coder.decode(anchors, box, max_shape=one["img_shape"]))
            scores.append(score)
            factors.append(factor)
        boxes, scores, factors = torch.cat(boxes), torch.cat(scores), torch.cat(factors)
        point, label = (scores > config.score_thr).nonzero(as_tuple=True)
        kept, keep = batched_nms(boxes[point], (scores * factors)[point, label], label, config.nms)
        kept, label = kept[: config.max_per_img], label[keep][: config.max_per_img]
        results.append(as_arrays(kept[:, :4], kept[:, 4], label))
    return results


def as_arrays(boxes, scores, labels):
    arrays = {"bboxes": boxes, "scores": scores, "labels": labels}
    return {name: value.as_subclass(torch.Tensor).numpy() for name, value in arrays.items()}


def stable(found, found64):
    """Which detections of the first set are in the second: same class, nearly the same box and score."""
    same = found["labels"][:, None] == found64["labels"]
    near = np.abs(found["bboxes"][:, None] - found64["bboxes"]).max(-1, initial=0) < 0.5
    close = np.abs(found["scores"][:, None] - found64["scores"]) < 1e-3
    return (same & near & close).any(axis=1)


def channel_step(channels):
    return 7 if channels > MANY_CHANNELS else 1


def stats(array):
    array = array.astype(np.float64)
    return np.array([array.mean(), array.std(), np.abs(array).sum(), array.min(), array.max()])


def extract(values):
    """The values as they are stored."""
    result = {"inputs_checksum": np.array(inputs.checksum(inputs.images())), "out_step": np.array(OUT_STEP)}
    for key, value in values.items():
        if key.startswith("out/"):
            value = value[:, :: OUT_STEP[LEVELS.index(key[-2:])], :: channel_step(value.shape[-1])]
        elif key.startswith("det/v3x"):
            continue  # det_stress tells the rules apart
        elif key.endswith("labels"):
            value = value.astype(np.uint8)
        elif key.endswith("noise_rel_l2"):
            value = value.astype(np.float32)
        result[key] = value
    return result


def backbone_values(config, images):
    model = build_backbone(config)
    state = model.state_dict()
    values = {
        "state/names": np.array([f"backbone.{name}" for name in state]),
        "state/shapes": np.array([",".join(map(str, value.shape)) for value in state.values()]),
        "feat_step": np.array(FEAT_STEP),
    }
    with torch.no_grad():
        features = model(images)
        features64 = model.double()(images.double())
    for stage, step, feature, feature64 in zip(STAGES, FEAT_STEP, features, features64):
        array = flat(feature).numpy()
        values[f"feat/{stage}"] = array[:, ::step, ::3]
        values[f"feat_stats/{stage}"] = stats(array)
        values[f"f64_maxabsdiff/{stage}"] = np.abs(array - flat(feature64).numpy()).max()
    return values


def check(folder):
    """Prints how far this script's values are from the stored ones of the four ResNet-50 models."""
    names = {
        "gfl_r50_fpn": "gfl_r50_fpn_1x",
        "gfocal_r50_fpn": "gflv2_r50_fpn_1x",
        "atss_r50_fpn": "atss_r50_fpn_1x",
        "vfnet_r50_fpn": "vfnet_r50_fpn_1x",
    }
    given = np.load(folder / "inputs.npz")
    truth = {case: [] for case in inputs.CASES}
    for case, with_boxes in inputs.CASES.items():
        for image in (0, 1):
            keep = slice(None) if image in with_boxes else slice(0)
            truth[case].append((given[f"gt{image}"][keep], given[f"labels{image}"][keep]))
    images = normalized([given["image0"], given["image1"]], tuple(given["batch_hw"]))
    shapes = [tuple(int(size) for size in shape) for shape in given["img_shapes"]]
    for stored_name, name in names.items():
        stored = np.load(folder / f"{stored_name}.npz")
        values = detector_values(DETECTORS[name], images, shapes, truth)
        print(stored_name, "same state:", list(stored["state/names"]) == list(values["state/names"]))
        for group in ("out/", "out_stats/", "loss/", "grad/main/l2"):
            keys = [key for key in stored if key.startswith(group) and key in values]
            worst = max(deviation(values[key], stored[key]) for key in keys)
            print(f"  {group}: largest difference over largest value {worst:.2g}")
        for key in sorted({key.rsplit("/", 1)[0] for key in stored if key.startswith("det") and "/img" in key}):
            pair = [{f: v[f"{key}/{f}"] for f in ("bboxes", "scores", "labels")} for v in (values, stored)]
            same = all(len(a) == len(b) and deviation(a, b) < 1e-5 for a, b in zip(pair[0].values(), pair[1].values()))
            print(f"  {key}: {len(pair[0]['labels'])} and {len(pair[1]['labels'])} detections, same in order: {same}")
        noise, stored_noise = values["grad/main/noise_rel_l2"], stored["grad/main/noise_rel_l2"]
        print(f"  gradient noise: median {np.median(noise):.2g} (stored {np.median(stored_noise):.2g}),", end=" ")
        print(f"largest {noise.max():.2g} ({stored_noise.max():.2g})")


def deviation(value, expected):
    value, expected = np.asarray(value, np.float64), np.asarray(expected, np.float64)
    return np.abs(value - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-12)


if __name__ == "__main__":
    main()
