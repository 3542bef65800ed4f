"""Data of one's own, from the weights of a published model: settings follow the data, as `small` does from nothing.

From COCO, with the file of mmdetection or of the authors; what depends on the classes starts anew:

    gfl-train --config=finetune --run_dir=runs/mine --config.data.path=FOLDER \
        --config.model.weights=gflv2_r50_fpn_ms2x.pth

From ImageNet, by a download, or a file of yours with --config.model.backbone.weights=FILE.pth:

    gfl-train --config=finetune:gflv2_r101_fpn_ms2x --run_dir=runs/mine --config.data.path=FOLDER

Behind the colon stands a config of `configs/` by name, such as published:retinanet_r50_fpn_1x; without, it is
gflv2_r50_fpn_ms2x. One with a KerasCV backbone takes its preset. Meant for a GPU. No published file was at hand to
measure what it reaches.
"""

from gfl_tf.config_files import load_config
from gfl_tf.training import own_data


def get_config(published="gflv2_r50_fpn_ms2x"):
    config = load_config(published)
    config.name = f"{config.name}_finetuned"
    config.model.partial_weights = True
    config.data = own_data.data(long_side_limits=(480, 1333))
    config.train = own_data.train(learning_rate=1e-4)
    return config
