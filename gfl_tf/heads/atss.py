"""The head of ATSS: layers and raw outputs only."""

import keras

from gfl_tf.heads import towers


@keras.saving.register_keras_serializable(package="gfl_tf")
class ATSSHead(keras.layers.Layer):
    """The ATSS head: two towers shared by all levels; class scores, box deltas and centerness (one anchor a point).

    The head of RetinaNet with group normalization, and FCOS's centerness branch on the box tower (Zhang et al., CVPR
    2020, sections 3.1 and 4).

    Input: list of feature maps P3 to P7, [B, H_l, W_l, channels].
    Output: dict of float32 raw outputs over all points, levels in order, row-major:
        "classification": [B, P, C] logits; "box": [B, P, 4] deltas of the point's anchor (see `ops.deltas`);
        "centerness": [B, P, 1] logits.

    Args:
        num_classes: C.
        channels, num_convs: width and depth of the towers.
        groups: of the group normalization.
        prior: class score of every point at the start of training (Lin et al., ICCV 2017, section 4.1).
    """

    def __init__(self, num_classes, channels=256, num_convs=4, groups=32, prior=0.01, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.channels = channels
        self.num_convs = num_convs
        self.groups = groups
        self.prior = prior
        self.class_tower = towers.tower("class_tower", num_convs, channels, groups)
        self.box_tower = towers.tower("box_tower", num_convs, channels, groups)
        self.classification = towers.output_conv(num_classes, "classification", prior)
        self.box = towers.output_conv(4, "box")
        self.centerness = towers.output_conv(1, "centerness")
        self.scales = towers.level_scales()

    def build(self, input_shape):
        self.classification.build(towers.build_tower(self.class_tower, input_shape[0]))
        box_shape = towers.build_tower(self.box_tower, input_shape[0])
        self.box.build(box_shape)
        self.centerness.build(box_shape)
        for scale in self.scales:
            scale.build(())
        self.built = True

    def call(self, features):
        return towers.concat_levels([self._level(feature, scale) for feature, scale in zip(features, self.scales)])

    def _level(self, feature, scale):
        box_feature = towers.run_tower(self.box_tower, feature)
        return {
            "classification": self.classification(towers.run_tower(self.class_tower, feature)),
            "box": scale(self.box(box_feature)),
            "centerness": self.centerness(box_feature),
        }

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "channels": self.channels,
            "num_convs": self.num_convs,
            "groups": self.groups,
            "prior": self.prior,
        }
