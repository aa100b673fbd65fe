"""Texts made from the templates in mnist/report/templates."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


def render(template: str, context: Mapping[str, Any]) -> str:
    """Fill a template; in HTML, what is filled in is text and never markup. A name that is missing is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = lambda share, digits: f"{100 * share:.{digits}f} %"
    return environment.get_template(template).render(context)
