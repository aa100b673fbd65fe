"""Several workers train what one does; one that is lost is named, and loses nothing."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Checkout, checkpoints, copy_of

from stages.lib.cluster import Cluster
from stages.lib.errors import UserError
from stages.lib.join import join
from stages.lib.training import deal
from tools.checkout import environment
from tools.cluster import free_addresses, tf_config

# Everything of which the workers together should do the same as one.
AUGMENTED = {"rotation": 15.0, "scaling": 0.15, "shear": 10.0, "shift": 1.0, "elastic_alpha": 10.0}


@contextmanager
def started(
    checkouts: list[Checkout], command: tuple[str, ...] = ("-m", "stages.train"), chief: tuple[str, ...] | None = None
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start a worker in each checkout, as machines of a cluster; the first may have a command of its own."""
    addresses = free_addresses(len(checkouts))
    workers = [
        subprocess.Popen(
            [sys.executable, *(chief if chief and not index else command)],
            cwd=checkout.folder,
            env=environment(tf_config(addresses, index)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, checkout in enumerate(checkouts)
    ]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def trained(checkouts: list[Checkout], **options) -> list[str]:
    """Train to the end with a worker in each checkout; return what each prints."""
    with started(checkouts, **options) as workers:
        ends = [worker.communicate(timeout=240) for worker in workers]
        assert [worker.returncode for worker in workers] == [0] * len(workers), ends
    return [out for out, _ in ends]


def losers(workers: list[subprocess.Popen[str]]) -> list[str]:
    """The message of each worker, which must end by itself within a minute."""
    end = time.monotonic() + 60
    messages = []
    for worker in workers:
        messages.append(worker.communicate(timeout=max(1, end - time.monotonic()))[1])
        assert worker.returncode == 1
    return messages


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def history(checkout: Checkout) -> pd.DataFrame:
    return pd.read_csv(checkout.folder / "reports/history.csv")


@pytest.fixture(scope="session")
def machines(reproduced: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Checkout]]:
    """Makes checkouts, each as on a machine of its own, for so many workers, with changed parameters."""

    def make(count: int, **changes: object) -> list[Checkout]:
        checkouts = [copy_of(reproduced, tmp_path_factory.mktemp("machine")) for _ in range(count)]
        for checkout in checkouts:
            for key, value in {"workers": count, **changes}.items():
                checkout.set_param(key, str(value))
        return checkouts

    return make


@pytest.fixture(scope="session")
def undisturbed(machines: Callable[..., list[Checkout]]) -> dict[str, bytes]:
    """The outputs of three workers of which none was lost."""
    several = machines(3, epochs=12)
    trained(several)
    return several[0].outputs()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_workers_follow_one_machine_and_only_the_chief_writes(
    checkout: Checkout, machines: Callable[..., list[Checkout]], workers: int
) -> None:
    changes = {**AUGMENTED, "batch_size": 50, "epochs": 3}
    for key, value in changes.items():
        checkout.set_param(key, str(value))
    assert checkout.stage("train").returncode == 0
    several = machines(workers, **changes)
    others = [other.outputs() for other in several[1:]]
    printed = trained(several, chief=("-m", "dvc", "repro", "train"))
    found, expected = history(several[0]), history(checkout)
    np.testing.assert_allclose(found.filter(like="loss"), expected.filter(like="loss"), rtol=2e-4)
    np.testing.assert_allclose(found.filter(like="accuracy"), expected.filter(like="accuracy"), atol=0.006)
    assert [other.outputs() for other in several[1:]] == others
    assert not any(checkpoints(other) for other in several)
    assert "Running stage 'train'" in printed[0]
    assert all("17,226 weights" in text for text in printed)


@pytest.mark.slow
def test_workers_with_batch_normalisation_and_dropout_end_with_the_same_weights(
    machines: Callable[..., list[Checkout]],
) -> None:
    # That the weights are the same is what the stage itself checks before it writes.
    several = machines(2, batch_normalization="true", dropout=0.2, epochs=3)
    trained(several)
    assert history(several[0])["val_accuracy"].iloc[-1] > 0.85


@pytest.mark.slow
def test_a_worker_reads_only_its_share(machines: Callable[..., list[Checkout]]) -> None:
    several = machines(2)
    trained(several)
    expected = several[0].outputs()
    for index, checkout in enumerate(several):
        for split in ("train", "validation"):
            path = checkout.folder / f"data/processed/{split}_images.npy"
            images = np.load(path)
            images[Cluster(("a", "b"), 1 - index).share(len(images))] = np.nan
            path.unlink()
            np.save(path, images)
    trained(several)
    assert several[0].outputs()["models/model.keras"] == expected["models/model.keras"]
    assert several[0].outputs()["reports/history.csv"] == expected["reports/history.csv"]


@pytest.mark.slow
@pytest.mark.parametrize(("lost", "how"), [(0, signal.SIGKILL), (1, signal.SIGKILL), (0, signal.SIGSTOP)])
def test_a_lost_worker_is_named_and_training_goes_on_from_the_last_epoch_to_the_same_bytes(
    machines: Callable[..., list[Checkout]], undisturbed: dict[str, bytes], lost: int, how: signal.Signals
) -> None:
    several = machines(3, epochs=12)
    chief = several[0]
    before = chief.outputs()
    with started(several) as workers:
        wait_for(lambda: checkpoints(chief))
        workers[lost].send_signal(how)
        for message in losers([worker for index, worker in enumerate(workers) if index != lost]):
            assert f"worker {lost} (127.0.0.1:" in message
            assert "was lost" in message
            assert "Traceback" not in message
    assert chief.outputs() == before
    assert len(checkpoints(chief)) == 1
    assert "going on after epoch" in trained(several)[0]
    assert not checkpoints(chief)
    assert chief.outputs() == undisturbed


@pytest.mark.slow
def test_workers_that_differ_do_not_train_together(machines: Callable[..., list[Checkout]]) -> None:
    several = machines(2)
    several[1].edit("params.yaml", "learning_rate: 0.001", "learning_rate: 0.002")
    with started(several) as workers:
        for message in losers(workers):
            assert "worker 1 (127.0.0.1:" in message
            assert "has not the same parameters" in message


@pytest.mark.slow
def test_a_worker_that_does_not_come_is_named(machines: Callable[..., list[Checkout]]) -> None:
    [checkout, _] = machines(2)
    impatient = (
        "from stages import train; from stages.lib import errors, join; join.JOIN_SECONDS = 2; "
        "errors.run_stage(train.main)"
    )
    addresses = free_addresses(2)
    done = checkout.run("-c", impatient, changes=tf_config(addresses, 0))
    assert done.returncode == 1
    assert f"worker 1 ({addresses[1]}) did not come within 2 s" in done.stderr


@pytest.mark.parametrize(
    ("config", "workers", "message"),
    [
        (None, 2, "train.workers is 2, but the environment variable TF_CONFIG names no others"),
        ({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}, 1, "TF_CONFIG names 2"),
        ({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}, 2, "not that of a chief"),
        ({"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}, 2, "not that of a chief"),
        ({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": -1}}, 2, "not that of a chief"),
        ({"cluster": ["a:1"], "task": {"type": "worker", "index": 0}}, 2, "not that of a chief"),
        ({"task": {}}, 2, "not that of a chief"),
        ("{not json", 2, "not that of a chief"),
        ("7", 2, "not that of a chief"),
    ],
)
def test_a_wrong_tf_config_is_explained(
    monkeypatch: pytest.MonkeyPatch, config: object, workers: int, message: str
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(UserError, match=message):
        join(workers)


@pytest.mark.parametrize(
    "config", [None, "", "{}", '{"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}']
)
def test_without_others_a_machine_is_a_cluster_of_one(monkeypatch: pytest.MonkeyPatch, config: str | None) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    assert join(1) == Cluster()


@pytest.mark.parametrize(("count", "batch_size", "size"), [(100, 10, 3), (103, 10, 3), (7, 10, 2), (50, 1, 4)])
def test_the_workers_parts_make_up_each_batch(count: int, batch_size: int, size: int) -> None:
    order = np.random.default_rng(0).permutation(count).astype(np.int32)
    steps = -(-count // batch_size)
    whole = np.full((steps, batch_size), -1)
    for index in range(size):
        share = Cluster(("",) * size, index).share(count)
        rows, places, weights = deal(order, batch_size, share, batch_size)
        assert rows.shape == places.shape == weights.shape == (steps, batch_size)
        for step in range(steps):
            real = weights[step] == 1
            assert (whole[step, places[step][real]] == -1).all()
            whole[step, places[step][real]] = rows[step][real] + share.start
            assert ((rows[step] >= 0) & (rows[step] < share.stop - share.start)).all()
    np.testing.assert_array_equal(whole.ravel()[:count], order)
    assert (whole.ravel()[count:] == -1).all()


def test_one_worker_fills_up_the_last_batch_with_the_first_images() -> None:
    order = np.arange(5, dtype=np.int32)[::-1]
    rows, _, weights = deal(order, 3, slice(0, 5), 3)
    assert rows.tolist() == [[4, 3, 2], [1, 0, 4]]
    assert weights.tolist() == [[1, 1, 1], [1, 1, 0]]


@pytest.mark.slow
def test_make_cluster_shows_it(reproduced: Checkout, tmp_path: Path) -> None:
    checkout = copy_of(reproduced, tmp_path)
    done = checkout.run("-m", "tools.cluster", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 workers took" in done.stdout
