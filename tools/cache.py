"""Two things that DVC leaves to `make`: corrupt files in its cache, and the earlier results after a failed run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo
from dvc_data.hashfile.hash import file_md5

from mnist.core.errors import UserError
from mnist.core.params import read_yaml
from mnist.core.paths import ROOT
from tools.checkout import git

LOCK = ROOT / "dvc.lock"


@contextmanager
def open_repo() -> Iterator[Repo]:
    """The checkout as DVC sees it, with its configuration of every level; DVC's errors are UserErrors."""
    try:
        with Repo(str(ROOT)) as repo:
            yield repo
    except DvcException as error:
        raise UserError(str(error)) from None


def is_cached() -> bool:
    """Whether DVC's cache, wherever it is, has a result of dvc.lock."""
    with open_repo() as repo:
        return any(out.hash_info and out.use_cache and not out.changed_cache() for out in repo.index.outs)


def outputs_of(lock: Path) -> dict[str, dict[str, str]]:
    """The MD5 of each output in a dvc.lock, by stage and path; UserError if the file cannot be read."""
    stages = read_yaml(lock).get("stages", {})
    return {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}


def report_corrupt() -> bool:
    """Delete and name corrupt files in DVC's cache, and outputs that are links to them; return whether there were any.

    DVC trusts a cached file that is write-protected, and an output whose time and size have not changed.
    """
    with open_repo() as repo:
        outs = [out for out in repo.index.outs if out.hash_info and out.hash_name == "md5" and out.is_in_repo]
        files = [(Path(out.cache.oid_to_path(oid)), oid, path) for out in outs for oid, path in list_objects(out)]
    found = {cached: file_md5(str(cached)) for cached in {cached for cached, _, _ in files} if cached.is_file()}
    corrupt = [(cached, path) for cached, oid, path in files if found.get(cached, oid) != oid.removesuffix(".dir")]
    for cached, path in corrupt:
        if path.is_file() and file_md5(str(path)) == found[cached]:
            path.unlink()
        cached.unlink(missing_ok=True)
    if corrupt:
        names = ", ".join(str(path.relative_to(ROOT)) for _, path in corrupt)
        print(f"run: corrupt in DVC's cache, to be produced again: {names}", file=sys.stderr, flush=True)
    return bool(corrupt)


def list_objects(out: Output) -> list[tuple[str, Path]]:
    """The hash and the path of an output and, if it is a folder, of each file in it."""
    files = (out.get_obj() if out.hash_info.isdir else None) or ()
    return [
        (out.hash_info.value, Path(out.fs_path)),
        *((info.value, Path(out.fs_path, *key)) for key, _, info in files),
    ]


def restore_missing() -> None:
    """Restore the results in dvc.lock that DVC deleted for a run that failed, from its cache or else from git."""
    with open_repo() as repo:
        link_types = repo.cache.repo.cache_types
        for out in repo.index.outs:
            if out.hash_info and out.is_in_repo and not out.exists:
                # DVC also has copies of the results that are in git (`cache: false`), but does not restore them itself.
                repo.cache.repo.cache_types = link_types if out.use_cache else ["copy"]
                out.use_cache = True
                if not out.changed_cache():
                    out.checkout()
                elif git("restore", out.fs_path) is not None and out.changed_checksum():
                    Path(out.fs_path).unlink()  # git has the result of a different run
