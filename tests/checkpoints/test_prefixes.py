"""Which of a file's tensors are the module's, by what stands before their names."""

import pytest

from gfl_tf.checkpoints import prefixes

pytestmark = pytest.mark.one_stack

WANTED = (
    "conv1.weight",
    "layer1.0.conv1.weight",
    "layer1.0.conv2.weight",
    "layer1.0.bn1.bias",
    "layer2.0.conv1.weight",
)


def file(*starts, names=WANTED):
    return {f"{start}{name}": (start, name) for start in starts for name in names}


@pytest.mark.parametrize("prefix", ["", "model.", "module.", "ema_model.module.", "a.b.c.d."])
def test_a_common_prefix(prefix):
    chosen = prefixes.choose(file(prefix), WANTED)
    assert chosen.weights == {name: (prefix, name) for name in WANTED}
    assert (chosen.prefix, chosen.wrappers, chosen.outside) == (prefix, (), ())
    assert chosen.said() == (f"cut off the file's names: {prefix!r} at the beginning" if prefix else "")


def test_what_has_another_prefix_stays_outside():
    weights = {"n_averaged": 0, **file("module."), "module.fc.weight": 1, "loss.weight": 2}
    chosen = prefixes.choose(weights, WANTED)
    assert chosen.prefix == "module." and chosen.outside == ("n_averaged", "loss.weight")
    assert set(chosen.weights) == {*WANTED, "fc.weight"}


@pytest.mark.parametrize("cut", ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."])
def test_wrappers_of_pytorch_are_cut_out_wherever_they_stand(cut):
    weights = {name.replace("layer1.", f"layer1.{cut}"): name for name in file("model.")}
    chosen = prefixes.choose(weights, WANTED)
    assert set(chosen.weights) == set(WANTED) and chosen.prefix == "model."
    assert chosen.said() == f"cut off the file's names: 'model.' at the beginning and '{cut}' within"
    weights = {**file(cut), "loss.weight": 0}
    chosen = prefixes.choose(weights, WANTED)
    assert (chosen.prefix, chosen.wrappers, chosen.outside) == (cut, (), ("loss.weight",))


def test_of_two_modules_none_is_chosen_silently():
    weights = file("student.", "teacher.")
    message = r"'student.' \(5\), 'teacher.' \(5\): choose with --prefix=student. or --prefix=teacher. of"
    with pytest.raises(ValueError, match=message):
        prefixes.choose(weights, WANTED)
    for prefix in ("teacher.", "teacher"):
        chosen = prefixes.choose(weights, WANTED, prefix)
        assert chosen.weights == {name: ("teacher.", name) for name in WANTED}
        assert set(chosen.outside) == set(file("student."))


def test_of_plain_names_and_others_none_is_chosen_silently():
    weights = file("", "ema.")
    with pytest.raises(
        ValueError, match=r"no prefix at all \(5\), 'ema.' \(5\): choose with --prefix= or --prefix=ema."
    ):
        prefixes.choose(weights, WANTED)
    for prefix in ("", "ema."):
        chosen = prefixes.choose(weights, WANTED, prefix)
        assert set(chosen.weights.values()) == {(prefix, name) for name in WANTED}
        assert len(chosen.outside) == 5


def test_a_prefix_may_be_a_part_of_it():
    weights = file("teacher.module.backbone.", "student.module.backbone.")
    for prefix in ("teacher.", "teacher.module", "teacher.module.backbone."):
        assert prefixes.choose(weights, WANTED, prefix).prefix == "teacher.module.backbone."
    compiled = {key.replace("backbone.", "_orig_mod.backbone."): value for key, value in weights.items()}
    within = {key.replace("layer", "_orig_mod.layer"): value for key, value in compiled.items()}
    for prefix in ("teacher", "teacher.module._orig_mod.backbone.", "teacher.module._orig_mod"):
        assert prefixes.choose(compiled, WANTED, prefix).prefix == "teacher.module._orig_mod.backbone."
        assert prefixes.choose(within, WANTED, prefix).prefix == "teacher.module.backbone."


def test_a_prefix_that_is_not_there():
    with pytest.raises(ValueError, match=r"no name of the file begins with 'x.'; they begin with 'teacher.' \(5\)$"):
        prefixes.choose(file("teacher."), WANTED, "x.")
    with pytest.raises(ValueError, match=r"begins with 'x.'; they begin with 'a.' \(2\), 'b.' \(1\)$"):
        prefixes.choose({"a.b": 0, "a.c": 0, "b.c": 0}, WANTED, "x.")


def test_names_of_something_else_stay_as_they_are():
    other = {f"block{i}.conv1.weight": i for i in range(9)}
    many = tuple(f"layer{i}.weight" for i in range(50)) + ("conv1.weight",)
    chosen = prefixes.choose(other, many)
    assert (chosen.weights, chosen.prefix, chosen.outside) == (other, "", ())
