"""Augmentations: a list of named operations, each in a file of this folder.

In a config, by name and with the fields that are not at their default:

    data.augmentations = (dict(name="crop", smallest=0.5), dict(name="flip"), dict(name="blur", sigma=(0.1, 1.0)))

In Python: `training_batches(..., augmentations=[Crop(smallest=0.5), Flip(), Blur(sigma=(0.1, 1.0))])`.

The list is worked off in its order. Each class says in its `stage` whether it works before the resize, in pixels of the
file (crop), is the resize (zoom, mosaic), or works after it (all others); a list in another order is refused. Where
there is none, the plain resize stands between. Every operation draws from a seed of its own: adding or removing one
changes nothing of what the others draw.
"""

import importlib
import pkgutil

from gfl_tf.data.augmentations.operation import OPERATIONS, Frame, Operation, Sample, Stage
from gfl_tf.data.augmentations.sequence import Augmentations, from_config, with_resize

# All files are read, so that an operation is known by being there.
for _file in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_file.name)
