"""The stages of the pipeline. To import one takes seconds, so what Ctrl-C says is set here, before all else."""

import sys
from pathlib import Path
from types import TracebackType


def say_interrupted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show what no `except` has caught: Ctrl-C as one message, all else as Python does."""
    if issubclass(kind, KeyboardInterrupt):
        print(f"{Path(sys.argv[0]).stem}: interrupted; nothing half-written was kept", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = say_interrupted
