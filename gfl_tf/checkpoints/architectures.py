"""Which architecture weights are of, as far as the names of their tensors tell."""

import collections.abc
import re

# Blocks of the third stage, and whether they are bottlenecks: layers.
_RESNETS = {(2, False): 18, (6, False): 34, (6, True): 50, (23, True): 101, (36, True): 152}
# (what a name has, in a file of PyTorch or of gfl_tf; what that shows); the first that is met counts.
_BACKBONES = (
    (r"\bv2_stack_\d", "KerasCV's ResNet"),
    (r"_c2f_", "KerasCV's YOLOv8 backbone"),
    (r"\bdark\d_csp", "KerasCV's CSPDarkNet"),
    (r"\bmodel\.\d+\.", "a YOLO of Ultralytics"),
    (r"\bpatch_embed\b", "a vision transformer"),
    (r"\bfeatures\.\d+\.", "a VGG, MobileNet or the like of torchvision"),
)
_HEADS = (
    (r"^bbox_head\.reg_conf\.|^head/dgqp", "the head of GFLv2"),
    (r"^bbox_head\.gfl_", "the head of GFL"),
    (r"^bbox_head\.atss_", "the head of ATSS"),
    (r"^bbox_head\.vfnet_|^head/refinement", "the head of VarifocalNet"),
    (r"^bbox_head\.retina_", "the head of RetinaNet"),
    (
        r"^bbox_head\.cls_convs\.0\.conv\.bias\b[\s\S]*^bbox_head\.conv_centerness",
        "the head of FCOS (center-normbbox-centeronreg-giou)",
    ),
    (r"^bbox_head\.conv_centerness", "the head of FCOS"),
    (r"\b(roi_head|rpn_head|roi_heads)\.", "the heads of a two-stage detector, such as Faster R-CNN"),
    (r"\b(class_embed|query_embed|query_embedding)\.", "the heads of a transformer detector, such as DETR"),
    (r"^head/", "a head of gfl_tf"),
    (r"\bfc\.weight$", "a classifier, as of ImageNet"),
)


def describe(names: collections.abc.Iterable[str]) -> str:
    """What tensors of these names belong to, in words: backbone and head where they are known, and one of the names."""
    names = list(names)
    text = "\n".join(names)
    shown = (_resnet(text) or _shown(_BACKBONES, text), head(names))
    known = " with ".join(filter(None, shown)) or "an unknown kind of model"
    return f"{known} ({names[0]!r}, ...)" if names else "a file without tensors"


def head(names: collections.abc.Iterable[str]) -> str:
    """Which head is among tensors of these names, "" where it is none that is known."""
    return _shown(_HEADS, "\n".join(names))


def _shown(table, text):
    return next((what for pattern, what in table if re.search(pattern, text, re.MULTILINE)), "")


def _resnet(text):
    blocks = set(re.findall(r"\blayer3[._](\d+)[._]", text))
    if re.search(r"\blayer1[._]0[._]convs[._]", text):
        return f"Res2Net-{_RESNETS.get((len(blocks), True), '?')}"
    depth = _RESNETS.get((len(blocks), bool(re.search(r"\blayer3[._]0[._]conv3[./]", text))))
    return f"ResNet-{depth}" if depth else ""
