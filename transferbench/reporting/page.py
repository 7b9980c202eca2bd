"""HTML pages: one file each, no network, light and dark. Owns jinja2."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_page(template: str, /, **values: Any) -> str:
    """Fill a page's template.

    Parameters
    ----------
    template : str
        File of the template.
    **values : Any
        Everything the template names; escaped, but for what is marked as safe: style sheets and charts of our own
        making.

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
    return environment.get_template(template).render(**values)
