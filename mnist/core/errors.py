"""How a stage ends: a user error or Ctrl-C as one message, without a traceback."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType


class UserError(Exception):
    """An error that the user can fix; its text names what is wrong, where, and what to do."""


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main`; print an expected failure as one message, and exit with status 1."""
    name = Path(sys.argv[0]).stem
    try:
        try:
            main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except UserError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        # The system's own words name the failure (no space, no permission) and the file.
        sys.exit(f"{name}: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")


def _report_interrupt(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print Ctrl-C as one message, and any other uncaught exception as Python does."""
    cause: BaseException | None = error
    while cause and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__  # a C extension that is interrupted while it is imported raises ImportError from it
    if cause:
        print(f"{Path(sys.argv[0]).stem}: interrupted; no half-written file was kept", file=sys.stderr)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)  # so that the exit status is that of Ctrl-C
    else:
        sys.__excepthook__(kind, error, trace)


# Set at import, not in run_stage: importing TensorFlow takes seconds, and Ctrl-C may come in them.
sys.excepthook = _report_interrupt
