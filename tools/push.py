"""`make push`: push every run in DVC's cache to its remote, so that no other machine repeats one.

`dvc push --run-cache` pushes the data of the current run only, and no result that is in git (`cache: false`).
"""

from pathlib import Path

from mnist.core.errors import UserError, run_stage
from tools.cache import open_repo


def main() -> None:
    """Run the tool."""
    with open_repo() as repo:
        remote = repo.config["core"].get("remote")
        if not remote:
            raise UserError("DVC has no remote yet; name one: dvc remote add --default NAME ADDRESS")
        repo.push(run_cache=True)
        runs = [(run.parent.name, run.name) for run in Path(repo.stage_cache.cache_dir).glob("*/*/*")]
        result = repo.cloud.push(repo.stage_cache.get_used_objs(runs).get(None, set()))
    if result.failed:
        raise UserError(f"{len(result.failed)} files could not be pushed; DVC prints above why")
    print(f"push: {len(runs)} runs of stages are in the remote {remote}; `dvc repro --pull` downloads them elsewhere")


if __name__ == "__main__":
    run_stage(main)
