"""Reading params.yaml: each section as a typed class, with errors that name the key, the value and the remedy."""

import difflib
import re
import reprlib
import shlex
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

from mnist.core.errors import UserError
from mnist.core.paths import PARAMS, relative

SECTIONS = ("download", "preprocess", "train", "augmentation", "plot", "predict", "gate", "compute")
MAX_YAML_BYTES = 100_000  # a parser can take seconds for a file ten times as large
MAX_SCALAR = 1000  # characters
MAX_DEPTH = 100  # levels of nested lists and mappings
SHORT_REPR = reprlib.Repr()
SHORT_REPR.maxlevel = 1  # an invalid value may be of any type and size


class Params(BaseModel):
    """A section of params.yaml; a subclass gives each key its type and range."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
    section: ClassVar[str]


def matching(pattern: str, meaning: str) -> AfterValidator:
    """A check that all of a text matches a regular expression, which the error describes in words."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"should be {meaning}")
        return text

    return AfterValidator(check)


Section = TypeVar("Section", bound=Params)


def read_params(section: type[Section]) -> Section:
    """Read and check one section of params.yaml; UserError names each key and value that is not valid."""
    values = read_sections(section.section)[section.section]
    try:
        return section.model_validate(values)
    except ValidationError as error:
        problems = [_explain(section, problem) for problem in error.errors()[:20]]
        raise UserError("\n".join(f"{relative(PARAMS)}: {problem}" for problem in problems)) from None


def read_sections(*names: str) -> dict[str, Any]:
    """Read sections of params.yaml without checking their values; UserError if one is missing."""
    name = relative(PARAMS)
    content = read_yaml(PARAMS)
    for key in content:
        if key not in SECTIONS:
            raise UserError(f"{name}: unknown section {_hint(key, SECTIONS)}")
    for key in names:
        if key not in content:
            raise UserError(f"{name}: section '{key}' is missing; restore it with `git checkout {name}`")
    return {key: content[key] for key in names}


def read_yaml(path: Path, *, as_text: bool = False) -> dict[str, Any]:
    """Read a mapping from a YAML file exactly as DVC does, by ruamel.yaml; UserError if that is not possible.

    `as_text` keeps each value as the text in the file: 010, 1.50, no and null.
    """
    name = relative(path)
    try:
        with path.open("rb") as file:
            encoded = file.read(MAX_YAML_BYTES + 1)
    except FileNotFoundError:
        remedy = f"if it is in git, restore it with `git checkout {shlex.quote(name)}`"
        raise UserError(f"{name} is missing; {remedy}") from None
    if len(encoded) > MAX_YAML_BYTES:
        raise UserError(f"{name} has more than {MAX_YAML_BYTES:,} bytes; shorten it")
    try:
        text = encoded.decode("utf-8")
        _check_limits(text)
        content = YAML(typ="base" if as_text else "safe").load(text)
    except Exception as error:  # for a value that does not fit its tag, almost any type: KeyError, IndexError
        raise UserError(f"{name} is not valid YAML: {' '.join(str(error).split())[:500]}") from None
    if not isinstance(content, dict) or not content:
        raise UserError(f"{name} should contain `key: value` lines")
    return content


def _check_limits(text: str) -> None:
    """Refuse what exhausts memory (nested merge keys) or the stack, or cannot be printed (integers of 4,301 digits)."""
    depth = 0
    for event in YAML(typ="safe").parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        unquoted = getattr(event, "value", "") == "<<" and event.implicit[0]  # `! "<<"` counts as unquoted, too
        is_merge = unquoted or getattr(event, "tag", "") == "tag:yaml.org,2002:merge"
        if is_merge or depth > MAX_DEPTH or len(getattr(event, "value", "")) > MAX_SCALAR:
            limits = f"values of more than {MAX_SCALAR:,} characters, and more than {MAX_DEPTH} levels are not allowed"
            raise ValueError(f"line {event.start_mark.line + 1}: merge keys (<<), {limits}")


def _explain(section: type[Params], problem: Any) -> str:
    """Describe one of pydantic's errors in one line."""
    key = ".".join(map(str, (section.section, *problem["loc"])))[:100]
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key}: {_hint(problem['loc'][-1], tuple(section.model_fields))}"
    if problem["type"] == "missing":
        return f"{key} is missing"
    allowed = problem["msg"].removeprefix("Input ").removeprefix("String ").removeprefix("Value error, ")
    return f"{key} is {SHORT_REPR.repr(problem['input'])}, but {allowed}"


def _hint(key: object, known: tuple[str, ...]) -> str:
    """Quote an unknown key, and suggest the nearest known one."""
    near = difflib.get_close_matches(str(key), known, n=1)
    shown = SHORT_REPR.repr(str(key))
    return f"{shown}; did you mean '{near[0]}'?" if near else f"{shown}; known are {', '.join(known)}"
