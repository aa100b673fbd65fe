"""`make verify`: run the last commit's pipeline from nothing, and compare each output's hash with dvc.lock."""

import argparse
import sys
import tempfile
from pathlib import Path

from mnist.core.errors import run_stage
from mnist.core.params import read_yaml
from tools.cache import outputs_of
from tools.checkout import clone_to, data_source, git, run_dvc
from tools.cluster import workers
from tools.machine import machine


def reproduce(clone: Path, stage: str | None, worker_count: int) -> int:
    """Run the pipeline of a clone, up to a stage if one is named, with processes for workers; return DVC's status."""
    first = stage if stage in ("download", "preprocess") else "preprocess"
    command = ("repro", "--no-run-cache")
    status = run_dvc(*command, "--force", first, folder=clone, changes=data_source())
    if status or first == stage:
        return status
    with workers(worker_count, clone) as chief:
        return run_dvc(*command, *([stage] if stage else []), folder=clone, changes=chief)


def compare(expected: dict[str, dict[str, str]], found: dict[str, dict[str, str]]) -> list[str]:
    """Print a table of the outputs; return the paths of those whose MD5 differs."""
    width = max(len(path) for outputs in found.values() for path in outputs)
    print(f"\n{'stage':<11} {'output':<{width}} {'in dvc.lock':<32}  this run")
    different = []
    for stage, outputs in found.items():
        for path, md5 in outputs.items():
            locked = expected.get(stage, {}).get(path, "(not in dvc.lock)")
            print(f"{stage:<11} {path:<{width}} {locked:<32}  {'same' if md5 == locked else f'{md5}  DIFFERENT'}")
            different += [path] if md5 != locked else []
    return different


def main() -> None:
    """Verify; the exit status is 0 if every output is the same, 1 if one differs, DVC's own if a stage fails."""
    parser = argparse.ArgumentParser(prog="make verify", description=__doc__)
    parser.add_argument("--stage", help="verify up to this stage only")
    stage = parser.parse_args().stage
    if git("status", "--porcelain", "--", "."):
        print("verify: verifying the last commit, without the changes in the working tree", flush=True)
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        clone = clone_to(Path(folder, "clone"))
        expected, params = outputs_of(clone / "dvc.lock"), read_yaml(clone / "params.yaml")
        settings = {"compute.threads": params["compute"]["threads"], "train.workers": params["train"]["workers"]}
        environment = "on " + ", ".join(f"{name} {value}" for name, value in {**machine(), **settings}.items())
        (clone / "dvc.lock").unlink()  # so that the new one has only what runs here
        if status := reproduce(clone, stage, settings["train.workers"]):
            print(f"verify: the pipeline failed, {environment}", file=sys.stderr)
            sys.exit(status)
        found = outputs_of(clone / "dvc.lock")
    different, count = compare(expected, found), sum(map(len, found.values()))
    print(f"\n{environment}")
    if different:
        print(f"verify: {len(different)} of {count} outputs differ from dvc.lock: {', '.join(different)}")
        sys.exit(1)
    print(f"verify: all {count} outputs are the same, bit for bit, as those of dvc.lock")


if __name__ == "__main__":
    run_stage(main)
