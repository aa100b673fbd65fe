"""The report's templates, in mnist/report/templates."""

import math
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def _percent(fraction: float, digits: int) -> str:
    """Format a fraction as a percentage; NaN, the score of a class without images, as a dash."""
    return "–" if math.isnan(fraction) else f"{100 * fraction:.{digits}f} %"


def escape_markdown(text: str) -> str:
    """Escape the characters that Markdown, or an extension such as formulas, would interpret."""
    return re.sub(r"([\\`*_{}\[\]<>&#|~$^=!:.@])", r"\\\1", text)


def render(template: str, context: dict[str, Any]) -> str:
    """Render a template; HTML is escaped, and an undefined name is an error."""
    environment = Environment(autoescape=select_autoescape(["html"]), undefined=StrictUndefined)
    environment.loader = PackageLoader("mnist.report")
    environment.trim_blocks = environment.lstrip_blocks = environment.keep_trailing_newline = True
    environment.filters["percent"] = _percent
    environment.filters["markdown"] = escape_markdown
    return environment.get_template(template).render(context)
