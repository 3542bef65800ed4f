"""mmdetection, from its Python packages alone: mmdet, mmengine and mmcv-lite, whose compiled operators are missing.

Forward pass and training step of GFL and ATSS use none of them: what imports them is given names that mean nothing.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import pathlib
import sys
import types

import numpy as np

from gfl_tf.benchmark.artifacts import Artifact
from gfl_tf.benchmark.rounds import Parts
from gfl_tf.benchmark.workloads import Case, random_labels

FORWARD, STEP = "forward", "training step"
# {our config: theirs}
CONFIGS = {
    "gfl_r50_fpn_1x": "gfl/gfl_r50_fpn_1x_coco.py",
    "atss_r50_fpn_1x": "atss/atss_r50_fpn_1x_coco.py",
}
NEWEST_MMCV = "2.1.0"  # that mmdet 3.3 does not refuse


def mmdetection(artifact: Artifact, case: Case) -> Parts:
    """The same detector, on all cores, in float32.

    Raises:
        ImportError: it has no such detector.
    """
    if artifact.name not in CONFIGS:
        raise ImportError(f"it is timed for {', '.join(CONFIGS)} alone")
    import torch

    _without_operators()
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample
    from mmdet.utils import register_all_modules
    from mmengine.config import Config
    from mmengine.structures import InstanceData

    register_all_modules()
    package = pathlib.Path(importlib.util.find_spec("mmdet").origin).parent
    config = Config.fromfile(package / ".mim" / "configs" / CONFIGS[artifact.name])
    config.model.backbone.init_cfg = None  # or it is downloaded
    model = MODELS.build(config.model)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.normal(size=(case.batch_size, 3, case.height, case.width)).astype(np.float32))
    labels = {name: value.numpy() for name, value in random_labels(rng, case, 80).items()}
    shape = (case.height, case.width)
    samples = []
    for boxes, classes in zip(labels["boxes"], labels["classes"]):
        sample = DetDataSample(metainfo=dict(img_shape=shape, pad_shape=shape, batch_input_shape=shape))
        sample.gt_instances = InstanceData(bboxes=torch.from_numpy(boxes), labels=torch.from_numpy(classes).long())
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)

    def forward():
        model.eval()
        with torch.no_grad():
            model(images[:1], mode="tensor")

    def step():
        model.train()
        optimizer.zero_grad()
        losses, _ = model.parse_losses(model.loss(images, samples))
        losses.backward()
        optimizer.step()

    return {FORWARD: forward, STEP: step}


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
