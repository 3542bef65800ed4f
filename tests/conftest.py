"""Fixtures that say where things outside the package are, and skip the test when they are not there."""

import os
import shutil
import zlib
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).resolve().parents[1]
os.environ["no_proxy"] = "localhost"  # where the tests' own servers are


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """The same random weights in every run, whatever ran before; ahead of the fixtures of all scopes."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def shared():
    """The folder of reference implementations and real data beside the checkout."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip("needs the folder ../shared (reference implementations and data), which is not there")
    return path


def _python(variable, whose):
    path = os.environ.get(variable, "")
    if not path:
        pytest.skip(f"needs {variable}, the Python of {whose}; make test sets it where that is set up")
    if not os.access(path, os.X_OK):
        pytest.fail(f"{variable}={path} is not an executable file")
    return path


@pytest.fixture(scope="session")
def bare_python():
    """A Python that has TensorFlow and neither gfl_tf, keras_cv nor tensorflow_addons."""
    return _python("GFL_TF_BARE_PYTHON", "a TensorFlow-only environment")


@pytest.fixture(scope="session")
def other_python():
    """The Python of the other stack's environment."""
    return _python("GFL_TF_OTHER_PYTHON", "the other stack")


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, driven by playwright."""
    path = shutil.which("chromium")
    if not path:
        pytest.skip("needs chromium, which is not there")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def browser_page(browser):
    """A page of the browser, which may say nothing on its console and ask for nothing but what is at its own address.

    `asked` has the (method, address) of its requests.
    """
    said, asked = [], []
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.set_default_timeout(60_000)  # of machines that have other work
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append((request.method, request.url)))
    page.asked = asked
    yield page
    page.close()
    assert not said
    assert all(url.startswith((asked[0][1], "blob:", "data:")) for _, url in asked)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """Run directory of a tiny GFLv2 with random weights that finds dozens of things in any image, with scores apart."""
    import ml_collections
    import numpy as np

    from gfl_tf.build import build_detector, default_model
    from gfl_tf.checkpoints.weight_file import named_variables
    from gfl_tf.training import config as configs
    from gfl_tf.training import run_dir

    config = ml_collections.ConfigDict({"name": "tiny", "precision": "float32"})
    config.model = model = default_model("gflv2")
    model.num_classes = 3
    model.backbone = dict(
        name="yolo_v8",
        arguments=dict(stackwise_channels=(8, 8, 16, 32), stackwise_depth=(1, 1, 1, 1), include_rescaling=True),
    )
    model.neck.channels = 16
    model.head.update(channels=16, num_convs=1, groups=4)
    model.score.hidden = 8
    model.decoder.update(score_threshold=0.4, max_detections=20)
    config.data = dict(class_names=("circle", "square", "star"), scale=(160, 96))
    config = configs.complete(config)
    model = build_detector(config)
    for name, variable in named_variables(model).items():  # by name: the same weights on both stacks
        if len(variable.shape) > 1:
            kernel = np.random.default_rng(zlib.crc32(f"31{name}".encode())).normal(size=variable.shape)
            fan_in = np.prod(variable.shape[:-1])
            variable.assign(kernel * (0.2 if name.startswith("head/") else fan_in**-0.5))
    model.head.classification.bias.assign([2.0, 2.0, 2.0])
    run = run_dir.RunDirectory(tmp_path_factory.mktemp("tiny_run"))
    run.start(config)
    run.save_weights(model, "best")
    run.save_weights(model, "last")
    return run.path


@pytest.fixture(scope="session")
def tiny_export(tiny_run, tmp_path_factory):
    """Path of a SavedModel of `tiny_run`, which fails for bad images, with batch sizes 1, 2 and 4."""
    from gfl_tf.serving import export
    from gfl_tf.training import run_dir

    model, config = run_dir.load_run(tiny_run)
    options = export.Options(batch_sizes=(1, 2, 4))
    folder = tmp_path_factory.mktemp("saved_models")
    return export.export(model, config.data.scale, folder, "tiny", options, config.data.class_names)


@pytest.fixture(scope="session")
def tiny_atss():
    """A tiny ATSS with random weights, of the newer candidate rule: a detector without box distributions."""
    import gfl_tf

    return _tiny_detector(gfl_tf.ATSS, candidates="pairs")


@pytest.fixture(scope="session")
def tiny_gfl():
    """A tiny GFL with random weights."""
    import gfl_tf

    return _tiny_detector(gfl_tf.GFL)


@pytest.fixture(scope="session")
def tiny_depthwise():
    """A tiny GFLv2 with random weights whose neck and head are depthwise."""
    import gfl_tf

    return _tiny_detector(gfl_tf.GFLV2, dict(depthwise=True), dict(depthwise=True), iou_threshold=0.95)


@pytest.fixture(scope="session")
def tiny_vfnet():
    """A tiny VarifocalNet with random weights, deformable convolutions in its towers and soft-NMS."""
    import gfl_tf

    return _tiny_detector(gfl_tf.VFNet, dict(deformable=True), nms="soft_linear")


def _tiny_detector(recipe, head_options=None, neck_options=None, **decoder):
    import keras_cv

    import gfl_tf
    from tests.tiny import build_tiny

    keras.utils.set_random_seed(1)
    backbone = keras_cv.models.YOLOV8Backbone(
        stackwise_channels=(8, 8, 16, 32), stackwise_depth=(1, 1, 1, 1), include_rescaling=True
    )
    decoder = gfl_tf.PredictionDecoder(max_detections=20, **decoder)
    return build_tiny(
        recipe,
        backbone=backbone,
        head_options={"prior": 0.5, **(head_options or {})},
        neck_options=neck_options,
        prediction_decoder=decoder,
    )
