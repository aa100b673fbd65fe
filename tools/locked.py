"""`make locked`: is dvc.lock up to date with the files that git would store?

dvc.lock is compared with an export of the tracked files, hashed as DVC does. Data and models are not in git; they count
with their hashes in dvc.lock, so the answer is the same with the data, with older data, and without data.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from functools import partial
from pathlib import Path

from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc_data.hashfile.build import build
from dvc_data.index import DataIndexDirError

from mnist.core.errors import UserError
from mnist.core.paths import ROOT
from tools.cache import open_repo
from tools.checkout import require_commit, run_git

MEANINGS = {"modified": "is modified", "deleted": "is missing or not in git", "new": "is not in dvc.lock"}


def export_tracked_files(folder: Path) -> Path:
    """Write the tracked files to a folder, with the line ends of a clone; return the project's root in it."""
    env = {**os.environ, "GIT_INDEX_FILE": f"{folder}/index"}
    index, _, prefix = run_git("rev-parse", "--git-path", "index", "--show-prefix").partition("\n")
    shutil.copyfile(ROOT / index, folder / "index")
    for command in (["add", "--update", ":/"], ["checkout-index", "--all", f"--prefix={folder}/files/"]):
        run_git(*command, env=env)
    (folder / "files" / prefix / ".dvc").mkdir(exist_ok=True)
    return folder / "files" / prefix


def find_changes(repo: Repo) -> Iterator[str]:
    """Describe each difference between dvc.lock and the files of an export."""
    repo.dvcfs.walk = partial(repo.dvcfs.walk, dvcfiles=True)  # the .dvc files in a folder are part of its hash
    for file in {stage.path: stage.dvcfile for stage in repo.index.stages if isinstance(stage, PipelineStage)}.values():
        recorded = file.stages.lockfile_data
        for name, stage in file.stages.items():
            changes = stage_changes(repo, stage) if name in recorded else ["not in dvc.lock"]
            yield from (f"stage {stage.addressing}: {change}" for change in changes)
        for name in sorted(recorded.keys() - file.stages.keys()):
            yield f"stage {name}: not in {file.relpath}; delete it from dvc.lock"


def stage_changes(repo: Repo, stage: PipelineStage) -> Iterator[str]:
    """Describe each difference between a stage of an export and its record in dvc.lock."""
    if stage.cmd_changed:
        yield "cmd is modified"
    for dep in [] if stage.frozen else stage.deps:
        yield from (f"{name} {MEANINGS[change]}" for name, change in dependency_status(repo, dep).items())
    for out in stage.outs:
        status = out.status().get(str(out)) if not out.use_cache else None if out.hash_info else "new"
        if status:
            yield f"{out} {MEANINGS[status]}"


def dependency_status(repo: Repo, dep: Output) -> dict[str, str]:
    """Compare files or parameters with dvc.lock: DVC's word by name, nothing if they are the same or not known."""
    name = str(dep)
    if isinstance(dep, ParamsDependency):
        status = dep.status().get(name, {})
        return {f"{name}: {key}": status[key] for key in status} if isinstance(status, dict) else {name: status}
    if not dep.is_in_repo:
        return {}
    path = repo.dvcfs.from_os_path(dep.fs_path)
    try:
        # DVC's file system has the files in git and, with their hashes in dvc.lock, the outputs that are not in git.
        md5 = repo.dvcfs.info(path).get("md5")
        md5 = md5 or build(repo.cache.local, path, repo.dvcfs, "md5", dry_run=True)[2].hash_info.value
    except FileNotFoundError:
        return {name: "deleted"}
    except DataIndexDirError:  # part of a folder output whose list of files is not in this machine's cache
        return {}
    return {} if md5 == dep.hash_info.value else {name: "modified" if dep.hash_info else "new"}


def main() -> int:
    """Check; return the exit status: 0 if dvc.lock is up to date, 1 if not."""
    try:
        require_commit()
        with tempfile.TemporaryDirectory(prefix="locked-") as folder, open_repo() as repo:
            config = {"core": {"no_scm": True, "site_cache_dir": folder}, "cache": {"dir": repo.cache.local_cache_dir}}
            with chdir(export_tracked_files(Path(folder))), Repo(config=config) as export:
                problems = list(find_changes(export))
    except (UserError, DvcException) as error:
        print(f"locked: {error}", file=sys.stderr)
        return 1
    if problems:
        problems.append("run `dvc repro`, and commit dvc.lock and reports with the change")
        print("\n".join(f"locked: {problem}" for problem in problems), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
