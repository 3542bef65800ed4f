"""A config that trains in seconds: 18 images of 64x64, a backbone of few channels, normalization frozen."""

import ml_collections

from gfl_tf.build import default_model
from gfl_tf.training.config import default_data, default_train


def get_config():
    config = ml_collections.ConfigDict({"name": "tiny", "seed": 1, "precision": "float32"})

    config.model = model = default_model("gfl")
    model.backbone = dict(
        name="mobilenet_v3",
        arguments=dict(
            stackwise_expansion=(1.0, 2.0, 2.0, 2.0),
            stackwise_filters=(8, 8, 16, 16),
            stackwise_kernel_size=(3, 3, 3, 3),
            stackwise_stride=(2, 2, 2, 2),
            stackwise_se_ratio=(0.25, None, None, None),
            stackwise_activation=("relu",) * 4,
            include_rescaling=True,
        ),
        weights="",
        freeze_batch_norm=True,
    )
    model.neck.channels = 16
    model.head.update(channels=16, num_convs=1, groups=4)
    model.boxes.num_bins = 4
    model.decoder.update(score_threshold=0.001, candidates_per_level=50, max_detections=20)

    config.data = data = default_data()
    data.source = "shapes"
    data.shapes = dict(num_train=18, num_val=6, image_size=(64, 64), seed=0)
    data.scale = (64, 64)

    config.train = train = default_train()
    train.batch_size = 4
    train.epochs = 2
    train.learning_rate = 0.08
    train.warmup_steps = 3
    train.milestones = (1,)
    train.log_every = 2
    train.sample_images = 2
    train.report_page = False  # has tests of its own
    return config
