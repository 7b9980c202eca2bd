"""Where the shipped recipes/ and datasets/ are: inside the installed package, or beside it in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def folder(kind: str) -> Path:
    """Return a shipped folder of documents.

    Parameters
    ----------
    kind : {"recipes", "datasets"}
        Which.

    Returns
    -------
    Path
        In a wheel the folder is packed into the package; in a checkout it stands at the top.
    """
    packed = _PACKAGE / kind
    return packed if packed.is_dir() else _PACKAGE.parent / kind
