"""The catalogue of data sets, one YAML file each in datasets/: sources, checksums and class names."""

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from mnist.core.errors import UserError
from mnist.core.params import Params, read_yaml
from mnist.core.paths import DATASETS, relative

KINDS = ("images-idx3", "labels-idx1")
FILES = tuple(f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in KINDS)


class DownloadParams(Params):
    """The data set that the pipeline runs on."""

    section = "download"
    dataset: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]


class PublishedFile(BaseModel):
    """Size in bytes and SHA-256 of a file as published."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    size: int = Field(gt=0)
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

    def matches(self, path: Path) -> bool:
        """Whether a file on disk has the published bytes."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


def _check_file_names(files: dict[str, PublishedFile]) -> dict[str, PublishedFile]:
    if set(files) != set(FILES):
        raise ValueError(f"should be exactly {', '.join(FILES)}")
    return files


def _check_unique(classes: list[str]) -> list[str]:
    if len(set(classes)) < len(classes):
        raise ValueError("should be unique names")
    return classes


class Dataset(BaseModel):
    """A data set of the catalogue; `box` is the side in pixels of the square that new images are scaled to fit."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: str
    mirrors: list[str]
    files: Annotated[dict[str, PublishedFile], AfterValidator(_check_file_names)]
    classes: Annotated[list[str], Field(min_length=2, max_length=256), AfterValidator(_check_unique)]
    box: int | None = Field(default=None, gt=0)


def find_dataset(name: str) -> Dataset:
    """Read a data set's file in the catalogue; UserError if there is none, or it is not valid."""
    path = DATASETS / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in DATASETS.glob("*.yaml")))
        raise UserError(f"params.yaml: download.dataset is '{name}', but {relative(DATASETS)}/ has only {known}")
    try:
        return Dataset.model_validate(read_yaml(path))
    except ValidationError as error:
        key, message = error.errors()[0]["loc"], error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"{relative(path)}: {'.'.join(map(str, key))}: {message}") from None
