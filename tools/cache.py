"""What DVC leaves undone in its cache: it trusts files there, and takes results away before it makes them anew."""

import hashlib
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from mnist.core.files import atomic_write
from mnist.core.params import read_yaml
from tools.checkout import ROOT, environment, git

LOCK = ROOT / "dvc.lock"


def outputs_of(lock: Path) -> dict[str, dict[str, str]]:
    """The MD5 of each output that a dvc.lock records, by stage and path.

    Raises:
        UserError: it cannot be read.
    """
    stages = read_yaml(lock).get("stages", {})
    return {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}


def discard_damaged() -> list[str]:
    """Delete each file of the cache that is not what dvc.lock says, and the output if it was taken from there.

    DVC itself looks at the content of a cached file only if somebody may write to it.

    Returns:
        The outputs' paths, which the next `dvc repro` makes again.
    """
    damaged = []
    for path, md5 in _outputs().items():
        cached = _cached(md5)
        if cached.is_file() and _md5(cached) != md5:
            output = ROOT / path
            if output.is_file() and _md5(output) != md5:
                output.unlink()
            cached.unlink()
            damaged.append(path)
    return damaged


def restore_missing() -> None:
    """Bring back the results that dvc.lock names and that DVC took away for a run that did not succeed."""
    command = [sys.executable, "-m", "dvc", "checkout", "--quiet"]
    subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True)  # it complains of what is not there
    missing = {path: md5 for path, md5 in _outputs().items() if not (ROOT / path).exists()}
    for path, md5 in missing.items():
        # Of what is in git (`cache: false`), too, DVC has a copy, which it does not bring back.
        if (cached := _cached(md5)).is_file():
            with atomic_write(ROOT / path) as partial:
                shutil.copyfile(cached, partial)
        elif not git("diff", "--name-only", "HEAD", "--", "dvc.lock"):
            git("restore", path)


def _outputs() -> dict[str, str]:
    """The MD5 of each output, by its path."""
    stages = outputs_of(LOCK) if LOCK.exists() else {}
    return {path: md5 for outputs in stages.values() for path, md5 in outputs.items()}


@cache
def _folder() -> Path:
    """DVC's cache: .dvc/cache, or what its option cache.dir names."""
    settings = (git("config", "--file", f".dvc/{name}", "cache.dir") for name in ("config.local", "config"))
    return ROOT / ".dvc" / next(filter(None, settings), "cache")


def _cached(md5: str) -> Path:
    """Where the cache has the content with this MD5."""
    return _folder() / "files/md5" / md5[:2] / md5[2:]


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
