"""Equal values have equal text and equal hashes: what every key of the program is made of."""

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Serialise a value so that equal values give equal text.

    Parameters
    ----------
    value : Any
        Anything that ``json`` can write; dataclasses must be passed through ``asdict`` first.

    Returns
    -------
    str
        Sorted keys, no blanks, no NaN.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_of(value: Any) -> str:
    """Hash a JSON-like value.

    Parameters
    ----------
    value : Any
        What `canonical_json` accepts.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
