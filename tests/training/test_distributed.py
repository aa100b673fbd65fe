"""Several workers train what one machine does; a lost worker is named, and training resumes without loss."""

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Checkout, checkpoints, copy_of, wait_until

from mnist.training.distributed import shard_batches
from mnist.training.loop import pad_batches
from mnist.training.workers import Workers
from tools.cluster import free_addresses, tf_config

AUGMENTED = {"rotation": 15.0, "scaling": 0.15, "shear": 10.0, "shift": 1.0, "elastic_alpha": 10.0}
# All options with which several workers give the result of one; in float64, since in float32 training amplifies the
# rounding of sums until the metrics differ.
LIKE_ONE = {**AUGMENTED, "batch_size": 50, "epochs": 10, "precision": "float64"}
# Options with a state per worker, and enough epochs to lose a worker several times.
STATEFUL = {"batch_normalization": "true", "dropout": 0.2, "epochs": 12}
LOSSES = [(0, signal.SIGKILL), (1, signal.SIGKILL), (0, signal.SIGSTOP)]


@contextmanager
def started(
    checkouts: list[Checkout], chief: Sequence[str] = ("-m", "stages.train")
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start a worker in each checkout, as machines of a cluster; the first may have another command."""
    addresses = free_addresses(len(checkouts))
    workers = [
        checkout.start(*(("-m", "stages.train") if index else chief), changes=tf_config(addresses, index))
        for index, checkout in enumerate(checkouts)
    ]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def trained(checkouts: list[Checkout], **options) -> list[str]:
    """Train to the end with a worker in each checkout; return the output of each."""
    with started(checkouts, **options) as workers:
        ends = [worker.communicate(timeout=240) for worker in workers]
        assert [worker.returncode for worker in workers] == [0] * len(workers), ends
    return [out for out, _ in ends]


def failed(workers: list[subprocess.Popen[str]]) -> list[str]:
    """The message of each worker; all must end by themselves within a minute."""
    end = time.monotonic() + 60
    messages = []
    for worker in workers:
        messages.append(worker.communicate(timeout=max(1, end - time.monotonic()))[1])
        assert worker.returncode == 1
    return messages


def history(checkout: Checkout) -> pd.DataFrame:
    return pd.read_csv(checkout.folder / "reports/history.csv")


@pytest.fixture(scope="session")
def machines(reproduced: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Checkout]]:
    """Makes checkouts for a number of workers, as on separate machines, with changed parameters."""

    def make(count: int, **changes: object) -> list[Checkout]:
        checkouts = [copy_of(reproduced, tmp_path_factory.mktemp("machine")) for _ in range(count)]
        for checkout in checkouts:
            for key, value in {"workers": count, **changes}.items():
                checkout.set_param(key, str(value))
        return checkouts

    return make


@pytest.fixture(scope="session")
def one_machine(machines: Callable[..., list[Checkout]]) -> Checkout:
    """One machine after its training."""
    [checkout] = machines(1, **LIKE_ONE)
    assert checkout.stage("train").returncode == 0
    return checkout


@pytest.fixture(scope="session")
def together(
    machines: Callable[..., list[Checkout]], request: pytest.FixtureRequest
) -> tuple[list[Checkout], list[str]]:
    """Several machines after the same training, the chief under DVC, and their output; read-only."""
    several = machines(request.param, **LIKE_ONE)
    return several, trained(several, chief=("-m", "dvc", "repro", "train"))


@pytest.fixture(scope="session")
def undisturbed(machines: Callable[..., list[Checkout]]) -> Checkout:
    """The chief of three workers, none of which was lost."""
    several = machines(3, **STATEFUL)
    trained(several)
    return several[0]


@pytest.mark.slow
@pytest.mark.parametrize("together", [2, 3], indirect=True)
def test_workers_give_the_result_of_one_machine_and_only_the_chief_writes(
    reproduced: Checkout, one_machine: Checkout, together: tuple[list[Checkout], list[str]]
) -> None:
    several, printed = together
    found, expected = history(several[0]), history(one_machine)
    np.testing.assert_allclose(found, expected, atol=1.5e-6)  # they are rounded to six digits
    assert all(other.outputs() == reproduced.outputs() for other in several[1:])
    assert not any(checkpoints(other) for other in several)
    assert "Running stage 'train'" in printed[0]
    assert all("17,226 weights" in text for text in printed)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_in_float32_workers_give_the_result_of_one_machine_for_some_epochs(
    machines: Callable[..., list[Checkout]], count: int
) -> None:
    options = LIKE_ONE | {"epochs": 3, "precision": "float32"}
    [one_machine], several = machines(1, **options), machines(count, **options)
    assert one_machine.stage("train").returncode == 0
    trained(several)
    found, expected = history(several[0]), history(one_machine)
    np.testing.assert_allclose(found.filter(like="loss"), expected.filter(like="loss"), rtol=2e-4)
    np.testing.assert_allclose(found.filter(like="accuracy"), expected.filter(like="accuracy"), atol=0.006)


@pytest.mark.slow
def test_workers_with_a_state_of_their_own_end_with_the_same_weights(undisturbed: Checkout) -> None:
    # The stage itself checks that the weights are equal before it writes.
    assert history(undisturbed)["val_accuracy"].iloc[-1] > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("together", [2], indirect=True)
def test_a_worker_reads_only_its_shard(
    machines: Callable[..., list[Checkout]], together: tuple[list[Checkout], list[str]]
) -> None:
    expected = together[0][0].outputs()
    several = machines(2, **LIKE_ONE)
    for index, checkout in enumerate(several):
        for split in ("train", "validation"):
            path = checkout.folder / f"data/processed/{split}_images.npy"
            images = np.load(path)
            images[Workers(("a", "b"), 1 - index).shard(len(images))] = np.nan
            path.unlink()
            np.save(path, images)
    trained(several)
    assert several[0].outputs()["models/model.keras"] == expected["models/model.keras"]
    assert several[0].outputs()["reports/history.csv"] == expected["reports/history.csv"]


def lose(several: list[Checkout], lost: int, how: signal.Signals) -> None:
    """Train until there is a new checkpoint, then lose a worker."""
    chief = several[0]
    before, saved = chief.outputs(), checkpoints(chief)
    with started(several) as workers:
        wait_until(lambda: checkpoints(chief) != saved, *workers)
        workers[lost].send_signal(how)
        for message in failed([worker for index, worker in enumerate(workers) if index != lost]):
            assert f"worker {lost} (127.0.0.1:" in message
            assert "was lost" in message
            assert "Traceback" not in message
    assert chief.outputs() == before
    assert len(checkpoints(chief)) == 1


@pytest.mark.slow
def test_lost_workers_are_named_and_training_resumes_to_the_same_bytes(
    machines: Callable[..., list[Checkout]], undisturbed: Checkout
) -> None:
    several = machines(3, **STATEFUL)
    for lost, how in LOSSES:
        lose(several, lost, how)
    [epoch] = re.findall(r"^resuming after epoch (\d+)/12$", trained(several)[0], re.MULTILINE)
    assert int(epoch) >= len(LOSSES)
    assert not checkpoints(several[0])
    assert several[0].outputs() == undisturbed.outputs()


@pytest.mark.slow
def test_workers_with_other_parameters_are_refused(machines: Callable[..., list[Checkout]]) -> None:
    several = machines(2)
    several[1].edit("params.yaml", "learning_rate: 0.001", "learning_rate: 0.002")
    with started(several) as workers:
        for message in failed(workers):
            assert "worker 1 (127.0.0.1:" in message
            assert "does not have the same parameters" in message


@pytest.mark.slow
def test_a_worker_that_does_not_start_is_named(machines: Callable[..., list[Checkout]]) -> None:
    [checkout, _] = machines(2)
    checkout.edit("mnist/training/workers.py", "JOIN_SECONDS = 300", "JOIN_SECONDS = 2")
    addresses = free_addresses(2)
    done = checkout.stage("train", changes=tf_config(addresses, 0))
    assert done.returncode == 1
    assert f"worker 1 ({addresses[1]}) did not start within 2 s" in done.stderr


@pytest.mark.parametrize(("count", "batch_size", "size"), [(100, 10, 3), (103, 10, 3), (7, 10, 2), (50, 1, 4)])
def test_the_shards_of_a_batch_make_up_the_batch(count: int, batch_size: int, size: int) -> None:
    order = np.random.default_rng(0).permutation(count).astype(np.int32)
    steps = -(-count // batch_size)
    whole = np.full((steps, batch_size), -1)
    for index in range(size):
        shard = Workers(("",) * size, index).shard(count)
        rows, positions, weights, sizes = shard_batches(order, batch_size, shard, batch_size)
        assert rows.shape == positions.shape == weights.shape == (steps, batch_size)
        assert sizes.sum() == count
        for step in range(steps):
            real = weights[step] == 1
            assert (whole[step, positions[step][real]] == -1).all()
            whole[step, positions[step][real]] = rows[step][real] + shard.start
            assert ((rows[step] >= 0) & (rows[step] < shard.stop - shard.start)).all()
    np.testing.assert_array_equal(whole.ravel()[:count], order)
    assert (whole.ravel()[count:] == -1).all()


def test_the_only_worker_has_the_batches_of_one_machine() -> None:
    order = np.random.default_rng(0).permutation(50).astype(np.int32)
    rows, _, weights, sizes = shard_batches(order, 8, slice(0, 50), 8)
    for mine, theirs in zip((rows, weights, sizes), pad_batches(order, 8), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
def test_make_cluster_compares_with_one_worker(reproduced: Checkout, tmp_path: Path) -> None:
    checkout = copy_of(reproduced, tmp_path)
    done = checkout.run("-m", "tools.cluster", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The largest differences, in float64: loss 0.000000, accuracy 0.000000" in done.stdout
    assert "2 workers took" in done.stdout
