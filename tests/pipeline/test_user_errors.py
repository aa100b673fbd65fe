"""A user's mistakes end a stage with one message, exit status 1, no traceback, and the earlier results as they were."""

import resource
import signal

import psutil
import pytest
from conftest import TIMEOUT, Checkout, wait_until


def refused(checkout: Checkout, stage: str, **options) -> str:
    """Run a stage that must fail as a user's mistake does; return its message."""
    before = checkout.outputs()
    done = checkout.stage(stage, **options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(f"{stage}: ")
    assert checkout.outputs() == before
    return done.stderr


@pytest.mark.parametrize(
    ("stage", "old", "new", "message"),
    [
        (
            "download",
            "dataset: digits",
            "dataset: digit",
            "download.dataset is 'digit', but mnist/dataset/datasets.yaml has",
        ),
        ("download", "dataset: digits", "dataset: 7", "download.dataset is 7, but should be a valid string"),
        ("preprocess", "validation_size: 200", "validation_size: 1437", "less than the 1437 training images"),
        (
            "preprocess",
            "validation_size: 200",
            "validation_size: -1",
            "preprocess.validation_size is -1, but should be",
        ),
        ("preprocess", "validation_size: 200", "validation_sise: 200", "did you mean 'validation_size'?"),
        ("plot", "examples: 5", "examples: five", "plot.examples is 'five', but should be a valid integer"),
        ("plot", "plot:", "plots:", "unknown section 'plots'; did you mean 'plot'?"),
        ("train", "activation: relu", "activation: rely", "train.activation is 'rely', but should be 'elu'"),
        ("train", "optimizer: adam", "optimizer: rmsprop", "train.optimizer is 'rmsprop', but should be 'adam'"),
        ("train", "warmup_epochs: 0.0", "warmup_epochs: 2.0", "less than train.epochs, 2"),
        ("train", "gentle_epochs: 0", "gentle_epochs: 3", "should be at most train.epochs, 2"),
        ("train", "rotation: 0.0", "rotation: 90.0", "augmentation.rotation is 90.0, but should be less than or equal"),
        ("train", "optimizer: adam", "optimizer: sgd", "training diverged; params.yaml: lower train.learning_rate"),
    ],
)
def test_a_wrong_parameter_is_named(checkout: Checkout, stage: str, old: str, new: str, message: str) -> None:
    checkout.edit("params.yaml", old, new)
    if "diverged" in message:
        checkout.edit("params.yaml", "learning_rate: 0.001", "learning_rate: 10")
        checkout.edit("params.yaml", "activation: relu", "activation: elu")
    assert message in refused(checkout, stage)


@pytest.mark.parametrize(
    ("stage", "path"),
    [
        ("preprocess", "data/raw/train-images-idx3-ubyte.gz"),
        ("preprocess", "mnist/dataset/datasets.yaml"),
        ("plot", "data/processed/test_images.npy"),
        ("plot", "reports/data.json"),
        ("plot", "reports/history.csv"),
        ("plot", "reports/predictions.csv"),
        ("plot", "params.yaml"),
        ("report", "reports/metrics.json"),
        ("report", "models/model.keras"),
    ],
)
@pytest.mark.parametrize("damage", ["missing", "empty", "noise"])
def test_a_missing_or_damaged_file_is_named(checkout: Checkout, stage: str, path: str, damage: str) -> None:
    file = checkout.folder / path
    file.unlink()
    if damage != "missing":
        file.write_bytes(b"" if damage == "empty" else bytes(range(256)) * 40)
    message = refused(checkout, stage)
    assert path in message
    assert ("is missing" in message) == (damage == "missing")


def test_a_damaged_model_is_named(checkout: Checkout) -> None:
    model = checkout.folder / "models/model.keras"
    model.unlink()
    model.write_bytes(b"noise")
    assert "models/model.keras is no model that can be loaded" in refused(checkout, "evaluate")


def test_results_of_another_data_set_are_refused(checkout: Checkout) -> None:
    checkout.edit("params.yaml", "dataset: digits", "dataset: fashion_mnist")
    assert "is not that of Fashion-MNIST" in refused(checkout, "preprocess")
    checkout.edit("reports/data.json", '"dataset": "digits"', '"dataset": "fashion_mnist"')
    assert "models/model.keras is a network for 'digits'" in refused(checkout, "evaluate")


def test_predictions_for_other_images_are_refused(checkout: Checkout) -> None:
    path = checkout.folder / "reports/predictions.csv"
    path.write_text(path.read_text().replace("\n0,", "\n0,1", 1))
    assert "reports/predictions.csv is of other test images" in refused(checkout, "plot")


@pytest.mark.parametrize("stage", ["preprocess", "plot"])
def test_a_full_disk_is_said_and_leaves_nothing_behind(checkout: Checkout, stage: str) -> None:
    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    message = refused(checkout, stage, preexec_fn=limit_file_size)
    assert "File too large" in message
    assert not list(checkout.folder.rglob(".partial-*"))


def test_ctrl_c_ends_training_at_once_and_leaves_nothing_half_written(checkout: Checkout) -> None:
    before = checkout.outputs()
    checkout.set_param("epochs", "10000")
    with checkout.start("-u", "-m", "stages.train") as training:
        assert training.stdout is not None
        assert training.stdout.readline().startswith("epoch 1/10000")
        training.send_signal(signal.SIGINT)
        _, message = training.communicate(timeout=20)
    assert training.returncode == -signal.SIGINT
    assert message == "train: interrupted; nothing half-written was kept\n"
    assert checkout.outputs() == before
    assert not list(checkout.folder.rglob(".partial-*"))


@pytest.mark.parametrize(
    ("stage", "library"),
    [("preprocess", "numpy"), ("train", "tensorflow"), ("evaluate", "sklearn"), ("report", "pandas")],
)
def test_ctrl_c_while_a_stage_is_still_imported_is_said_as_well(checkout: Checkout, stage: str, library: str) -> None:
    def is_loaded() -> bool:
        return any(f"/{library}/" in each.path for each in psutil.Process(run.pid).memory_maps())

    run = checkout.start("-m", f"stages.{stage}")
    wait_until(is_loaded, run)
    run.send_signal(signal.SIGINT)
    _, message = run.communicate(timeout=TIMEOUT)
    assert (run.returncode, message) == (-signal.SIGINT, f"{stage}: interrupted; nothing half-written was kept\n")


def test_under_dvc_a_mistake_put_right_brings_the_results_back_without_a_run(checkout: Checkout) -> None:
    before = checkout.outputs()
    checkout.edit("params.yaml", "examples: 5", "examples: 0")
    failed = checkout.run("-m", "dvc", "repro")
    assert failed.returncode != 0
    assert "plot.examples is 0, but should be greater than or equal to 1" in failed.stderr
    assert "Traceback" not in failed.stderr
    checkout.edit("params.yaml", "examples: 0", "examples: 5")
    assert checkout.repro() == []
    assert checkout.outputs() == before


def test_no_source_reached_lists_them_all(unreproduced: Checkout) -> None:
    nothing = unreproduced.folder / "nothing"
    unreproduced.edit("params.yaml", "dataset: digits", "dataset: mnist")
    catalogue = unreproduced.folder / "mnist/dataset/datasets.yaml"
    catalogue.write_text(catalogue.read_text().replace("https://", "http://127.0.0.1:9/"))
    message = refused(unreproduced, "download", changes={"DATASET_MIRROR": str(nothing)})
    assert f"{nothing}: not found" in message
    assert message.count("http://127.0.0.1:9/") >= 3
    assert "set DATASET_MIRROR" in message
