"""Versions of an exported model: numbered upwards, whole or absent, never overwritten, also under kill -9."""

import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest

from gfl_tf.serving import versions

# Makes versions in the folder argv[2] in child processes, each of which is killed one line further on, in whichever
# module that line is. Kills argv[3] of them, evenly spread. After each, whatever has a number must be whole, and the
# next version can be made. Has versions.py by its path argv[1]: a process with TensorFlow in it should not fork.
KILLED = """
import importlib.util, os, pathlib, signal, sys

spec = importlib.util.spec_from_file_location("versions", sys.argv[1])
versions = sys.modules["versions"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(versions)
os.fsync = lambda descriptor: None  # protects from power cuts alone, and takes nine tenths of the time
directory, kills = pathlib.Path(sys.argv[2]), int(sys.argv[3])

def make():
    with versions.new_version(directory, keep=2) as version:
        (version.partial / "variables").mkdir()
        for number in range(4):
            (version.partial / "variables" / str(number)).write_bytes(bytes(1000))
        (version.partial / "saved_model.pb").write_bytes(bytes(5000))
    return version.path

def lines_of_make(last):
    lines = 0
    def trace(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        if lines == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    try:
        make()
    finally:
        sys.settrace(None)
    return lines

def check():
    for path in directory.iterdir():
        if not path.name.startswith("."):
            sizes = sorted(file.stat().st_size for file in path.rglob("*") if file.is_file())
            assert path.name.isdecimal() and sizes == [1000] * 4 + [5000], (path, sizes)

make(), make()
total = lines_of_make(-1)
killed, halfway = 0, set()
for kill in range(kills):
    child = os.fork()
    if child == 0:
        lines_of_make(1 + kill * total // kills)
        os._exit(0)
    killed += os.waitpid(child, 0)[1] == signal.SIGKILL
    check()
    halfway.update(path.name[:7] for path in directory.glob(".*"))
    before = max(int(path.name) for path in directory.glob("[0-9]*"))
    assert make() == directory / str(before + 1)
    check()
    assert sorted(os.listdir(directory)) == sorted([str(before), str(before + 1)]), os.listdir(directory)
print(total, killed, *sorted(halfway))
"""


def make(directory, content="content", **options):
    with versions.new_version(directory, **options) as version:
        (version.partial / "content").write_text(content)
    return version.path


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def at_once(count, function):
    """Runs function(0) to function(count - 1) in as many threads, and raises what one of them raised."""
    barrier = threading.Barrier(count)
    errors = []

    def run(number):
        try:
            barrier.wait()
            function(number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_appears_at_the_end(tmp_path):
    directory = tmp_path / "models" / "m"
    with versions.new_version(directory) as version:
        assert version.path is None and not list(version.partial.iterdir())
        (version.partial / "content").write_text("all")
        assert all(name.startswith(".") for name in names(directory))
    assert version.path == directory / "1"
    assert (version.path / "content").read_text() == "all"
    assert names(directory) == ["1"]


def test_number_is_one_above_the_highest(tmp_path):
    for name in ("7", "8", "notes"):
        (tmp_path / name).mkdir()  # empty, so that a rename would succeed
    (tmp_path / "9").write_text("a file")
    assert make(tmp_path) == tmp_path / "10"
    assert names(tmp_path) == ["10", "7", "8", "9", "notes"]
    assert not list((tmp_path / "8").iterdir())


def test_number_that_another_takes_meanwhile(tmp_path, monkeypatch):
    make(tmp_path, "first")
    monkeypatch.setattr(versions, "_numbered", lambda directory: [])
    assert make(tmp_path, "second") == tmp_path / "2"
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    assert make(tmp_path, "third") == tmp_path / "3"
    assert [(tmp_path / name / "content").read_text() for name in "123"] == ["first", "second", "third"]


def test_is_readable_by_others(tmp_path):
    directory = tmp_path / "m"
    assert make(directory).stat().st_mode == directory.stat().st_mode


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_failure(tmp_path, error):
    make(tmp_path)
    with pytest.raises(type(error)):
        with versions.new_version(tmp_path, keep=1) as version:
            (version.partial / "content").write_text("half")
            raise error
    assert version.path is None and names(tmp_path) == ["1"]


def test_nothing_written_is_no_version(tmp_path):
    with pytest.raises(ValueError, match="nothing was written"):
        with versions.new_version(tmp_path):
            pass
    assert names(tmp_path) == []


def test_keeps_the_highest(tmp_path):
    for _ in range(11):
        make(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "3").rename(tmp_path / "other")
    (tmp_path / "3").symlink_to("other")
    assert make(tmp_path, keep=3) == tmp_path / "12"
    assert names(tmp_path) == ["10", "11", "12", "3", "notes", "other"]  # the link is none of ours
    make(tmp_path, keep=0)
    assert names(tmp_path) == ["10", "11", "12", "13", "3", "notes", "other"]
    make(tmp_path, keep=1)
    assert names(tmp_path) == ["14", "3", "notes", "other"]


def test_keeps_what_it_made_when_others_were_faster(tmp_path, monkeypatch):
    take_next_version = versions.take_next_version

    def take_and_be_overtaken(*args):
        path = take_next_version(*args)
        (tmp_path / "8").mkdir()
        return path

    monkeypatch.setattr(versions, "take_next_version", take_and_be_overtaken)
    for name in ("5", "6"):
        (tmp_path / name).mkdir()
    assert make(tmp_path, keep=1) == tmp_path / "7"
    assert names(tmp_path) == ["7", "8"]


def test_is_on_the_disk_before_it_has_its_number(tmp_path, monkeypatch):
    synced = []  # (inode, whether the version had its number)
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((os.fstat(file).st_ino, (tmp_path / "1").exists())))
    with versions.new_version(tmp_path) as version:
        (version.partial / "variables").mkdir()
        (version.partial / "variables" / "data").write_text("content")
    written = [version.path, version.path / "variables", version.path / "variables" / "data"]
    assert {inode for inode, numbered in synced if not numbered} == {path.stat().st_ino for path in written}
    assert [inode for inode, numbered in synced if numbered] == [tmp_path.stat().st_ino]


def test_negative_keep(tmp_path):
    with pytest.raises(ValueError, match="keep is -1"):
        make(tmp_path / "m", keep=-1)
    assert not (tmp_path / "m").exists()


def test_version_that_cannot_be_deleted_is_no_failure(tmp_path, monkeypatch):
    make(tmp_path)
    rename = os.rename

    def refuse(source, target):
        if source == tmp_path / "1":
            raise PermissionError("not yours")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    assert make(tmp_path, keep=1) == tmp_path / "2"
    assert names(tmp_path) == ["1", "2"]


@pytest.mark.parametrize("locks", [True, False])
def test_many_at_once(tmp_path, monkeypatch, locks):
    if not locks:  # as on NFS without its lock service

        def no_locks(*_):
            raise OSError("No locks available")

        monkeypatch.setattr(versions.fcntl, "flock", no_locks)
    taken = {}

    def take(number):
        taken[number] = make(tmp_path, str(number))

    at_once(16, take)
    assert names(tmp_path) == sorted(str(version) for version in range(1, 17))
    assert {number: (path / "content").read_text() for number, path in taken.items()} == {
        number: str(number) for number in range(16)
    }


def test_many_at_once_that_prune(tmp_path):
    for _ in range(5):
        at_once(8, lambda number: make(tmp_path, keep=1 + number % 2))
    assert names(tmp_path) in (["40"], ["39", "40"])


def test_numbers_are_taken_in_turn(tmp_path, monkeypatch):
    rename, seen = os.rename, []

    def rename_in_turn(source, target):
        if target == tmp_path / "1":
            descriptor = os.open(tmp_path, os.O_RDONLY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(descriptor)
            seen.append(target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_in_turn)
    make(tmp_path)
    assert seen == [tmp_path / "1"]


def test_leftovers_are_deleted_once_their_process_is_gone(tmp_path):
    program = "\n".join(
        [
            "import importlib.util, sys",
            "spec = importlib.util.spec_from_file_location('versions', sys.argv[1])",
            "versions = sys.modules['versions'] = importlib.util.module_from_spec(spec)",
            "spec.loader.exec_module(versions)",
            "with versions.new_version(sys.argv[2]) as version:",
            "    (version.partial / 'content').write_text('half')",
            "    print('written', flush=True)",
            "    sys.stdin.read()",
        ]
    )
    command = [sys.executable, "-c", program, versions.__file__, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "written\n"
        (hidden,) = tmp_path.glob(".exporting-*")
        old = time.time() - 10 * versions.FORGOTTEN_SECONDS
        for path in (hidden, *hidden.rglob("*")):
            os.utime(path, (old, old))
        make(tmp_path)
        assert (hidden / "version" / "content").read_text() == "half"
    finally:
        process.kill()
        process.communicate()
    make(tmp_path)
    assert names(tmp_path) == ["1", "2"]


def test_leftovers_of_other_machines_must_be_old(tmp_path, monkeypatch):
    monkeypatch.setattr(versions.platform, "node", lambda: "other")
    hidden, lock = versions._hidden_folder(tmp_path)
    lock.close()
    monkeypatch.setattr(versions.platform, "node", lambda: "other-and-here")
    make(tmp_path)
    assert hidden.exists()
    old = time.time() - versions.FORGOTTEN_SECONDS - 60
    for path in (hidden / "lock", hidden):
        os.utime(path, (old, old))
    make(tmp_path)
    assert names(tmp_path) == ["1", "2"]


@pytest.mark.parametrize(["module", "name"], [("tempfile", "mkdtemp"), ("fcntl", "flock")])
def test_folder_that_is_deleted_before_its_maker_has_the_lock(tmp_path, monkeypatch, module, name):
    """Another deletes leftovers just after the hidden folder was made, or just before its lock file is locked."""
    original = getattr(getattr(versions, module), name)
    calls = []

    def with_interruption(*args, **kwargs):
        calls.append(args)
        result = original(*args, **kwargs) if name == "mkdtemp" else None
        if len(calls) == 1:
            versions._delete_leftovers(tmp_path)
            assert names(tmp_path) == []
        return result if name == "mkdtemp" else original(*args, **kwargs)

    monkeypatch.setattr(getattr(versions, module), name, with_interruption)
    assert make(tmp_path) == tmp_path / "1"
    assert len(calls) > 1 and names(tmp_path) == ["1"]


def test_killed_at_any_moment(tmp_path):
    kills = 100
    command = [sys.executable, "-c", KILLED, versions.__file__, str(tmp_path / "m"), str(kills)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    total, killed, *halfway = result.stdout.split()
    assert int(total) > 4 * kills and int(killed) == kills
    assert halfway == [".deleti", ".export"], "no kill in the middle of writing, or none in the middle of deleting"
