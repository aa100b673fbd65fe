"""How a stage ends: errors for people, without a traceback."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can put right; its text says what is wrong, where, and what to do."""


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main`; print an expected failure as one message, and exit with status 1."""
    stage = sys.modules[main.__module__].__spec__
    name = stage.name.rpartition(".")[2] if stage else main.__module__
    try:
        main()
    except UserError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        # The system's own words say what failed (no space, no permission) and on which file.
        sys.exit(f"{name}: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
