"""HTML pages of one file each: they open without a server or a network.

A template of `templates/` extends `base.html`, which has the style, in light and in dark.
"""

import base64
import io
import os
import typing

import jinja2
from PIL import Image

from gfl_tf import files

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("gfl_tf.visualization"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: typing.Any) -> str:
    """The page of a template, such as "base.html"; values are escaped unless they are `markupsafe.Markup`."""
    return _TEMPLATES.get_template(template).render(**values)


def write(path: str | os.PathLike, template: str, **values: typing.Any) -> None:
    """Writes `render`'s page whole."""
    files.write(path, render(template, **values))


def jpeg_uri(picture: Image.Image) -> str:
    """An RGB picture as a data URI."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
