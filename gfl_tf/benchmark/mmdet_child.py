"""A detector of mmdetection in a process of its own, which computes when it is asked: see `peers_mmdet`.

It needs no package of ours: its Python may be another one. Of its standard input each line is "forward" or "step", and
it answers each with a line when that is done, and with one more at the start.

mmdet, mmengine and mmcv-lite are Python alone. Forward pass and training step of GFL and ATSS use none of mmcv's
compiled operators: what imports these is given names that mean nothing.
"""

import collections.abc
import importlib.abc
import importlib.machinery
import importlib.util
import json
import pathlib
import sys
import types
import typing

import numpy as np

DONE = "done"
NEWEST_MMCV = "2.1.0"  # that mmdet 3.3 does not refuse
LEARNING_RATE = 0.0  # the weights stay


def works(
    config: str, device: str, height: int, width: int, boxes: list, classes: list
) -> dict[str, collections.abc.Callable[[], typing.Any]]:
    """{"forward": of one image, "step": of a training with these boxes [B, M, 4] and classes [B, M]}.

    Args:
        config: path of one of mmdetection's configs, in their folder.
        device: of PyTorch, "cpu" or "cuda".

    Raises:
        RuntimeError: PyTorch has no such device.
    """
    _without_operators()
    import torch
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample
    from mmdet.utils import register_all_modules
    from mmengine.config import Config
    from mmengine.structures import InstanceData

    register_all_modules()
    package = pathlib.Path(importlib.util.find_spec("mmdet").origin).parent
    config = Config.fromfile(package / ".mim" / "configs" / config)
    config.model.backbone.init_cfg = None  # or it is downloaded
    model = MODELS.build(config.model).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)
    images = np.random.default_rng(0).normal(size=(len(boxes), 3, height, width))
    images, shape, samples = torch.from_numpy(images.astype(np.float32)).to(device), (height, width), []
    for of_image, labels in zip(boxes, classes):
        sample = DetDataSample(metainfo=dict(img_shape=shape, pad_shape=shape, batch_input_shape=shape))
        boxes_of, labels_of = torch.tensor(of_image, device=device), torch.tensor(labels, device=device).long()
        sample.gt_instances = InstanceData(bboxes=boxes_of, labels=labels_of)
        samples.append(sample)

    def finish():
        if device != "cpu":
            torch.cuda.synchronize()  # a GPU still computes when a function returns

    def forward():
        model.eval()
        with torch.no_grad():
            model(images[:1], mode="tensor")
        finish()

    def step():
        model.train()
        optimizer.zero_grad()
        losses, _ = model.parse_losses(model.loss(images, samples))
        losses.backward()
        optimizer.step()
        finish()

    return {"forward": forward, "step": step}


def _without_operators():
    """Lets mmdet be imported where mmcv has none of its compiled operators."""
    import mmcv

    if importlib.util.find_spec("mmcv._ext"):
        return
    mmcv.__version__ = min(mmcv.__version__, NEWEST_MMCV)
    sys.meta_path.insert(0, _Operators())


class _Operators(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `mmcv.ops` and what is said to be in it."""

    def find_spec(self, name, path, target=None):
        is_one = name == "mmcv.ops" or name.startswith("mmcv.ops.")
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if is_one else None

    def create_module(self, spec):
        return _Nothing(spec.name)

    def exec_module(self, module):
        pass


class _Nothing(types.ModuleType):
    """A module in which every name is a class of torch modules that do nothing."""

    def __getattr__(self, name):
        import torch

        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (torch.nn.Module,), {})


if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr  # on which packages print
    found = works(**json.loads(sys.stdin.readline()))
    print(DONE, file=answers, flush=True)
    for line in sys.stdin:
        found[line.strip()]()
        print(DONE, file=answers, flush=True)
