"""Reading params.yaml: each section as a typed class, with errors that name the key, the value and the remedy."""

import difflib
import re
import reprlib
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from yaml.constructor import ConstructorError

from stages.lib.errors import UserError
from stages.lib.paths import PARAMS, relative

SHORT = reprlib.Repr()
SHORT.maxlevel = 1  # a wrong value may be anything, however large
LARGEST = 100_000  # bytes of a YAML file; PyYAML takes seconds for some files ten times as large

SECTIONS = ("download", "preprocess", "train", "augmentation", "plot", "gate", "compute")


class Params(BaseModel):
    """A section of params.yaml. A subclass gives each key its type and range."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
    section: ClassVar[str]


Section = TypeVar("Section", bound=Params)


class Yaml12Loader(yaml.SafeLoader):
    """PyYAML reads `1e-05` as a string (YAML 1.1); DVC writes it, meaning a number (YAML 1.2)."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse a key that is there twice, as DVC does, and merge keys: ten nested lines of them fill the memory."""
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise ConstructorError(None, None, "merge keys (<<) are not allowed", key.start_mark)
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                raise ConstructorError(None, None, f"{SHORT.repr(key.value)} is there twice", key.start_mark)
            seen.add((key.tag, str(key.value)))

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Refuse a number in hexadecimal that Python would refuse in decimal, and could not print."""
        value = super().construct_yaml_int(node)
        str(value)
        return value


Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)
Yaml12Loader.add_constructor("tag:yaml.org,2002:int", Yaml12Loader.construct_yaml_int)


def read_params(section: type[Section]) -> Section:
    """Read one section of params.yaml.

    Args:
        section: the class that describes it.

    Returns:
        The section's values, checked.

    Raises:
        UserError: the file cannot be read; a section or key is unknown or missing; a value is of the wrong type or
            out of range.
    """
    name = relative(PARAMS)
    content = read_sections()
    if section.section not in content:
        raise UserError(f"{name}: section '{section.section}' is missing; it holds {', '.join(section.model_fields)}")
    try:
        return section.model_validate(content[section.section])
    except ValidationError as error:
        problems = [_explain(section, problem) for problem in error.errors()[:20]]
        raise UserError("\n".join(f"{name}: {problem}" for problem in problems)) from None


def read_sections(*names: str) -> dict[str, Any]:
    """Sections of params.yaml as they stand, their values unchecked; all sections if none is named.

    Raises:
        UserError: the file cannot be read; a section is unknown or missing.
    """
    name = relative(PARAMS)
    content = read_mapping(PARAMS)
    for key in content:
        if key not in SECTIONS:
            raise UserError(f"{name}: unknown section {_hint(key, SECTIONS)}")
    for key in names:
        if key not in content:
            raise UserError(f"{name}: section '{key}' is missing; restore it with `git checkout {name}`")
    return {key: content[key] for key in names} if names else content


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        UserError: it is missing, no YAML, or holds something else.
    """
    name = relative(path)
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise UserError(f"{name} is missing; if git has it, restore it with `git checkout {name}`") from None
    if len(text) > LARGEST:
        raise UserError(f"{name} has more than {LARGEST:,} bytes; make it shorter")
    try:
        content = yaml.load(text.decode("utf-8"), Yaml12Loader)  # noqa: S506, it is a SafeLoader
    except Exception as error:  # PyYAML lets a value that does not fit its tag end in almost any: KeyError, IndexError
        raise UserError(f"{name} is no valid YAML: {' '.join(str(error).split())[:500]}") from None
    if not isinstance(content, dict) or not content:
        raise UserError(f"{name} holds no `key: value`")
    return content


def _explain(section: type[Params], problem: Any) -> str:
    """Say in one line what pydantic found wrong."""
    key = ".".join(map(str, (section.section, *problem["loc"])))[:100]
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key}: {_hint(problem['loc'][-1], tuple(section.model_fields))}"
    if problem["type"] == "missing":
        return f"{key} is missing"
    allowed = problem["msg"].removeprefix("Input ").removeprefix("String ")
    return f"{key} is {SHORT.repr(problem['input'])}, but {allowed}"


def _hint(key: object, known: tuple[str, ...]) -> str:
    """Name a key that is not known, and the one that was probably meant."""
    near = difflib.get_close_matches(str(key), known, n=1)
    shown = SHORT.repr(str(key))
    return f"{shown}; did you mean '{near[0]}'?" if near else f"{shown}; known are {', '.join(known)}"
