"""Public functions say what they take and what they give, in numpydoc."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "transferbench"
# Commands are documented by their help texts; the terminal's classes repeat the documented protocol.
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if "cli" not in path.relative_to(PACKAGE).parts]


def public(tree):
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node, node.name
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node, node.name
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield inner, f"{node.name}.{inner.name}"


def section(text, title):
    match = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


def described(text, title="Parameters"):
    names = re.findall(r"^(\*{0,2}\w[\w, *]*?)(?: :|$)", section(text, title), flags=re.MULTILINE)
    return {name.strip(" *") for group in names for name in group.split(",")}


def arguments(node):
    spec = node.args
    every = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *filter(None, (spec.vararg, spec.kwarg))]
    return {a.arg for a in every} - {"self", "cls"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_public_things_are_documented(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module says what it knows"
    for node, name in public(tree):
        text = ast.get_docstring(node) or ""
        assert text, f"{name} has no docstring"
        if isinstance(node, ast.ClassDef):
            continue
        brief = not section(text, "Parameters") and not section(text, "Returns")
        decorated = {getattr(d, "id", getattr(d, "attr", "")) for d in node.decorator_list}
        stub = len(node.body) == 1  # a protocol's method
        # The arrays of compiled functions have the same names everywhere: their module's docstring tells shapes and types.
        if stub or decorated & {"property", "cached_property", "compiled"} or (brief and "see `" in text):
            continue
        assert arguments(node) == described(text) if arguments(node) else True, (
            f"{name}: {arguments(node)} against {described(text)}"
        )
        gives = node.returns is not None and ast.unparse(node.returns) != "None"
        if gives and "contextmanager" not in decorated:
            assert section(text, "Returns") or section(text, "Yields"), f"{name} does not say what it gives"
