"""Reads .safetensors files, with the library of that name."""

from gfl_tf.checkpoints import tensors

SUFFIX = ".safetensors"


def is_one(path, start):
    """Whether it is such a file, by its name or by the bytes `start` that it begins with: a length, then JSON."""
    return str(path).endswith(SUFFIX) or (start[8:10] == b'{"' and start[5:8] == bytes(3))


def read(path):
    """{name: `tensors.Tensor`}

    Raises:
        ValueError: the library is not installed, or cannot read it.
    """
    try:
        import safetensors  # an extra
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ValueError(
            f'{path} needs the library safetensors: pip install safetensors, or in the checkout ".[safetensors]"'
        ) from error
    try:
        arrays = load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} cannot be read as .safetensors: {error}; is the download complete?") from error
    except (TypeError, KeyError) as error:
        # Its number types are numpy's by name. TensorFlow brings bfloat16 along, in ml_dtypes.
        raise ValueError(
            f"{path} has numbers of a type that numpy does not know ({error}): save it as float32"
        ) from error
    return {name: tensors.Array(array) for name, array in arrays.items()}
