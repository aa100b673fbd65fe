"""The catalogue of data sets, read from datasets.yaml: sources, checksums and class names."""

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from stages.lib.errors import UserError
from stages.lib.params import Params, read_mapping
from stages.lib.paths import DATASETS, relative

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


class DownloadParams(Params):
    """Which data set the pipeline runs on."""

    section = "download"
    dataset: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]


class PublishedFile(BaseModel):
    """A file as published: what its bytes must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    size: int = Field(gt=0)
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

    def matches(self, path: Path) -> bool:
        """Whether a file on disk has the published bytes."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


class Dataset(BaseModel):
    """An entry of the catalogue."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: str
    mirrors: list[str]
    files: dict[str, PublishedFile]
    classes: Annotated[list[str], Field(min_length=2, max_length=256)]
    box: int | None = Field(default=None, gt=0)

    @field_validator("files")
    @classmethod
    def _four(cls, files: dict[str, PublishedFile]) -> dict[str, PublishedFile]:
        if set(files) != set(FILES):
            raise ValueError(f"should be exactly {', '.join(FILES)}")
        return files

    @field_validator("classes")
    @classmethod
    def _different(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) < len(classes):
            raise ValueError("should be different names")
        return classes


def find_dataset(name: str) -> Dataset:
    """Look a data set up.

    Raises:
        UserError: the catalogue has no such entry, or the entry is not as it should be.
    """
    where = relative(DATASETS)
    catalogue = read_mapping(DATASETS)
    if name not in catalogue:
        raise UserError(
            f"params.yaml: download.dataset is '{name}', but {where} has only {', '.join(map(str, catalogue))}"
        )
    try:
        return Dataset.model_validate(catalogue[name])
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, (name, *problem["loc"])))
        raise UserError(f"{where}: {key}: {problem['msg'].removeprefix('Value error, ')}") from None
