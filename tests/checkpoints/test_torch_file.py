"""Real files of torch.save in every form (data/make_files.py says how they were made), and hostile ones."""

import io
import multiprocessing
import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gfl_tf.checkpoints import pickles, tensors, torch_file
from tests.checkpoints.torch_writer import (
    LEGACY_START,
    Global,
    TarTensor,
    pickled,
    tensor,
    write_legacy,
    write_tar,
    write_zip,
)

pytestmark = pytest.mark.one_stack

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("name", ["layouts.pth", "layouts_legacy.pth"])
def test_layouts_and_number_types(name):
    arrays = {key: value.numpy() for key, value in torch_file.read(DATA / name).items()}
    base = np.arange(24, dtype=np.float32)
    expected = {
        "transposed": base.reshape(4, 6).T,
        "sliced": base.reshape(4, 6)[1:3, ::2],
        "shared_tail": base[20:],
        "channels_last": base.reshape(1, 2, 3, 4),
        "parameter": base[:2],
        "empty": np.zeros([0, 3]),
        "scalar": np.float32(7),
    }
    for key, value in expected.items():
        np.testing.assert_array_equal(arrays[key], value, strict=False)
        assert arrays[key].shape == value.shape and arrays[key].dtype == np.float32, key
    numbers = ("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool")
    assert set(arrays) == {*expected, *numbers}
    for key in numbers:
        assert arrays[key].dtype.name == key
        last = {"f": 2.5, "V": 2.5, "b": 1}.get(arrays[key].dtype.kind, 2)
        np.testing.assert_array_equal(arrays[key].astype(np.float64), [0, 1, last])


def test_tensors_are_views_of_the_file():
    read = torch_file.read(DATA / "layouts.pth")
    shared = [read[name].numpy() for name in ("transposed", "shared_tail")]
    assert np.shares_memory(*shared)
    assert not any(value.flags.writeable or value.flags.owndata for value in shared)


def test_objects_of_classes_are_inert():
    meta = torch_file.read(DATA / "mmdet2.pth")["meta"]
    kinds = {key: value.name for key, value in meta.items() if isinstance(value, pickles.Unknown)}
    assert kinds["cfg"] == "mmengine.config.config.Config" and kinds["when"] == "datetime.datetime"
    assert set(kinds) == {"cfg", "when", "where", "kinds", "device"}
    assert meta["mAP"].numpy() == 0.402 and meta["palette"].numpy().tolist() == [[0, 0, 0]] * 2  # numpy's, plain values
    assert meta["epoch"] == 12 and meta["CLASSES"] == ("cat", "dog")
    hub = torch_file.read(DATA / "mmdet3.pth")["message_hub"]
    assert hub["log_scalars"]["train/loss"] == pickles.Unknown("mmengine.logging.history_buffer.HistoryBuffer")
    assert hub["runtime_info"] == {"epoch": 11}


def test_hand_made_files_are_what_torch_writes(tmp_path):
    """So that the hostile ones below fail for what is wrong with them, not for how they are made."""
    expected = np.arange(6).reshape(2, 3)
    for path in (write_zip(tmp_path / "a", pickled([tensor()])), write_legacy(tmp_path / "b", [tensor()])):
        np.testing.assert_array_equal(torch_file.read(path)[0].numpy(), expected)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_values_of_every_pickle_protocol(protocol):
    shared = ["x"]
    value = {"a": (1, 2.5, -(10**30), True, None), 7: [shared, shared, ()], b"b": {}, "long": (1, 2, 3, 4)}
    if protocol < 3:
        del value[b"b"]  # written as a call there
    read = pickles.read(io.BytesIO(pickle.dumps(value, protocol)), None, None)
    assert read == value and read[7][0] is read[7][1]


def test_tar_archives(tmp_path):
    """The format of torchvision's first ResNets, with its parameters and views of storages."""
    value = {
        "weight": Global("torch.nn.parameter", "Parameter", TarTensor(5)),
        "running_mean": TarTensor(6),
        "epoch": 3,
    }
    read = torch_file.read(write_tar(tmp_path / "a.pth", value))
    assert read["weight"].numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read["running_mean"].numpy().tolist() == [3, 5]  # every second from 1 on, of a view from 2 on
    assert read["epoch"] == 3


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"sys_info": [{"little_endian": False}]}, "big-endian"),
        ({"storages": [1, (3, "cpu", Global("torch", "FloatStorage")), struct.pack("<q", 2**40)]}, "cut off"),
        ({"storages": [1, (3, "cpu", Global("torch", "FloatStorage")), struct.pack("<q", -1)]}, "cut off"),
        ({"storages": [1, (3, "cpu", Global("os", "system")), struct.pack("<q", 0)]}, "unknown type"),
        ({"storages": [0, [(4, 3, 0, 1)]]}, "damaged"),
        ({"storages": [0, 7]}, "damaged"),
        ({"storages": ["a"]}, "no number"),
        ({"tensors": [2**60]}, "unknown"),
        ({"tensors": [1, (5, 9, None), bytes(40)]}, "damaged"),
        ({"tensors": [1, (5, 3, None), struct.pack("<i4x", 2**31 - 1)]}, "sensible"),
        ({"tensors": [1, (5, 3)]}, "tuple of 3"),
    ],
)
def test_broken_tar_archives(changed, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        torch_file.read(write_tar(tmp_path / "a.pth", [], **changed))


def test_headers_of_tar_archives_that_lie(tmp_path):
    path = write_tar(tmp_path / "a.pth", [TarTensor(5)])
    content = path.read_bytes()
    position = content.index(b"ustar") - 257
    for size, message in ((b"77777777777", "cut off"), (b"-7777777777", "cut off"), (b"zzz", "invalid literal")):
        path.write_bytes(content[: position + 124] + size.ljust(12, b"\0") + content[position + 136 :])
        with pytest.raises(ValueError, match=message):
            torch_file.read(path)
    path.write_bytes(content.replace(b"storages", b"elsewhere"[:8]))
    with pytest.raises(ValueError, match="not one of torch.save: it has no storages"):
        torch_file.read(path)


class Touch:
    """Would make a file if it were unpickled."""

    def __init__(self, path, function):
        self.path = path
        self.function = function

    def __reduce__(self):
        return self.function, (f"touch {self.path}",)


def hostile_pickles(path):
    """Every opcode that calls something, on something that must not be called."""
    command = f"touch {path}".encode()
    short = b"X" + struct.pack("<I", len(command)) + command
    return {
        "reduce": pickle.dumps(Touch(path, os.system), 2),
        "eval": pickle.dumps(Touch(path, eval), 2),
        "inst": b"(S'" + command + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\n" + short + b"o.",
        "newobj": b"\x80\x02csubprocess\nPopen\n" + short + b"\x85\x81.",
        "stack_global": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + short + b"\x85R.",
        "getattr": b"\x80\x02cbuiltins\ngetattr\nccollections\nOrderedDict\nX\x08\x00\x00\x00__init__\x86R)R.",
        "build": b"\x80\x02ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00items" + b"cos\nsystem\nsb.",
        "rebuild": pickled(Global("torch._utils", "_rebuild_parameter", Global("os", "system", command.decode()))),
    }


@pytest.mark.parametrize("name", hostile_pickles(""))
def test_nothing_is_executed(name, tmp_path):
    victim = tmp_path / "victim"
    content = hostile_pickles(victim)[name]
    value = torch_file.read(write_zip(tmp_path / "hostile.pth", content))
    assert isinstance(value, pickles.Unknown) or value == {}
    assert not victim.exists()


def test_the_attack_works_on_an_unpickler(tmp_path):
    """Else the test above would prove nothing."""
    victim = tmp_path / "victim"
    for name in ("reduce", "inst", "obj", "newobj", "stack_global", "rebuild"):
        program = f"import pickle; pickle.loads({hostile_pickles(victim)[name]!r})"
        subprocess.run([sys.executable, "-c", program], capture_output=True)
        if name != "rebuild" and name != "newobj":  # these need torch, and a shell
            assert victim.exists(), name
            victim.unlink()


@pytest.mark.parametrize(
    "broken",
    [
        {"count": 7},
        {"count": 5},
        {"count": -1},
        {"count": 2**60},
        {"offset": 1},
        {"offset": -1},
        {"offset": 2**70},
        {"shape": (3, 3)},
        {"shape": (2, 3), "strides": (4, 1)},
        {"shape": (2, 3), "strides": (-3, 1)},
        {"shape": (2, 3), "strides": (2**62, 1)},
        {"shape": (2**40, 2**40), "strides": (0, 0)},
        {"shape": (0, 2**70), "strides": (1, 1)},
        {"shape": (-1, -6)},
        {"shape": (6,)},
        {"shape": (1,) * 80, "strides": (1,) * 80},
        {"key": "1"},
        {"key": "../data.pkl"},
    ],
    ids=str,
)
@pytest.mark.parametrize("write", ["zip", "legacy"])
def test_tensors_that_reach_out_of_their_storage(broken, write, tmp_path):
    path = tmp_path / "broken.pth"
    if write == "zip":
        write_zip(path, pickled({"a": tensor(**broken)}))
    else:
        write_legacy(path, {"a": tensor(**broken)})
    with pytest.raises(ValueError, match="damaged|cut off|does not fit|dimension"):
        torch_file.read(path)["a"].numpy()


def test_size_one_axes_may_have_any_stride(tmp_path):
    path = write_zip(tmp_path / "a.pth", pickled([tensor(shape=(1, 6), strides=(10**6, 1))]))
    assert torch_file.read(path)[0].numpy().tolist() == [[0, 1, 2, 3, 4, 5]]


def test_old_views_of_storages(tmp_path):
    path = write_legacy(tmp_path / "a.pth", [tensor(shape=(2,), strides=(1,), view=("key", 3, 2))])
    assert torch_file.read(path)[0].numpy().tolist() == [3, 4]
    write_legacy(path, [tensor(shape=(2,), strides=(1,), view=("key", 5, 2))])
    with pytest.raises(ValueError, match="out of its storage"):
        torch_file.read(path)[0].numpy()


BOMBS = {
    "memo index": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "long string": b"\x80\x04\x8d" + struct.pack("<Q", 2**35) + b"a.",
    "long bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**35) + b"a.",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**35) + b"a.",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 2**35) + b"N",
    "long integer": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01.",
    "deeply nested key": b"\x80\x02})" + b"\x85" * 300_000 + b"Ns.",
    "key that takes years to hash": b"\x80\x02})" + b"2\x86" * 100 + b"Ns.",
    "long list": b"\x80\x02]" + b"(" * 100_000 + b".",
}


def test_bombs_stay_small(tmp_path):
    """In a process of its own, which may take 100 MB more than it has."""
    for i, content in enumerate(BOMBS.values()):
        write_zip(tmp_path / f"{i}.zip.pth", content)
        (tmp_path / f"{i}.legacy.pth").write_bytes(b"".join(map(pickled, LEGACY_START)) + content)
    process = multiprocessing.get_context("fork").Process(target=_read_all, args=(tmp_path,))
    process.start()
    process.join(60)
    process.kill()
    assert process.exitcode == 0


def _read_all(folder):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000,) * 2)
    for path in sorted(folder.glob("*.pth")):
        try:
            torch_file.read(path)
        except ValueError:
            pass


def test_compressed_archives_are_refused(tmp_path):
    path = write_zip(tmp_path / "bomb.pth", pickled([tensor()]), {"0": bytes(10**6)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed"):
        torch_file.read(path)


def test_archives_that_lie(tmp_path):
    path = write_zip(tmp_path / "a.pth", pickled([tensor()]))
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    changes = {
        "compressed": (directory + 24, struct.pack("<I", 2**31)),  # only the size when unpacked
        "reaches beyond": (directory + 20, struct.pack("<II", 2**31, 2**31)),
        "not where": (directory + 42, struct.pack("<I", 7)),
        "damaged or incomplete": (content.index(b"PK\x05\x06") + 12, struct.pack("<I", 2**31)),
    }
    for message, (position, value) in changes.items():
        changed = content.copy()
        changed[position : position + len(value)] = value
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=message):
            torch_file.read(path)


def test_names_in_archives_are_no_paths(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../archive/data.pkl", pickled([tensor()]))
    with pytest.raises(ValueError, match="no single ARCHIVE/data.pkl"):
        torch_file.read(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../data.pkl", pickled([1]))
        archive.writestr("/etc/passwd", b"")
    assert torch_file.read(path) == [1]
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


def test_a_record_twice(tmp_path):
    path = write_zip(tmp_path / "a.pth", pickled([tensor()]))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("archive/data.pkl", pickled([1]))
    with pytest.raises(ValueError, match="twice"):
        torch_file.read(path)


def test_big_endian_is_refused(tmp_path):
    start = [*LEGACY_START[:2], {"little_endian": False}]
    for path in (
        write_zip(tmp_path / "a", pickled([tensor()]), byteorder=b"big"),
        write_legacy(tmp_path / "b", [tensor()], start=start),
    ):
        with pytest.raises(ValueError, match="big-endian"):
            torch_file.read(path)


def test_other_files(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        torch_file.read(path)
    path.write_bytes(b"<!DOCTYPE html><html>Not found</html>")
    with pytest.raises(ValueError, match="<!DOCTYPE html>.*complete"):
        torch_file.read(path)
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(ValueError, match="really a .pth file"):
        torch_file.read(path)
    write_zip(path, pickled([tensor()]), **{"constants.pkl": pickled(())})
    with pytest.raises(ValueError, match=r"is a TorchScript program; .*torch.jit.load\(FILE, 'cpu'\).state_dict"):
        torch_file.read(path)
    write_legacy(path, [tensor()], start=[LEGACY_START[0], 1002, LEGACY_START[2]])
    with pytest.raises(ValueError, match="protocol 1002"):
        torch_file.read(path)
    with pytest.raises(OSError):
        torch_file.read(tmp_path / "missing.pth")


@pytest.fixture(params=["mmdet2.pth", "mmdet2_legacy.pth", "tar"])
def content(request, tmp_path):
    if request.param == "tar":
        return write_tar(tmp_path / "a.pth", {"state_dict": {"a": TarTensor(5), "b": TarTensor(6)}}).read_bytes()
    return (DATA / request.param).read_bytes()


def test_truncated_files(content, tmp_path):
    path = tmp_path / "cut.pth"
    content = content.rstrip(b"\0")  # a tar archive ends with zeros
    for size in range(1, len(content), 23):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError):
            torch_file.read(path)


def test_damaged_files(content, tmp_path):
    """Whatever byte is wrong: a ValueError, or values; never another exception, or a crash."""
    path = tmp_path / "damaged.pth"
    random = np.random.default_rng(0)
    outcomes = set()
    for position in random.integers(0, len(content), 400):
        damaged = bytearray(content)
        damaged[position] ^= random.integers(1, 256)
        path.write_bytes(damaged)
        try:
            value = torch_file.read(path)
            state = value.get("state_dict") if isinstance(value, dict) else None
            for item in state.values() if isinstance(state, dict) else ():
                if isinstance(item, tensors.Tensor):
                    outcomes.add(type(item.numpy()))
        except ValueError as error:
            outcomes.add(type(error))
    assert outcomes == {np.ndarray, ValueError}
