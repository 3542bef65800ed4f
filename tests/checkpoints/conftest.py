import pytest

from gfl_tf.backbones.resnet import ResNet
from tests.checkpoints.detectors import small_gflv2


@pytest.fixture(scope="module")
def resnet18():
    return ResNet(18)


@pytest.fixture(scope="module")
def gflv2(resnet18):
    return small_gflv2(resnet18)
