"""The HTML page of a result: one file, no network, light and dark. Owns jinja2."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_page(**values: Any) -> str:
    """Fill the page's template.

    Parameters
    ----------
    **values : Any
        Everything the template names; escaped, but for the two figures, which are SVG of our own making.

    Returns
    -------
    str
        A whole HTML document.
    """
    environment = Environment(
        loader=PackageLoader("transferbench.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("result.html.j2").render(**values)
