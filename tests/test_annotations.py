"""Public functions have type annotations.

The rule: in the modules of gfl_tf but for `INTERNAL`, each function, and each method of a public class, whose name has
no leading underscore, as well as `__init__` and `__call__`, says the type of every argument but self, cls, *args and
**kwargs, and, but for `__init__`, of what it returns. Of the methods that Keras calls, `KERAS`, the type of what they
return is enough: their arguments are Keras's, and the class says what they are.
"""

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_stack

PACKAGE = Path(__file__).resolve().parents[1] / "gfl_tf"

KERAS = {"build", "call", "compute_output_shape", "from_config", "get_config"}

# What other modules of gfl_tf call, and users do not.
INTERNAL = """
    __init__ backbone_weights compat stacks
    checkpoints/other_files checkpoints/pickles checkpoints/places checkpoints/prefixes checkpoints/safetensors_file
    checkpoints/tensors checkpoints/torch_file checkpoints/torch_tar
    commands/__init__ commands/benchmark_serving commands/check_dataset commands/compare_exports
    commands/convert_dataset commands/evaluate commands/export commands/import_checkpoint commands/make_tfrecords
    commands/numbers commands/predict commands/query_server commands/start commands/train commands/train_child
    data/augmentations/blur data/augmentations/color_jitter data/augmentations/copy_paste data/augmentations/crop
    data/augmentations/cutout data/augmentations/equalize data/augmentations/flips data/augmentations/mixup
    data/augmentations/mosaic data/augmentations/resizing data/augmentations/sharpness data/augmentations/warps
    data/image_formats data/shape_scenes
    serving/agreement serving/assets serving/decode serving/fold serving/freeze serving/latency serving/signatures
    serving/warmup
    training/averaging training/checkpoint training/cluster training/divergence training/introduction
    training/optimizers training/outputs training/progress training/published training/replay training/report
    training/schedule training/stop training/strategy training/validation
""".split()

MODULES = {str(path.relative_to(PACKAGE).with_suffix("")): path for path in sorted(PACKAGE.rglob("*.py"))}


def is_public(name):
    return not name.startswith("_") or name in ("__init__", "__call__")


def without_annotations(body, prefix=""):
    """What is missing in the functions and classes of a module's or a class's body, one text each."""
    for node in body:
        if isinstance(node, ast.ClassDef) and is_public(node.name):
            yield from without_annotations(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and is_public(node.name):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [each.arg for each in arguments if each.annotation is None and each.arg not in ("self", "cls")]
            missing = [] if prefix and node.name in KERAS else bare
            if node.returns is None and node.name != "__init__":
                missing = [*missing, "what it returns"]
            if missing:
                yield f"{prefix}{node.name} (line {node.lineno}): {', '.join(missing)}"


@pytest.mark.parametrize("name", sorted(set(MODULES) - set(INTERNAL)))
def test_public_functions_have_annotations(name):
    missing = list(without_annotations(ast.parse(MODULES[name].read_text()).body))
    assert not missing, f"gfl_tf/{name}.py has no type of:\n" + "\n".join(missing)


def test_internal_modules_are_there():
    assert not set(INTERNAL) - set(MODULES)


def test_what_is_missing_is_named():
    source = """
def whole(one: int, *rest, two: str = "", **others) -> None: ...
def bare(one, *, two=1): ...
def _private(one): ...
class Layer:
    def __init__(self, units, **kwargs): ...
    def __repr__(self): ...
    def __call__(self, x: int): ...
    def call(self, inputs) -> int: ...
    def build(self, input_shape): ...
    @property
    def size(self): ...
class _Hidden:
    def public(self, one): ...
def call(inputs) -> int: ...
"""
    assert list(without_annotations(ast.parse(source).body)) == [
        "bare (line 3): one, two, what it returns",
        "Layer.__init__ (line 6): units",
        "Layer.__call__ (line 8): what it returns",
        "Layer.build (line 10): what it returns",
        "Layer.size (line 12): what it returns",
        "call (line 15): inputs",
    ]
