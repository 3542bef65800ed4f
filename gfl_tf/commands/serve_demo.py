"""Shows in the browser what an exported model finds in a picture, and how sure it is of the edges.

Examples:
    gfl-serve-demo --model=saved_models/gflv2_shapes
    gfl-serve-demo --model=saved_models/gflv2_shapes/1 --port=8080

Open the address that it prints, and drop a picture. Ctrl-C ends it. Pictures go no further than this machine. It has no
password: --host=0.0.0.0 lets everybody on the network use it.
"""

import os
import socket
import sys

from absl import flags

from gfl_tf.commands import start
from gfl_tf.serving import versions

FLAGS = flags.FLAGS
STOPPED_STATUS = 130


def define_flags() -> None:
    flags.DEFINE_string("model", None, "saved_models/NAME, of which the newest version is taken, or NAME/VERSION.")
    flags.DEFINE_integer("port", 8000, "Where the page is; 0: any port that is free.", 0, 65535)
    flags.DEFINE_string("host", "127.0.0.1", "Address or name of this machine at which it answers.")
    flags.mark_flag_as_required("model")


def main() -> int:
    from gfl_tf.serving import demo_server

    try:
        path = versions.find(FLAGS.model)
        listening = demo_server.listen(FLAGS.host, FLAGS.port)
    except (OSError, ValueError) as error:
        raise SystemExit(f"serve_demo: {error}") from error
    names = [FLAGS.host]
    if not demo_server.is_loopback(listening):
        names.append(socket.gethostname())
        print(f"serve_demo: with --host={FLAGS.host} everybody on the network can use it: no password", file=sys.stderr)
    try:
        start.import_tensorflow()
        import tensorflow as tf

        from gfl_tf.serving import demo, demo_model

        try:
            export = demo_model.Export(path)
        except (OSError, ValueError, ImportError, tf.errors.OpError) as error:
            raise SystemExit(f"serve_demo: {error}") from error
        print(f"{os.fspath(path)} is at {demo_server.url(FLAGS.host, listening)}, until Ctrl-C", flush=True)
        demo_server.serve(demo.Demo(export, names), listening)
        export.close()
    except KeyboardInterrupt:
        return STOPPED_STATUS
    return 0


def run() -> None:
    start.run(define_flags, main)
