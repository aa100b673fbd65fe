"""Where each artefact lives: every path of the pipeline, once."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARAMS = ROOT / "params.yaml"
DATASETS = ROOT / "datasets"

RAW = ROOT / "data/raw"
PROCESSED = ROOT / "data/processed"
AUGMENTED = ROOT / "data/augmented/examples.npy"
# The state of an unfinished training. Elsewhere for experiments, which run in a temporary folder.
CHECKPOINTS = Path(os.environ.get("CHECKPOINTS", ROOT / ".checkpoints"))
MODEL = ROOT / "models/model.keras"

REPORTS = ROOT / "reports"
DATA_SUMMARY = REPORTS / "data.json"
HISTORY = REPORTS / "history.csv"
VALIDATION = REPORTS / "validation.json"
METRICS = REPORTS / "metrics.json"
PER_CLASS = REPORTS / "per_class.csv"
PREDICTIONS = REPORTS / "predictions.csv"
FIGURES = REPORTS / "figures"
PAGE = REPORTS / "index.html"
MODEL_CARD = REPORTS / "model-card.md"


def images_path(split: str) -> Path:
    """The images of a split (train, validation or test): float32 (n, height*width), 0 to 1."""
    return PROCESSED / f"{split}_images.npy"


def labels_path(split: str) -> Path:
    """The labels of a split (train, validation or test): uint8 (n,), indices into the class names."""
    return PROCESSED / f"{split}_labels.npy"


def relative(path: Path) -> str:
    """The path from the project's root, or the whole path where it lies outside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
