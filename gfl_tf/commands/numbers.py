"""Numbers in the text of a flag."""


def shares(flag, texts):
    """("levels", ["0.5", "0.9"]) to (0.5, 0.9), numbers between 0 and 1; ValueError: others, with the flag's name."""
    try:
        values = tuple(float(text) for text in texts)
    except ValueError:
        values = (0.0,)
    if not all(0 < value < 1 for value in values) or len(set(values)) < len(values):
        raise ValueError(f"--{flag} has {','.join(texts)!r}; give numbers between 0 and 1, none twice")
    return values


def seeds(flag, texts):
    """("seeds", ["0", "1"]) to (0, 1), whole numbers from 0 on; ValueError: others, with the flag's name."""
    if not texts or not all(text.isdecimal() for text in texts) or len(set(map(int, texts))) < len(texts):
        raise ValueError(f"--{flag} has {','.join(texts)!r}; give whole numbers from 0 on, none twice")
    return tuple(map(int, texts))


def parse(flag, text, separator, count=None):
    """("canvas", "800x1344", "x", 2) to (800, 1344), and an empty text to ().

    Args:
        flag: its name.
        text: whole numbers from 1 on with the separator between them.
        count: how many; None: any number of them.

    Raises:
        ValueError: it is another text; has the flag's name.
    """
    parts = text.split(separator) if text else []
    if not all(part.isdecimal() and int(part) for part in parts) or (parts and count not in (None, len(parts))):
        raise ValueError(
            f"--{flag} has {text!r}; give {count or 'whole'} numbers from 1 on with {separator!r} between them"
        )
    return tuple(int(part) for part in parts)
