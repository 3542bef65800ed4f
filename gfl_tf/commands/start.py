"""What all commands do at their start."""

import importlib
import os
import re
import signal
import sys

from absl import app, flags

from gfl_tf import config_files
from gfl_tf.training import fields

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


def define_config(help_string, required=True, default=None):
    """Defines --config and, behind it, --config.PART.FIELD of all its fields; see `load_config`."""
    flags.DEFINE_string("config", default, help_string)
    if required and default is None:
        flags.mark_flag_as_required("config")


def load_config(run_dir=None):
    """Imports TensorFlow, and returns the config of --config with the fields that the command line sets.

    Wrong ones end the command. What can be checked without TensorFlow is, before it comes: it takes seconds, and the
    config files import it.

    Args:
        run_dir: whose config it is where there is no --config.
    """
    arguments = field_arguments()
    name = flags.FLAGS.config
    try:
        if name is None:
            config = fields.filled(config_files.read_run(run_dir))
            if any(re.match(r"--?config\.data\.path=", argument) for argument in arguments):
                config.data.update(dict.fromkeys(fields.DATA_PATHS, ""))  # the folder gives them anew
            config = config_files.overridden(config, arguments)
            import_tensorflow()
        else:
            import_tensorflow()
            config = config_files.overridden(config_files.load_config(name), arguments)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{os.path.basename(sys.argv[0])}: {error}") from error
    return config


def field_arguments():
    """The fields of --config that the command line sets, as "--config.FIELD=VALUE".

    Wrong ones end the command, as far as they show without the config.
    """
    _, arguments = split_arguments(sys.argv)
    try:
        fields.check_given(arguments)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{os.path.basename(sys.argv[0])}: {error}") from error
    return arguments


def split_arguments(arguments):
    """A command line without the fields of --config, and these alone as "--config.FIELD=VALUE"."""
    arguments = flags.FLAGS.read_flags_from_files(arguments, force_gnu=False)
    others, field_arguments = [], []
    while arguments and arguments[0] != "--":
        argument = arguments.pop(0)
        if not re.match(r"--?(no)?config\.", argument):
            others.append(argument)
            continue
        has_value = "=" in argument or not arguments or re.match(r"--?([a-z]|$)", arguments[0])
        field_arguments.append(argument if has_value else f"{argument}={arguments.pop(0)}")
    return others + arguments, field_arguments


def _parse(arguments):
    if "config" not in flags.FLAGS:
        return app.parse_flags_with_usage(arguments)
    try:
        arguments, _ = split_arguments(arguments)
        rest = app.parse_flags_with_usage(arguments)
        if flags.FLAGS.config is not None:
            config_files.find(flags.FLAGS.config.partition(":")[0])
    except flags.Error as error:  # a --flagfile that cannot be read
        raise SystemExit(str(error)) from error
    except ValueError as error:
        raise SystemExit(f"--config: {error}") from error
    return rest
