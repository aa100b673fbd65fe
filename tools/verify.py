"""`make verify`: run the last commit's pipeline afresh, and compare the hash of every output with its dvc.lock.

Where several workers have trained together, as many processes of this machine do.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from mnist.core.errors import UserError
from tools.cache import outputs_of
from tools.checkout import ROOT, clone_to, data_source, run_dvc
from tools.cluster import workers
from tools.machine import machine


def reproduce(clone: Path, stage: str | None, worker_count: int) -> int:
    """Run the pipeline of a clone afresh, up to a stage if one is named; return DVC's exit status.

    Raises:
        UserError: a worker failed.
    """
    command, source = ("repro", "--no-run-cache"), data_source()
    if worker_count == 1 or stage in ("download", "preprocess"):
        return run_dvc(*command, "--force", *([stage] if stage else []), folder=clone, changes=source)
    if status := run_dvc(*command, "--force", "preprocess", folder=clone, changes=source):
        return status
    with workers(worker_count, clone) as chief:
        return run_dvc(*command, *([stage] if stage else []), folder=clone, changes=chief)


def compare(expected: dict[str, dict[str, str]], found: dict[str, dict[str, str]]) -> list[str]:
    """Print a table, output by output; return the paths that differ."""
    width = max(len(path) for outputs in found.values() for path in outputs)
    print(f"\n{'stage':<11} {'output':<{width}} {'in dvc.lock':<32}  this run")
    different = []
    for stage, outputs in found.items():
        for path, md5 in outputs.items():
            locked = expected.get(stage, {}).get(path, "(not in dvc.lock)")
            same = md5 == locked
            print(f"{stage:<11} {path:<{width}} {locked:<32}  {'same' if same else md5 + '  DIFFERENT'}")
            if not same:
                different.append(path)
    return different


def main() -> int:
    """Verify; return the exit status: 0 if every output is the same, 1 if one differs, DVC's own if a stage fails."""
    parser = argparse.ArgumentParser(prog="make verify", description=__doc__)
    parser.add_argument("--stage", help="verify up to this stage only")
    stage = parser.parse_args().stage

    changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True)
    if changed.stdout:
        print("verify: the last commit is verified; the changes in the working tree are not part of it", flush=True)
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        clone = Path(folder, "clone")
        clone_to(clone)
        expected = outputs_of(clone / "dvc.lock")
        params = yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8"))
        threads, worker_count = params["compute"]["threads"], params["train"]["workers"]
        named = ", ".join(f"{name} {version}" for name, version in machine().items())
        circumstances = f"on {named}, compute.threads {threads}, train.workers {worker_count}"
        if stage and stage not in expected:
            parser.error(f"no stage '{stage}'; there are {', '.join(expected)}")
        (clone / "dvc.lock").unlink()  # so that the new one holds just what runs here
        try:
            status = reproduce(clone, stage, worker_count)
        except UserError as error:
            print(f"verify: {error}", file=sys.stderr)
            status = 1
        if status:
            print(f"verify: the pipeline failed, {circumstances}", file=sys.stderr)
            return status
        found = outputs_of(clone / "dvc.lock")
        different = compare(expected, found)
    count = sum(map(len, found.values()))
    print(f"\n{circumstances}")
    if different:
        print(f"verify: {len(different)} of {count} outputs differ from dvc.lock: {', '.join(different)}")
        return 1
    print(f"verify: all {count} outputs are the same, bit for bit, as those of dvc.lock")
    return 0


if __name__ == "__main__":
    sys.exit(main())
