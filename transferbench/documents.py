"""Strict YAML → typed value. Knows YAML and pydantic; knows no particular document.

The YAML read is the 1.2 core schema: only ``true`` and ``false`` are booleans, ``1e-4`` is a number and ``010`` is ten.
PyYAML's own rules (1.1) read these as a string, a string and eight, and the last of two equal keys wins silently.
"""

import re
from collections.abc import Hashable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transferbench.errors import DocumentError

Place = tuple[str | int, ...]


class Document(BaseModel):
    """Base of every typed document: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

D = TypeVar("D", bound=Document)


def read_document(path: Path, kind: type[D]) -> D:
    """Read a YAML file into a typed value.

    Parameters
    ----------
    path : Path
        The file.
    kind : type of Document
        What it must hold.

    Returns
    -------
    Document
        An instance of `kind`.

    Raises
    ------
    DocumentError
        With every problem of the file, each with its line and path; or saying why the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        loader = _CoreLoader(text)
        root = loader.get_single_node()
    except OSError as problem:
        msg = f"{path}: cannot be read: {problem.strerror}"
        raise DocumentError(msg) from problem
    except UnicodeDecodeError as problem:
        msg = f"{path}: is no text in UTF-8 (byte {problem.start + 1}); save it as UTF-8"
        raise DocumentError(msg) from problem
    except yaml.YAMLError as problem:
        raise DocumentError(_not_yaml(path, problem)) from problem
    if root is None:
        msg = f"{path}: is empty"
        raise DocumentError(msg)
    problems = [(node, f"{_dotted(place)}: the key is written twice; keep one") for place, node in _repeated_keys(root)]
    try:
        value = kind.model_validate(_as_lists_and_tuples(loader.construct_document(root)))
    except yaml.YAMLError as problem:
        raise DocumentError(_not_yaml(path, problem)) from problem
    except ValidationError as invalid:
        for error in _telling(invalid.errors()):
            place = _without_tags(root, error["loc"])
            problems.append((_node_at(root, place), f"{_dotted(place)}: {_sentence(dict(error), place, kind)}"))
    if problems:
        lines = sorted((node.start_mark.line + 1, text) for node, text in problems)
        count = f"{len(lines)} problem{'s' if len(lines) > 1 else ''}"
        raise DocumentError("\n".join([f"{path}: {count}", *(f"  line {line}: {text}" for line, text in lines)]))
    return value


def sentences(invalid: ValidationError, kind: type[Document]) -> list[str]:
    """Say in the reader's words what is wrong with values that come from no file.

    Parameters
    ----------
    invalid : ValidationError
        As pydantic raised it.
    kind : type of Document
        What was to be made.

    Returns
    -------
    list of str
        A place and a sentence each.
    """
    errors = _telling(invalid.errors())
    return [f"{_dotted(error['loc'])}: {_sentence(dict(error), error['loc'], kind)}" for error in errors]


def _not_yaml(path: Path, problem: yaml.YAMLError) -> str:
    """Say where a file stops being YAML, and why."""
    mark = getattr(problem, "problem_mark", None)
    what = getattr(problem, "problem", None) or " ".join(str(problem).split())
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    return f"{path}: is not YAML: {where}{what}; look at the indentation and colons there"


def top_level_keys(path: Path) -> set[str]:
    """List the top keys of a YAML file, to tell one kind of document from another.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    set of str
        Empty if the file is no mapping or cannot be read; `read_document` says why.
    """
    try:
        root = _CoreLoader(path.read_text(encoding="utf-8")).get_single_node()
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return set()
    return {str(key.value) for key, _ in root.value} if isinstance(root, yaml.MappingNode) else set()


class _CoreLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalar rules of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - PyYAML's own class attribute


for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"~|null|", ["~", "n", ""]),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def _construct_int(_loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(node.value)


_CoreLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def _repeated_keys(node: yaml.Node, place: Place = ()) -> Iterator[tuple[Place, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            here = (*place, str(key.value))
            if key.value in seen:
                yield here, key
            seen.add(key.value)
            yield from _repeated_keys(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repeated_keys(value, (*place, index))


def _as_lists_and_tuples(value: Any) -> Any:
    """Turn lists into tuples: frozen documents hold tuples, and strict validation converts nothing."""
    if isinstance(value, list):
        return tuple(_as_lists_and_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _as_lists_and_tuples(item) for key, item in value.items()}
    return value


def _telling(errors: Sequence[Any]) -> list[Any]:
    """Drop "too short" where it only repeats that the items themselves are wrong."""
    places = [error["loc"] for error in errors]
    return [
        e
        for e in errors
        if e["type"] != "too_short" or not any(p != e["loc"] and p[: len(e["loc"])] == e["loc"] for p in places)
    ]


def _child(node: yaml.Node, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child: yaml.Node = node.value[step]
        return child
    return None


def _without_tags(root: yaml.Node, loc: Sequence[str | int]) -> Place:
    """Drop pydantic's names of union members, which are no places in the document; keep a missing last key."""
    node: yaml.Node | None = root
    place: list[str | int] = []
    for index, step in enumerate(loc):
        child = _child(node, step) if node is not None else None
        if child is not None:
            place.append(step)
            node = child
        elif index == len(loc) - 1:
            place.append(step)
    return tuple(place)


def _node_at(root: yaml.Node, place: Place) -> yaml.Node:
    """Return the deepest node on the way to a place; for an unknown key, the key itself."""
    node = root
    for index, step in enumerate(place):
        if index == len(place) - 1 and isinstance(node, yaml.MappingNode):
            return next((key for key, _ in node.value if key.value == str(step)), node)
        child = _child(node, step)
        if child is None:
            return node
        node = child
    return node


def _dotted(place: Place) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
    return text or "(whole document)"


_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def _sentence(error: dict[str, Any], place: Place, kind: type[Document]) -> str:
    """Say in the reader's words what pydantic found."""
    match error["type"]:
        case "extra_forbidden":
            known = _keys_at(kind, place[:-1])
            close = get_close_matches(str(place[-1]), known, n=1)
            guess = f" Did you mean {close[0]!r}?" if close else ""
            return f"unknown key.{guess} Known: {', '.join(known)}"
        case "missing":
            return "this key is required"
        case "union_tag_invalid":
            return (
                f"{error['ctx']['discriminator']} must be one of {error['ctx']['expected_tags']}, got "
                f"{error['ctx']['tag']!r}"
            )
        case "union_tag_not_found":
            return f"needs a key {error['ctx']['discriminator']}"
        case kind_of_error if kind_of_error in _EXPECTED:
            return f"must be {_EXPECTED[kind_of_error]}, got {_shown(error['input'])}"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            message = str(error["msg"])
            return f"{message[:1].lower()}{message[1:]}, got {_shown(error['input'])}"


def _shown(value: Any) -> str:
    names = {str: "text", bool: "a truth value", tuple: "a list", dict: "a mapping", type(None): "nothing"}
    what = names.get(type(value))
    text = repr(value)
    return f"{what} {text[:60]}" if what and not isinstance(value, (tuple, dict, type(None))) else what or text


def _keys_at(kind: Any, place: Place) -> list[str]:
    """List the keys that a document type allows at a place."""
    models = _models_in(kind)
    for step in place:
        if isinstance(step, int):
            continue
        models = [
            m for model in models if step in model.model_fields for m in _models_in(model.model_fields[step].annotation)
        ]
    return sorted({name for model in models for name in model.model_fields})


def _models_in(annotation: Any) -> list[type[Document]]:
    if isinstance(annotation, type) and issubclass(annotation, Document):
        return [annotation]
    if get_origin(annotation) in {Union, UnionType, tuple, dict, list, Annotated}:
        return [model for part in get_args(annotation) for model in _models_in(part)]
    return []
