"""The bytes of a pack's tars: names, headers and padding, with nothing of the machine in them."""

import tarfile

_BLOCK = tarfile.BLOCKSIZE
TAR_END = b"\0" * (2 * _BLOCK)
"""Two empty blocks."""


def member_stem(position: int, image_id: str) -> str:
    """Name an image in a tar.

    Parameters
    ----------
    position : int
        In the part, from 0; makes the name unique.
    image_id : str
        In the dataset.

    Returns
    -------
    str
        Without suffix and without a dot: WebDataset takes what is before the first dot for the name of a sample.
    """
    stem = image_id.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return f"{position:08d}-{stem.replace('.', '_')}"


def tar_header(name: str, n_bytes: int) -> bytes:
    """Return what comes before a file in a tar, without a date, an owner or anything else of the machine.

    Parameters
    ----------
    name : str
        Of the file.
    n_bytes : int
        Its length.

    Returns
    -------
    bytes
        Whole blocks.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mode = n_bytes, 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def padding(n_bytes: int) -> bytes:
    """Return what fills the last block of a file in a tar.

    Parameters
    ----------
    n_bytes : int
        Length of the file.

    Returns
    -------
    bytes
        Zeros.
    """
    return b"\0" * (-n_bytes % _BLOCK)
