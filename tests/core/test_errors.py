"""How a stage ends after an error: one message with the stage's name, and exit status 1."""

import errno
import signal
import subprocess
import sys

import pytest

from mnist.core.errors import UserError, run_stage
from mnist.core.paths import ROOT


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("params.yaml: a is 1"), "params.yaml: a is 1"),
        (OSError(errno.ENOSPC, "No space left on device", "out.npy"), "No space left on device: out.npy"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError("the network is down"), "the network is down"),
    ],
)
def test_expected_error_is_one_message_with_the_stages_name(monkeypatch, error, message):
    def main() -> None:
        raise error

    monkeypatch.setattr("sys.argv", ["stages/plot.py"])
    with pytest.raises(SystemExit) as caught:
        run_stage(main)
    assert caught.value.code == f"plot: {message}"


def test_unexpected_error_keeps_its_traceback():
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_stage(main)


@pytest.mark.parametrize("lines", [1, 100_000])
@pytest.mark.parametrize("status", ["", ", sys.exit(1)"])
def test_output_that_is_not_read_to_its_end_is_no_error(lines, status):
    code = f"import sys; from mnist.core.errors import run_stage; run_stage(lambda: (print('x\\n' * {lines}){status}))"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 1


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "ImportError from KeyboardInterrupt()"])
def test_ctrl_c_is_one_message_also_while_a_c_extension_is_imported(raised):
    program = f"import sys, mnist.core.errors; sys.argv = ['stages/plot.py']; raise {raised}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "plot: interrupted; no half-written file was kept\n")
