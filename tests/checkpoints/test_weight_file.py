"""Weight files: names that depend on the architecture alone, and what is refused."""

import keras
import numpy as np
import pytest

import gfl_tf
from gfl_tf.checkpoints import weight_file
from gfl_tf.compat import keras_cv
from tests.tiny import build_tiny, values


def detector(seed, channels=8):
    keras.utils.set_random_seed(seed)
    backbone = keras_cv.models.MobileNetV3Backbone(
        stackwise_expansion=(1.0, 2.0, 2.0, 2.0), stackwise_filters=(8, 8, 16, 16), stackwise_kernel_size=(3, 3, 3, 3),
        stackwise_stride=(2, 2, 2, 2), stackwise_se_ratio=(0.25, None, None, None), stackwise_activation=("relu",) * 4,
        include_rescaling=True,
    )  # fmt: skip
    return build_tiny(gfl_tf.GFL, backbone=backbone, head_options={"channels": channels})


@pytest.fixture(scope="module")
def models():
    return detector(0), detector(1)


@pytest.fixture
def file(models, tmp_path):
    weight_file.save_arrays(values(models[0]), tmp_path / "weights.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.npz"]  # nothing half written is left
    return tmp_path / "weights.npz"


def test_names_do_not_tell_which_model_came_first(models):
    """KerasCV leaves naming to Keras in some of its layers, which numbers them through the process."""
    first, second = (list(weight_file.named_variables(model)) for model in models)
    assert first == second and len(first) == len(models[0].backbone.weights + models[0].neck.weights) + len(
        models[0].head.weights
    )
    # The same with both stacks; the other parts of KerasCV's layer names are its own.
    expected = {
        "backbone/Conv/kernel",
        "backbone/squeezeandexcite2d_0/conv2d_0/kernel",
        "neck/lateral_p3/kernel",
        "head/class_tower_0/norm/gamma",
        "head/scale_p7/scale",
    }
    assert expected <= set(first), sorted(expected - set(first))


def test_round_trip(models, file):
    first, second = models
    assert not np.array_equal(values(first)["head/box/kernel"], values(second)["head/box/kernel"])
    report = weight_file.load(weight_file.named_variables(second), file)
    assert len(report.loaded) == len(values(first)) and not report.fresh and not report.unused
    for name, value in values(first).items():
        np.testing.assert_array_equal(values(second)[name], value, err_msg=name)


def test_another_width_is_refused_or_taken_in_part(file):
    other = detector(2, channels=16)
    before = values(other)
    variables = weight_file.named_variables(other)
    with pytest.raises(
        ValueError, match=r"weights.npz does not fit .*/kernel \(3, 3, 16, 8\) is \(3, 3, 16, 16\) in the model.*more$"
    ):
        weight_file.load(variables, file)
    assert all(np.array_equal(value, before[name]) for name, value in values(other).items())
    report = weight_file.load(variables, file, partial=True)
    assert "backbone/Conv/kernel" in report.loaded and "head/box/kernel" in report.fresh


def test_a_part_of_the_file(models, file):
    backbone = detector(3).backbone
    weight_file.load(weight_file.layer_variables(backbone), file, part="backbone")
    np.testing.assert_array_equal(backbone.get_weights()[0], models[0].backbone.get_weights()[0])


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped bit", "encrypted", "unknown compression", "text"])
def test_damaged_files_are_named(models, file, damage):
    content = file.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    entry = content.rindex(b"PK\1\2")  # of the last array in the list of the archive
    damaged = {
        "cut": content[:middle],
        "empty": b"",
        "flipped bit": flipped,
        "encrypted": content[: entry + 8] + b"\1" + content[entry + 9 :],
        "unknown compression": content[: entry + 10] + b"\x63" + content[entry + 11 :],
        "text": b"weights",
    }
    file.write_bytes(damaged[damage])
    before = values(models[1])
    with pytest.raises(ValueError, match="weights.npz is no weight file of gfl_tf, or damaged"):
        weight_file.load(weight_file.named_variables(models[1]), file)
    assert all(np.array_equal(value, before[name]) for name, value in values(models[1]).items())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_replaces_no_file(file, value):
    before = file.read_bytes()
    with pytest.raises(ValueError, match="head/kernel is not finite: .*weights.npz stays as it was"):
        weight_file.save_arrays({"head/kernel": np.float32([1.0, value])}, file)
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]


class Twins(keras.layers.Layer):
    """Two layers of one name."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.twins = [keras.layers.Dense(4, name="twin") for _ in range(2)]

    def build(self, input_shape):
        for twin in self.twins:
            twin.build(input_shape)
        self.built = True


def test_layers_of_one_name_are_refused():
    layer = Twins()
    layer.build((None, 4))
    with pytest.raises(ValueError, match="two layers of the model are called twin: give them different names"):
        weight_file.layer_variables(layer)
