"""Wrote the .pth files beside it, with torch 2.15 and mmengine 0.10.7, which the tests do not need.

All hold the same four tensors (`WEIGHTS`), the k-th with the values k + 0, 1, 2, ... (all exact in bfloat16). What lies
around them is as the frameworks write it.
"""

import collections
import datetime
import pathlib
import types

import mmengine
import numpy as np
import torch
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer
from mmengine.model import ExponentialMovingAverage

HERE = pathlib.Path(__file__).parent
WEIGHTS = {
    "backbone.conv1.weight": (2, 3, 2, 2),
    "backbone.bn1.weight": (2,),
    "backbone.bn1.num_batches_tracked": (),
    "bbox_head.scales.0.scale": (),
}


def tensor(k, shape):
    values = torch.arange(int(np.prod(shape))).reshape(shape) + k
    return values if k == 2 else values.float()


def state_dict(prefix=""):
    state = collections.OrderedDict(
        (prefix + name, tensor(k, shape)) for k, (name, shape) in enumerate(WEIGHTS.items())
    )
    state._metadata = {"": {"version": 1}}  # as torch.nn.Module.state_dict has it
    return state


def optimizer_state():
    parameter = torch.nn.Parameter(torch.ones(3, 5))
    optimizer = torch.optim.SGD([parameter], lr=0.01, momentum=0.9)
    parameter.sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def mmdet2(state):
    """As mmcv 1.x's save_checkpoint, with some objects that people put into meta."""
    meta = {
        "mmdet_version": "2.3.0",
        "mmcv_version": "1.3.17",
        "config": "model = dict(type='GFL')",
        "CLASSES": ("cat", "dog"),
        "epoch": 12,
        "iter": 87960,
        "time": "Sat Nov 21 10:00:00 2026",
        "cfg": mmengine.Config({"model": {"type": "GFL"}}),
        "mAP": np.float64(0.402),
        "palette": np.zeros([2, 3], np.uint8),
        "when": datetime.datetime(2026, 11, 21),
        "where": pathlib.PurePosixPath("/a"),
        "kinds": {"a", "b"},
        "device": torch.device("cpu"),
    }
    return {"meta": meta, "state_dict": state, "optimizer": optimizer_state()}


def mmdet3(state):
    """As mmengine 0.x's save_checkpoint."""
    history = HistoryBuffer([0.5, 0.25], [1, 1])
    meta = {
        "cfg": "model = dict(type='GFL')",
        "seed": 0,
        "experiment_name": "gfl_20261121",
        "time": "20261121_100000",
        "mmengine_version": mmengine.__version__,
        "dataset_meta": {"classes": ("cat", "dog"), "palette": [(0, 0, 0), (1, 1, 1)]},
        "epoch": 12,
        "iter": 87960,
    }
    hub = {"log_scalars": {"train/loss": history}, "runtime_info": {"epoch": 11}, "resumed_keys": {"epoch": True}}
    return {
        "meta": meta,
        "state_dict": state,
        "message_hub": hub,
        "optimizer": optimizer_state(),
        "param_schedulers": [{"last_step": 3}],
    }


def mmengine_ema():
    """What mmengine's EMAHook itself makes of a save: plain weights 0.., averaged ones 100 more (buffers too)."""
    model = torch.nn.Module()
    model.backbone = torch.nn.Linear(3, 2)
    model.backbone.weight.data = tensor(0, (2, 3))
    model.backbone.bias.data = tensor(1, (2,))
    model.backbone.register_buffer("running_mean", tensor(3, (2,)))
    hook = EMAHook()
    hook.ema_model = ExponentialMovingAverage(model, momentum=0.5)
    for parameter in hook.ema_model.module.parameters():
        parameter.data += 100
    checkpoint = {"meta": {}, "state_dict": model.state_dict()}
    hook.before_save_checkpoint(types.SimpleNamespace(), checkpoint)
    return checkpoint


def mmcv_ema():
    """As mmcv 1.x's EMAHook leaves it at the end of an epoch: its buffers lie beside the weights, swapped with them."""
    state = collections.OrderedDict()
    state["module.backbone.weight"] = tensor(0, (2, 3)) + 100
    state["module.backbone.bias"] = tensor(1, (2,)) + 100
    state["module.backbone.running_mean"] = tensor(3, (2,))
    state["module.ema_backbone_weight"] = tensor(0, (2, 3))
    state["module.ema_backbone_bias"] = tensor(1, (2,))
    return {"meta": {"CLASSES": ["cat", "dog"]}, "state_dict": state}


def layouts():
    """Tensors that are not plain runs of memory, and all number types."""
    base = torch.arange(24, dtype=torch.float32)
    return collections.OrderedDict(
        transposed=base.reshape(4, 6).t(),
        sliced=base.reshape(4, 6)[1:3, ::2],
        shared_tail=base[20:],
        channels_last=base.reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
        parameter=torch.nn.Parameter(base[:2].clone()),
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(7.0),
        **{str(dtype).split(".")[1]: torch.tensor([0, 1, 2.5]).to(dtype) for dtype in (
            torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.uint8, torch.int16,
            torch.int32, torch.int64, torch.bool,
        )},
    )  # fmt: skip


def save(name, content, **options):
    torch.save(content, HERE / name, **options)


def main():
    legacy = {"_use_new_zipfile_serialization": False}
    save("mmdet2.pth", mmdet2(state_dict()))
    save("mmdet2_legacy.pth", mmdet2(state_dict()), **legacy)
    save("mmdet3.pth", mmdet3(state_dict()))
    save("flat.pth", state_dict())
    save("flat_legacy_protocol4.pth", state_dict(), pickle_protocol=4, **legacy)
    save("data_parallel.pth", {"state_dict": state_dict("module.")})
    for name, dtype in (("half", torch.float16), ("bfloat16", torch.bfloat16)):
        state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state_dict().items()}
        save(f"{name}.pth", {"state_dict": state})
    save("mmengine_ema.pth", mmengine_ema())
    save("mmcv_ema.pth", mmcv_ema())
    save("layouts.pth", layouts())
    save("layouts_legacy.pth", layouts(), **legacy)
    save("whole_module.pth", torch.nn.Linear(2, 1))


if __name__ == "__main__":
    main()
