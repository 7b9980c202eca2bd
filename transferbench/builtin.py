"""Where the shipped recipes/ and datasets/ are: inside the installed package, or beside it in a checkout."""

import os
from pathlib import Path

from transferbench.errors import DocumentError

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


def record_folders() -> list[Path]:
    """List the folders that hold dataset records, those of the user first.

    Returns
    -------
    list of Path
        The folders named in the environment variable ``TB_DATASETS`` (parted as in ``PATH``), then the shipped one.

    Raises
    ------
    DocumentError
        If a folder in ``TB_DATASETS`` does not exist.
    """
    named = [Path(part).expanduser() for part in os.environ.get("TB_DATASETS", "").split(os.pathsep) if part]
    for path in named:
        if not path.is_dir():
            msg = f"TB_DATASETS names {path}, which is no folder; name a folder that holds NAME/dataset.yaml"
            raise DocumentError(msg)
    return [*named, folder("datasets")]
