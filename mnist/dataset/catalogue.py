"""The catalogue of data sets, one YAML file each in datasets/: sources, checksums and class names."""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from mnist.core.errors import UserError
from mnist.core.params import Params, matching, read_yaml
from mnist.core.paths import DATASETS, relative

FILES = tuple(f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))

JOINERS = "\u200c\u200d"  # zero-width (non-)joiners, which Arabic script and others need


DatasetName = Annotated[str, matching("[a-z0-9_]+", "a name of lower-case letters, digits and _")]


class DownloadParams(Params):
    """The data set that the pipeline runs on."""

    section = "download"
    dataset: DatasetName


class PublishedFile(BaseModel):
    """Size in bytes and SHA-256 of a file as published."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    size: int = Field(gt=0)
    sha256: Annotated[str, matching("[0-9a-f]{64}", "64 hexadecimal digits in lower case, as `sha256sum` prints")]

    def matches(self, path: Path) -> bool:
        """Whether a file on disk has the published bytes."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


def check_name(name: str) -> str:
    """Return a class name or a title; ValueError if the figures and tables cannot show it."""
    if not name.strip():
        raise ValueError("should not be empty")
    for character in name:
        if not character.isprintable() and character not in JOINERS:
            raise ValueError(f"{name!r} has the control character {character!r}; write it without")
    if missing := "" if name.isascii() else _missing_glyphs(name):
        font = "which DejaVu Sans, the font of the figures, does not have"
        raise ValueError(f"'{name}' has {' '.join(missing)}, {font}; write it in another script")
    return name


def _missing_glyphs(text: str) -> str:
    """The characters that the regular or the bold font of the figures does not have."""
    from matplotlib import get_data_path  # here, because few names need it, and importing it takes time
    from matplotlib.ft2font import FT2Font

    fonts = [FT2Font(f"{get_data_path()}/fonts/ttf/{name}.ttf") for name in ("DejaVuSans", "DejaVuSans-Bold")]
    return "".join(c for c in dict.fromkeys(text) if not all(font.get_char_index(ord(c)) for font in fonts))


Name = Annotated[str, Field(max_length=100), AfterValidator(check_name)]


class Dataset(BaseModel):
    """A data set of the catalogue; title and class names are text as written in the file, numbers included.

    `prepare`: whether predict.py separates ink from paper in new images and centres it; otherwise it only resizes them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: Name
    mirrors: list[str]
    files: dict[str, PublishedFile]
    classes: Annotated[list[Name], Field(min_length=2, max_length=256)]
    prepare: bool = True

    @field_validator("files", "classes")
    @classmethod
    def _check_names(cls, names: Any, info: ValidationInfo) -> Any:
        if info.field_name == "files" and set(names) != set(FILES):
            raise ValueError(f"should be exactly {', '.join(FILES)}")
        if len(set(names)) < len(names):
            raise ValueError("should be unique names")
        return names


def find_other(folder: Path, dataset: Dataset) -> str | None:
    """The title of a different data set of the catalogue whose files are in a folder, None if there is none."""

    def has_file(candidate: Dataset) -> bool:
        return any(published.matches(folder / name) for name, published in candidate.files.items())

    for path in [] if has_file(dataset) else sorted(DATASETS.glob("*.yaml")):
        with suppress(UserError):  # of a file of the catalogue that is not valid
            if has_file(other := find_dataset(path.stem)):
                return other.title
    return None


def find_dataset(name: str) -> Dataset:
    """Read a data set of the catalogue; UserError if it does not exist, or is not valid."""
    path = DATASETS / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in DATASETS.glob("*.yaml")))
        raise UserError(f"params.yaml: download.dataset is '{name}', but {relative(DATASETS)}/ has only {known}")
    return check_entry(read_yaml(path, as_text=True), path)


def check_entry(entry: dict[str, Any], path: Path) -> Dataset:
    """Check a data set's entry, the content of a file of the catalogue; UserError names the key that is not valid."""
    try:
        return Dataset.model_validate(entry)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise UserError(f"{relative(path)}: {key}: {problem['msg'].removeprefix('Value error, ')}") from None
