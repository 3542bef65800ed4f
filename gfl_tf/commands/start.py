"""What all commands do at their start."""

import importlib
import os
import signal
import sys

from absl import app, flags

from gfl_tf import config_files

QUIET = "3"  # TF_CPP_MIN_LOG_LEVEL
DONE = b"\0"  # ends what `import_tensorflow` holds back, when all went well


def run(define_flags, main):
    """Runs a command in this process, and ends it with the command's exit status.

    Args:
        define_flags: defines the command's absl flags; the docstring of its module is what --help shows above them.
        main: the command, called without arguments once the flags are right. After its own checks it calls
            `import_tensorflow`, which takes seconds, and imports what needs it.
    """
    # TensorFlow starts with lines about CUDA and CPU instructions, all harmless. What really goes wrong comes as an
    # exception. Who wants them sets the variable to less.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", QUIET)
    define_flags()
    # --help shows the docstring and the flags of the main module, which only starts the command.
    module = sys.modules[define_flags.__module__]
    sys.modules["__main__"].__doc__ = f"\n{module.__doc__}"
    for flag in flags.FLAGS.get_key_flags_for_module(module):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)

    def without_arguments(argv):
        if len(argv) > 1:
            raise app.UsageError(f"Unknown argument: {argv[1]}")
        return main()

    app.run(without_arguments, flags_parser=_parse)


def import_tensorflow():
    """Imports TensorFlow without the lines that it prints before it reads TF_CPP_MIN_LOG_LEVEL.

    Another process holds them back, and shows them if the import fails, be it that it ends the process.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != QUIET or not hasattr(os, "fork"):
        importlib.import_module("tensorflow")
        return
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        _hold_back(reader)
        os._exit(0)
    stderr = os.dup(2)
    os.dup2(writer, 2)
    os.close(reader)
    succeeded = False
    try:
        importlib.import_module("tensorflow")
        succeeded = True
    finally:
        sys.stderr.flush()
        if succeeded:
            os.write(writer, DONE)
        os.close(writer)
        os.dup2(stderr, 2)
        os.close(stderr)
        os.waitpid(child, 0)


def _hold_back(reader):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the other process, and thereby this one
    held = b""
    while not held.endswith(DONE):
        part = os.read(reader, 1 << 16)
        if not part:
            os.write(2, held)
            return
        held += part


def _parse(arguments):
    if "config" in flags.FLAGS:
        try:
            arguments = find_config(arguments)
        except ValueError as error:
            raise SystemExit(f"--config: {error}") from error
    return app.parse_flags_with_usage(arguments)


def find_config(arguments):
    """The command line `arguments` with the path of the config file in the place of a config's name."""
    found = list(arguments)
    for index, argument in enumerate(arguments):
        if argument == "--":
            break
        flag, equals, value = argument.partition("=")
        if flag not in ("--config", "-config"):
            continue
        if equals:
            found[index] = f"{flag}={_path(value)}"
        elif index + 1 < len(arguments):
            found[index + 1] = _path(arguments[index + 1])
    return found


def _path(value):
    name, colon, argument = value.partition(":")  # ml_collections hands what follows a colon to get_config()
    return f"{config_files.find(name)}{colon}{argument}"
