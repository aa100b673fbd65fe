"""`make push`: push every run to DVC's remote, so that no machine repeats what another has run.

`dvc push` sends data, models and pages, and DVC's memory of runs. It leaves out the metrics and figures, which are in
git (`cache: false`), and without them no other machine can take a run over that is not committed. DVC has these in its
local cache as well; here they follow.
"""

import sys
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

from mnist.core.errors import UserError, run_stage
from tools.checkout import ROOT, run_dvc


def main() -> None:
    """Run the tool."""
    with Repo(str(ROOT)) as repo:
        remote = repo.config["core"].get("remote")
        if not remote:
            raise UserError("DVC has no remote yet; name one: dvc remote add --default NAME ADDRESS")
        if status := run_dvc("push", "--run-cache"):
            sys.exit(status)
        runs = [(run.parent.name, run.name) for run in Path(repo.stage_cache.cache_dir).glob("*/*/*")]
        try:
            files = repo.stage_cache.get_used_objs(runs).get(None, set())
            result = repo.cloud.push(files)
        except DvcException as error:
            raise UserError(str(error)) from None
    if result.failed:
        raise UserError(f"{len(result.failed)} files could not be pushed; DVC says above why")
    print(
        f"push: {len(runs)} runs of stages are in the remote {remote}; another machine takes them by dvc repro --pull"
    )


if __name__ == "__main__":
    run_stage(main)
