"""A user error ends a stage with one message, exit status 1, no traceback, and the earlier results unchanged."""

import resource
import signal

import psutil
import pytest
from conftest import TIMEOUT, Checkout, wait_until

INTERRUPTED = "{}: interrupted; no half-written file was kept\n"


def refused(checkout: Checkout, stage: str, **options) -> str:
    """Run a stage that must fail with a user error; return its message."""
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
        ("download", "dataset: digits", "dataset: digit", "download.dataset is 'digit', but datasets/ has only "),
        ("download", "dataset: digits", "dataset: My-Set", "should be a name of lower-case letters, digits and _"),
        ("download", "dataset: digits", "dataset: 7", "download.dataset is 7, but should be a valid string"),
        ("preprocess", "validation_size: 200", "validation_size: 1437", "leave some of the 1437 training images"),
        ("preprocess", "validation_size: 200", "validation_size: -1", "validation_size is -1, but should be greater"),
        ("preprocess", "validation_size: 200", "validation_sise: 200", "did you mean 'validation_size'?"),
        ("plot", "examples: 2", "examples: five", "plot.examples is 'five', but should be a valid integer"),
        ("plot", "plot:", "plots:", "unknown section 'plots'; did you mean 'plot'?"),
        ("train", "rotation: 0.0", "rotation: 90.0", "augmentation.rotation is 90.0, but should be less than or equal"),
        ("train", "optimizer: adam", "optimizer: sgd", "training diverged; params.yaml: lower train.learning_rate"),
    ],
)
def test_an_invalid_parameter_is_named(checkout: Checkout, stage: str, old: str, new: str, message: str) -> None:
    checkout.edit("params.yaml", old, new)
    if "diverged" in message:
        checkout.edit("params.yaml", "learning_rate: 0.001", "learning_rate: 10")
        checkout.edit("params.yaml", "activation: relu", "activation: elu")
    assert message in refused(checkout, stage)


def test_temperature_scaling_without_held_out_images_is_refused(checkout: Checkout) -> None:
    checkout.set_param("validation_size", "0")
    assert checkout.stage("preprocess").returncode == 0
    checkout.set_param("temperature_scaling", "true")
    assert "temperature_scaling needs held-out images, but preprocess.validation_size is 0" in refused(
        checkout, "train"
    )


@pytest.mark.parametrize(
    ("stage", "path"),
    [
        ("preprocess", "data/raw/train-images-idx3-ubyte.gz"),
        ("plot", "data/processed/test_images.npy"),
        ("plot", "reports/data.json"),
        ("plot", "reports/history.csv"),
        ("plot", "reports/predictions.csv"),
        ("plot", "params.yaml"),
        ("report", "reports/metrics.json"),
        ("report", "models/model.keras"),
    ],
)
@pytest.mark.parametrize("fault", ["missing", "empty", "noise"])
def test_a_missing_or_corrupt_file_is_named(checkout: Checkout, stage: str, path: str, fault: str) -> None:
    file = checkout.folder / path
    file.unlink()
    if fault != "missing":
        file.write_bytes(b"" if fault == "empty" else bytes(range(256)) * 40)
    message = refused(checkout, stage)
    assert path in message
    assert ("is missing" in message) == (fault == "missing")


@pytest.mark.parametrize("content", [b"", bytes(range(256))])
def test_a_corrupt_file_of_the_catalogue_is_named(checkout: Checkout, content: bytes) -> None:
    (checkout.folder / "datasets/digits.yaml").write_bytes(content)
    assert "datasets/digits.yaml" in refused(checkout, "preprocess")


def test_a_corrupt_model_is_named(checkout: Checkout) -> None:
    model = checkout.folder / "models/model.keras"
    model.unlink()
    model.write_bytes(b"noise")
    assert "models/model.keras cannot be loaded as a model" in refused(checkout, "evaluate")


def test_results_of_a_different_data_set_are_refused(checkout: Checkout) -> None:
    checkout.edit("params.yaml", "dataset: digits", "dataset: fashion_mnist")
    assert "is not that of Fashion-MNIST" in refused(checkout, "preprocess")
    checkout.edit("reports/data.json", '"dataset": "digits"', '"dataset": "fashion_mnist"')
    assert "models/model.keras is a network for 'digits'" in refused(checkout, "evaluate")


def test_predictions_for_different_images_are_refused(checkout: Checkout) -> None:
    path = checkout.folder / "reports/predictions.csv"
    path.write_text(path.read_text().replace("\n0,", "\n0,1", 1))
    assert "reports/predictions.csv is for different test images" in refused(checkout, "plot")


@pytest.mark.parametrize("stage", ["preprocess", "plot"])
def test_a_full_disk_is_reported_and_leaves_no_partial_file(checkout: Checkout, stage: str) -> None:
    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    message = refused(checkout, stage, preexec_fn=limit_file_size)
    assert "File too large" in message
    assert not list(checkout.folder.rglob(".partial-*"))


def test_ctrl_c_ends_training_at_once_and_leaves_no_partial_file(checkout: Checkout) -> None:
    before = checkout.outputs()
    checkout.set_param("epochs", "10000")
    with checkout.start("-u", "-m", "stages.train") as training:
        assert training.stdout is not None
        assert training.stdout.readline().startswith("epoch 1/10000")
        training.send_signal(signal.SIGINT)
        _, message = training.communicate(timeout=20)
    assert training.returncode == -signal.SIGINT
    assert message == INTERRUPTED.format("train")
    assert checkout.outputs() == before
    assert not list(checkout.folder.rglob(".partial-*"))


@pytest.mark.parametrize(
    ("stage", "library"),
    [
        ("download", "pydantic_core"),
        ("train", "tensorflow"),
        ("evaluate", "tensorflow"),
        ("plot", "matplotlib"),
        ("report", "h5py"),
    ],
)
def test_ctrl_c_during_the_imports_is_reported_as_well(checkout: Checkout, stage: str, library: str) -> None:
    """The libraries are imported after mnist.core.errors, which reports Ctrl-C from then on."""

    def is_loaded() -> bool:
        return any(f"/{library}/" in each.path for each in psutil.Process(run.pid).memory_maps())

    run = checkout.start("-m", f"stages.{stage}")
    wait_until(is_loaded, run)
    run.send_signal(signal.SIGINT)
    _, message = run.communicate(timeout=TIMEOUT)
    assert (run.returncode, message) == (-signal.SIGINT, INTERRUPTED.format(stage))


def test_under_dvc_a_corrected_value_restores_the_results_without_a_run(checkout: Checkout) -> None:
    before = checkout.outputs()
    checkout.edit("params.yaml", "examples: 2", "examples: 0")
    failed = checkout.run("-m", "dvc", "repro")
    assert failed.returncode != 0
    assert "plot.examples is 0, but should be greater than or equal to 1" in failed.stderr
    assert "Traceback" not in failed.stderr
    checkout.edit("params.yaml", "examples: 0", "examples: 2")
    assert checkout.repro() == []
    assert checkout.outputs() == before


def test_under_dvc_an_unknown_data_set_is_reported_by_dvc(checkout: Checkout) -> None:
    checkout.edit("params.yaml", "dataset: digits", "dataset: digit")
    done = checkout.run("-m", "dvc", "repro")
    assert done.returncode != 0
    assert "failed to reproduce 'download': [Errno 2] No such file or directory: " in done.stderr
    assert "datasets/digit.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_unreachable_sources_are_all_listed(unreproduced: Checkout) -> None:
    unreproduced.edit("params.yaml", "dataset: digits", "dataset: mnist")
    unreproduced.edit("datasets/mnist.yaml", "https://", "http://127.0.0.1:9/")
    message = refused(unreproduced, "download", changes={"DATASET_MIRROR": ""})
    assert message.count("http://127.0.0.1:9/") >= 3
    assert "set DATASET_MIRROR" in message
