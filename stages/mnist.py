"""Imported instead of the package mnist if a stage is run as a file, python stages/train.py; name the right command."""

import sys
from pathlib import Path

sys.exit(f"run the stage as a module, from the project's folder: python -m stages.{Path(sys.argv[0]).stem}")
