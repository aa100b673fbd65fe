"""The report's templates, in mnist/report/templates."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


def render(template: str, context: dict[str, Any]) -> str:
    """Render a template; HTML is escaped, and an undefined name is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = lambda fraction, digits: f"{100 * fraction:.{digits}f} %"
    return environment.get_template(template).render(context)
