"""What all commands do at their start."""

import os
import sys

from absl import app, flags

from gfl_tf import config_files


def run(define_flags, main):
    """Runs a command in this process, and ends it with the command's exit status.

    Args:
        define_flags: defines the command's absl flags; the docstring of its module is what --help shows above them.
        main: the command, called without arguments once the flags are right. It imports what needs TensorFlow, which
            is slow to import.
    """
    # TensorFlow starts with lines about CUDA and CPU instructions, all harmless. What really goes wrong comes as an
    # exception. Who wants them sets the variable.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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
