"""A demo of an exported model in the browser: a page, and what it asks, as a WSGI application.

    GET  /         the page, which needs nothing else
    POST /detect   the bytes of an image -> JSON, see `demo_model.Export.answer`

An error is JSON too, {"error": one line}. Nothing else is served, no file above all.
"""

import base64
import collections.abc
import hashlib
import ipaddress
import json
import re
import typing
import urllib.parse

import tensorflow as tf
from werkzeug import exceptions
from werkzeug.wrappers import Request, Response

from gfl_tf.serving import demo_model
from gfl_tf.visualization import detections as drawing
from gfl_tf.visualization import pages

MAX_MIB = 64


class _Request(Request):
    max_content_length = MAX_MIB << 20


class Demo:
    """The WSGI application."""

    def __init__(self, export: demo_model.Export, names: collections.abc.Iterable[str] = ()):
        """A demo of `export`; `names` of the machine, besides localhost and its addresses, under which it answers."""
        self._export = export
        self._names = {"localhost", *(name.lower() for name in names)}
        self._page = _page(export)
        self._headers = {
            "Content-Security-Policy": _security_policy(self._page),
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }

    def __call__(
        self, environ: dict[str, typing.Any], start_response: collections.abc.Callable
    ) -> collections.abc.Iterable[bytes]:
        request = _Request(environ)
        try:
            response = self._answer(request)
        except exceptions.HTTPException as error:
            response = error.get_response()
            response.mimetype, response.data = "application/json", json.dumps({"error": error.description})
        response.headers.update(self._headers)
        return response(environ, start_response)

    def _answer(self, request):
        self._refuse_other_sites(request)
        routes = {"/": (("GET", "HEAD"), self._show), "/detect": (("POST",), self._detect)}
        if request.path not in routes:
            raise exceptions.NotFound("there is nothing here: the demo is at /")
        methods, respond = routes[request.path]
        if request.method not in methods:
            raise exceptions.MethodNotAllowed(methods, f"{request.path} takes {' and '.join(methods)} alone")
        return respond(request)

    def _refuse_other_sites(self, request):
        """Raises Forbidden where another website may be asking, by way of the user's browser.

        A site whose name was made to point at this machine (DNS rebinding) has that name as Host: an address cannot be
        made to. A site that sends a request here has its own Origin; programs other than browsers have none.
        """
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        if not _is_address(host) and _host_name(host) not in self._names:
            raise exceptions.Forbidden(
                f"this demo does not answer under the name {host!r}: open it by the address that it printed, or start"
                " it with --host=NAME"
            )
        if origin is not None and urllib.parse.urlsplit(origin).netloc != host:
            raise exceptions.Forbidden(f"this demo answers its own page alone, not {origin!r}")

    def _show(self, request):
        return Response(self._page, mimetype="text/html")

    def _detect(self, request):
        if request.content_length is None:  # sent in pieces: werkzeug would cut it off at the limit, and say nothing
            raise exceptions.LengthRequired("say how long the file is: Content-Length")
        try:
            encoded = request.get_data(cache=False)
        except exceptions.RequestEntityTooLarge:
            raise exceptions.RequestEntityTooLarge(f"the file has more than {MAX_MIB} MiB") from None
        try:
            found = self._export.answer(encoded)
        except demo_model.UnreadableError as error:
            raise exceptions.BadRequest(str(error)) from error
        except tf.errors.ResourceExhaustedError as error:
            raise exceptions.ServiceUnavailable("there is too little memory for this image") from error
        return Response(json.dumps(found), mimetype="application/json")


def _host_name(host):
    """The name in a Host header, without the port; None where it is none."""
    try:
        return urllib.parse.urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_address(host):
    try:
        return bool(ipaddress.ip_address(_host_name(host)))
    except ValueError:
        return False


def _page(export):
    colours = [drawing.class_colour(index) for index in range(len(export.class_names))]
    settings = {
        "max_mib": MAX_MIB,
        "classes": [{"colour": _css(colour), "ink": _css(drawing.ink_on(colour))} for colour in colours],
    }
    return pages.render(
        "demo.html",
        title=export.name,
        class_names=export.class_names,
        knows_edges=export.knows_edges,
        calibrated=export.calibrated,
        levels=export.levels,
        settings=settings,
    )


def _css(colour):
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _security_policy(page):
    """The Content-Security-Policy of a page: its own style and script, pictures that it has made, and this server."""

    def digests(tag):
        texts = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        return " ".join(f"'sha256-{digest}'" for digest in hashes)

    return (
        f"default-src 'none'; style-src {digests('style')}; script-src {digests('script')}; img-src blob: data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
