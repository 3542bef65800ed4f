"""The demo's server: werkzeug's, for one user or a few."""

import collections.abc
import errno
import ipaddress
import socket

from werkzeug import serving


class _Handler(serving.WSGIRequestHandler):
    def log_request(self, code="-", size="-"):
        """Says nothing of a request."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections at `port` of `host`; 0: at any port that is free.

    They wait for `serve`. So a port that is in use is known before the seconds in which a model is loaded.

    Raises:
        OSError: it cannot; says why, in one line.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET  # as werkzeug has it
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise OSError(f"port {port} of {host} is in use; give another --port, or --port=0 for any") from error
        raise OSError(f"cannot listen at port {port} of {host!r}: {getattr(error, 'strerror', error)}") from error


def is_loopback(listening: socket.socket) -> bool:
    """Whether programs of this machine alone reach the socket."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def url(host: str, listening: socket.socket) -> str:
    """Where a browser finds what listens at `host`."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listening.getsockname()[1]}/"


def serve(application: collections.abc.Callable, listening: socket.socket) -> None:
    """Answers requests, each in a thread of its own, until Ctrl-C."""
    host, port = listening.getsockname()[:2]
    server = serving.make_server(
        host, port, application, threaded=True, request_handler=_Handler, fd=listening.fileno()
    )
    server.serve_forever()
