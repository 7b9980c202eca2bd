"""Names → objects: built-in dictionaries first, then entry points; a typo gets a suggestion."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from transferbench import builtin
from transferbench.errors import UnknownNameError

T = TypeVar("T")

_MOST_GUESSES, _MOST_LISTED = 6, 16

NET_SOURCES = ("timm:", "torchvision:")
"""Beginnings of names of nets that other libraries make."""

OWN_DATA = ("imagefolder:", "csv:")
"""Beginnings of dataset names that are a path of the user's."""


def lookup(kind: str, name: str, builtins: Mapping[str, T], group: str | None = None) -> T:
    """Find the object that a name stands for.

    Parameters
    ----------
    kind : str
        What is looked for, in the singular, for the message.
    name : str
        As the user wrote it.
    builtins : Mapping
        The members this package ships; they win over plugins.
    group : str, optional
        Entry-point group of third-party members, for instance ``transferbench.datasets``.

    Returns
    -------
    object
        The member.

    Raises
    ------
    UnknownNameError
        With the nearest known name and the list of all.
    """
    if name in builtins:
        return builtins[name]
    plugins = {point.name: point for point in entry_points(group=group)} if group else {}
    if name in plugins:
        loaded: T = plugins[name].load()
        return loaded
    raise UnknownNameError(unknown(kind, name, {*builtins, *plugins}))


def unknown(kind: str, name: str, known: Iterable[str], *, listed_by: str | None = None) -> str:
    """Say that a name is not known.

    Parameters
    ----------
    kind : str
        What was looked for, in the singular.
    name : str
        As the user wrote it.
    known : iterable of str
        All names there are.
    listed_by : str, optional
        The command that lists them, for when they are many.

    Returns
    -------
    str
        One line: the name, the known names that it may stand for, and all known names or where they are listed.
    """
    names = sorted(known)
    guesses = _guesses(name, names)
    guess = f" Did you mean {'one of ' * (len(guesses) > 1)}{', '.join(map(repr, guesses))}?" if guesses else ""
    many = listed_by is not None and len(names) > _MOST_LISTED
    told = f"All {len(names)}: {listed_by}" if many else f"Known: {', '.join(names) or 'none'}"
    return f"unknown {kind} {name!r}.{guess} {told}"


def _guesses(name: str, names: Sequence[str]) -> list[str]:
    """Find what a name may stand for: another case, the nearest spelling, or else what it is the beginning of."""
    folded = {known.casefold(): known for known in names}
    meant = name.casefold()
    begun = [known for known in names if len(meant) > 2 and known.casefold().startswith(meant)]
    if meant in folded:
        return [folded[meant]]
    if begun:
        return begun[:_MOST_GUESSES]
    return [folded[close] for close in get_close_matches(meant, folded, n=1)]


def dataset_names() -> list[str]:
    """List every dataset that has a record or a plugin.

    Returns
    -------
    list of str
        Sorted.
    """
    recorded = {path.parent.name for folder in builtin.record_folders() for path in folder.glob("*/dataset.yaml")}
    return sorted(recorded | _plugin_names("datasets"))


def is_dataset(name: str) -> bool:
    """Tell whether a dataset has a record or a plugin.

    Parameters
    ----------
    name : str
        As the user wrote it; not a path of the user's own data.

    Returns
    -------
    bool
        Whether `dataset_names` has it.
    """
    is_name = Path(name).name == name  # no path leads out of the folders
    recorded = is_name and any((folder / name / "dataset.yaml").is_file() for folder in builtin.record_folders())
    return recorded or name in _plugin_names("datasets")


def net_names(table: Iterable[str]) -> list[str]:
    """List the nets of Table 1 and those of plugins.

    Parameters
    ----------
    table : iterable of str
        The built-in names.

    Returns
    -------
    list of str
        Sorted.
    """
    return sorted({*table} | _plugin_names("nets"))


def is_net(name: str, table: Iterable[str]) -> bool:
    """Tell whether a name can be that of a net.

    Parameters
    ----------
    name : str
        As the user wrote it.
    table : iterable of str
        The built-in names.

    Returns
    -------
    bool
        True for nets of Table 1 and of plugins, and for whatever begins with ``timm:`` or ``torchvision:``; whether
        that library has the model is seen when it is made.
    """
    return name.startswith(NET_SOURCES) or name in set(table) or name in _plugin_names("nets")


def _plugin_names(kind: str) -> set[str]:
    """List the members that other packages announce; reads the metadata of all that is installed, 20 ms or more."""
    points: Any = entry_points(group=f"transferbench.{kind}")
    return set(points.names)
