"""Names files that are often taken for a checkpoint, by how they begin."""

# (how it begins, what it is and what to do).
KINDS = (
    (
        b"version https://git-lfs",
        "a pointer of git-lfs, not the file itself: run `git lfs pull` where it comes from, or download the file",
    ),
    (b"<", "a web page (HTML or XML), such as that of a login or an error: download the file itself"),
    (b"{", "a text in JSON, such as the index of weights in several files: give the file of the weights themselves"),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file, as Keras writes it: --config.model.backbone.weights takes one, of the backbone alone",
    ),
    (b"\x1f\x8b", "compressed with gzip: unpack it first"),
    (b"\xfd7zXZ\0", "compressed with xz: unpack it first"),
    (b"BZh", "compressed with bzip2: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "an archive of 7-Zip: unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it first"),
)
LONGEST = 64  # bytes of a file's beginning that are enough, with some space before a web page


def describe(start):
    """What a file is that begins with the bytes `start`, with a remedy; "" where it may be a checkpoint."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((what for begin, what in KINDS if start.startswith(begin) or text.startswith(begin)), "")
