"""The report's templates, in mnist/report/templates."""

import re
from dataclasses import asdict
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from mnist.style import DARK, LIGHT, format_percent, format_probability


def escape_markdown(text: str) -> str:
    """Escape the characters that Markdown, or an extension such as formulas, would interpret."""
    return re.sub(r"([\\`*_{}\[\]<>&#|~$^=!:.@])", r"\\\1", text)


def render(template: str, context: dict[str, Any]) -> str:
    """Render a template; HTML is escaped, and an undefined name is an error."""
    environment = Environment(autoescape=select_autoescape(["html"]), undefined=StrictUndefined)
    environment.loader = PackageLoader("mnist.report")
    environment.trim_blocks = environment.lstrip_blocks = environment.keep_trailing_newline = True
    environment.globals["palettes"] = {"light": asdict(LIGHT), "dark": asdict(DARK)}
    environment.filters["percent"] = format_percent
    environment.filters["probability"] = format_probability
    environment.filters["markdown"] = escape_markdown
    text = environment.get_template(template).render(context)
    # A page has no line break before %.
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text) if template.endswith(".html") else text
