"""The preprocess stage on small IDX files: held-out images, outputs, summary; a failure leaves earlier outputs."""

import gzip
import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml

from mnist.core import params, paths
from mnist.core.errors import UserError
from mnist.dataset import catalogue, split
from mnist.dataset.catalogue import FILES
from mnist.dataset.digits import idx_bytes
from stages import preprocess
from stages.preprocess import choose_held_out

CLASSES = ["cat", "dog", "eel"]
TRAIN, TEST = 2500, 1100


def images(count: int, height: int = 3, width: int = 4) -> np.ndarray:
    """Random images whose first two pixels are their index."""
    pixels = np.random.default_rng(count).integers(0, 256, (count, height, width), np.uint8)
    pixels[:, 0, 0], pixels[:, 0, 1] = np.divmod(np.arange(count), 256)
    return pixels


def labels(count: int) -> np.ndarray:
    return np.random.default_rng(count + 1).integers(0, 3, count, np.uint8)


@dataclass
class Project:
    """A folder in which the stage runs."""

    folder: Path
    arrays: list[np.ndarray] = field(
        default_factory=lambda: [images(TRAIN), labels(TRAIN), images(TEST), labels(TEST)]  # as in FILES
    )

    def write(self, *, validation_size: float = 300, seed: int = 1, cut: int | None = None) -> None:
        """Write the raw files, their data set in the catalogue, and the parameters."""
        (self.folder / "raw").mkdir(exist_ok=True)
        files = {}
        for name, array in zip(FILES, self.arrays, strict=True):
            content = gzip.compress(idx_bytes(array)[:cut])
            (self.folder / "raw" / name).write_bytes(content)
            files[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        entry = {"title": "Pets", "mirrors": [], "files": files, "classes": CLASSES}
        (self.folder / "pets.yaml").write_text(yaml.safe_dump(entry))
        sections = {"download": {"dataset": "pets"}, "preprocess": {"validation_size": validation_size, "seed": seed}}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(sections))

    def run(self, **options: int) -> dict:
        """Write the inputs and run the stage; return data.json."""
        self.write(**options)
        preprocess.main()
        return json.loads((self.folder / "data.json").read_text())

    def array(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"processed/{name}.npy")

    def outputs(self) -> dict[str, bytes]:
        found = [*(self.folder / "processed").iterdir(), self.folder / "data.json"]
        return {path.name: path.read_bytes() for path in found}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(split, "CHUNK_BYTES", 700 * 3 * 4)  # so that the images come in several chunks
    monkeypatch.setattr(split, "RAW", tmp_path / "raw")
    monkeypatch.setattr(paths, "PROCESSED", tmp_path / "processed")
    monkeypatch.setattr(preprocess, "DATA_SUMMARY", tmp_path / "data.json")
    monkeypatch.setattr(params, "PARAMS", tmp_path / "params.yaml")
    monkeypatch.setattr(catalogue, "DATASETS", tmp_path)
    return Project(tmp_path)


def indices(scaled: np.ndarray) -> np.ndarray:
    """The original indices of scaled images."""
    return np.round(scaled[:, :2] * 255).astype(int) @ [256, 1]


@pytest.mark.parametrize("size", [0, 1, 250, 999])
def test_requested_number_of_images_is_held_out(size):
    held_out = choose_held_out(1000, size, seed=3)
    assert held_out.shape == (1000,)
    assert held_out.dtype == bool
    assert held_out.sum() == size


def test_seed_decides_which_images_are_held_out():
    np.testing.assert_array_equal(choose_held_out(1000, 300, 7), choose_held_out(1000, 300, 7))
    assert (choose_held_out(1000, 300, 7) != choose_held_out(1000, 300, 8)).any()


@pytest.mark.parametrize(("fraction", "size"), [(0.1, 100), (0.1234, 124), (1e-9, 1), (0.999, 999)])
def test_a_fraction_of_the_images_is_held_out(fraction, size):
    np.testing.assert_array_equal(choose_held_out(1000, fraction, 3), choose_held_out(1000, size, 3))


@pytest.mark.parametrize("size", [1000, 10**30, 0.9999])
def test_holding_out_all_images_is_refused(size):
    shown = re.escape(f"{size:.12g}")
    with pytest.raises(UserError, match=rf"preprocess\.validation_size is {shown}, but should leave some of the 1000 "):
        choose_held_out(1000, size, 1)


def test_a_number_of_images_with_a_fraction_is_refused():
    with pytest.raises(UserError, match=r"validation_size is 1\.5, but should be a number of images, or a fraction"):
        choose_held_out(1000, 1.5, 1)


@pytest.mark.parametrize("size", [1, 300, TRAIN - 1])
def test_each_training_image_is_in_one_split_in_order(project, size):
    project.run(validation_size=size)
    kept, held_out = (indices(project.array(f"{name}_images")) for name in ("train", "validation"))
    assert len(held_out) == size
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held_out) > 0).all()
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held_out])), np.arange(TRAIN))


def test_images_are_scaled_and_keep_their_labels(project):
    project.run()
    np.testing.assert_array_equal(indices(project.array("test_images")), np.arange(TEST))
    for name, first in (("train", 0), ("validation", 0), ("test", 2)):
        images, labels = project.arrays[first : first + 2]
        scaled = project.array(f"{name}_images")
        chosen = indices(scaled)
        assert scaled.dtype == np.float32
        np.testing.assert_array_equal(scaled, images[chosen].reshape(-1, 12) / np.float32(255))
        np.testing.assert_array_equal(project.array(f"{name}_labels"), labels[chosen])
        assert project.array(f"{name}_labels").dtype == np.uint8


@pytest.mark.parametrize("size", [300, 0])
def test_summary_equals_what_numpy_computes(project, size):
    summary = project.run(validation_size=size)
    assert summary["dataset"] == "pets"
    assert summary["title"] == "Pets"
    assert summary["image_shape"] == [3, 4]
    assert [row["class"] for row in summary["class_counts"]] == CLASSES
    assert list(summary["splits"]) == ["train", "validation", "test"]
    for name, statistics in summary["splits"].items():
        pixels = project.array(f"{name}_images").astype(np.float64)
        counts = np.bincount(project.array(f"{name}_labels"), minlength=3)
        assert [row[name] for row in summary["class_counts"]] == counts.tolist()
        assert statistics["n"] == len(pixels)
        assert statistics["pixel_mean"] == pytest.approx(pixels.mean(), rel=0, abs=6e-7)
        assert statistics["pixel_std"] == pytest.approx(pixels.std(), rel=0, abs=6e-7)


def in_boxes(sides: list[int], background: int = 0) -> np.ndarray:
    """Images of 28 by 28 pixels, each with ink in a box of which one side has this many pixels."""
    array = np.full((len(sides), 28, 28), background, np.uint8)
    for index, side in enumerate(sides):
        array[index, 2 : 2 + side, 5:9] = 255
        array[index] = array[index].T if index % 2 else array[index]
    return array


@pytest.mark.parametrize(
    ("sides", "background", "box"),
    [
        ([20] * 95 + [19, 18, 26, 26, 26], 0, 20),  # as MNIST
        ([20] * 100, 20, 20),  # noise is not ink
        ([4] * 10 + [24] * 11 + [0] * 79, 0, 24),  # images without ink do not count
        ([26] * 60, 200, 28),  # objects that fill the frame
        ([0] * 60, 0, 28),  # no ink at all
    ],
)
def test_the_box_of_the_ink_is_measured_from_the_training_images(project, sides, background, box):
    project.arrays = [in_boxes(sides, background), labels(len(sides)), in_boxes([9] * 30), labels(30)]
    assert project.run(validation_size=1)["box"] == box


@pytest.mark.parametrize(("shifted", "centred"), [(0, True), (1, True), (2, False), (50, False)])
def test_images_are_centred_if_nearly_all_have_their_mass_in_the_middle(project, shifted, centred):
    array = np.zeros((100, 28, 28), np.uint8)
    array[:, 10:18, 11:19] = 255  # a pixel off the middle
    array[:shifted] = np.roll(array[:shifted], 1, axis=2)
    project.arrays = [array, labels(100), array[:30], labels(30)]
    assert project.run(validation_size=0)["centred"] is centred


def test_without_a_margin_nothing_is_centred(project):
    array = np.full((60, 8, 8), 255, np.uint8)
    project.arrays = [array, labels(60), array[:30], labels(30)]
    assert project.run(validation_size=0)["centred"] is False


def test_the_box_fits_images_that_are_not_square(project):
    assert project.run()["box"] == 3


@pytest.mark.skipif(not os.environ.get("DATASET_MIRROR"), reason="needs a DATASET_MIRROR of MNIST")
def test_mnist_is_centred_in_a_box_of_20(project):
    mirror = Path(os.environ["DATASET_MIRROR"])
    arrays = [np.frombuffer(gzip.decompress((mirror / name).read_bytes()), np.uint8) for name in FILES]
    project.arrays = [array[16:].reshape(-1, 28, 28) if n % 2 == 0 else array[8:] % 3 for n, array in enumerate(arrays)]
    summary = project.run()
    assert (summary["box"], summary["centred"]) == (20, True)


def test_without_held_out_images_the_test_images_validate(project, capsys):
    assert project.run(validation_size=300)["validated_on"] == "held-out training images"
    assert "not held out" not in capsys.readouterr().out
    assert project.run(validation_size=0)["validated_on"] == "test images"
    assert "validating on the test images" in capsys.readouterr().out
    for kind in ("images", "labels"):
        np.testing.assert_array_equal(project.array(f"validation_{kind}"), project.array(f"test_{kind}"))
    np.testing.assert_array_equal(indices(project.array("train_images")), np.arange(TRAIN))


def test_outputs_are_the_same_bytes_for_the_same_seed_only(project):
    project.run(seed=1)
    first = project.outputs()
    project.run(seed=1)
    assert project.outputs() == first
    project.run(seed=2)
    assert project.outputs()["train_images.npy"] != first["train_images.npy"]


def labelled(count: int, position: int, label: int) -> np.ndarray:
    array = labels(count)
    array[position] = label
    return array


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({1: labels(TRAIN - 1)}, {}, "train-images-idx3-ubyte.gz has 2500 images, but .* 2499 labels"),
        ({3: labels(TEST + 1)}, {}, "t10k-images-idx3-ubyte.gz has 1100 images, but .* 1101 labels"),
        ({1: labelled(TRAIN, 2400, 3)}, {}, "train-labels-idx1-ubyte.gz has label 3, expected 0 to 2"),
        ({3: labelled(TEST, 1099, 255)}, {}, "t10k-labels-idx1-ubyte.gz has label 255, expected 0 to 2"),
        ({2: images(TEST, 4, 3)}, {}, r"the images should have one size, not \(3, 4\) and \(4, 3\)"),
        ({}, {"cut": 2400}, "ends before all the values"),
        ({}, {"validation_size": TRAIN}, r"preprocess\.validation_size is 2500"),
    ],
)
def test_inconsistent_data_is_refused_and_earlier_outputs_stay(project, changes, options, message):
    project.run()
    before = project.outputs()
    for position, array in changes.items():
        project.arrays[position] = array
    with pytest.raises(UserError, match=message):
        project.run(**options)
    assert project.outputs() == before


@pytest.mark.parametrize("name", FILES)
def test_raw_file_unlike_the_catalogue_is_refused_and_earlier_outputs_stay(project, name):
    project.run()
    before = project.outputs()
    raw = project.folder / "raw" / name
    content = bytearray(gzip.decompress(raw.read_bytes()))
    content[-1] ^= 1
    raw.write_bytes(gzip.compress(content))
    with pytest.raises(UserError, match=f"{name} is not that of Pets"):
        preprocess.main()
    raw.unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        preprocess.main()
    assert project.outputs() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["train_images.npy", "validation_labels.npy", "test_images.npy", "test_labels.npy"])
def test_full_disk_is_reported_for_the_right_file_and_earlier_outputs_stay(project, name):
    project.run()
    before = project.outputs()
    partial = project.folder / "processed" / f".partial-{name}"
    partial.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        preprocess.main()
    assert caught.value.filename == str(project.folder / "processed" / name)
    assert not partial.is_symlink()
    assert project.outputs() == before


def test_files_that_are_as_their_entry_describes_are_not_to_be_deleted(project):
    project.arrays[2] = np.zeros((TEST, 3, 4, 3), np.uint8)  # colour images
    with pytest.raises(UserError) as caught:
        project.run()
    assert str(caught.value).endswith("its header declares 4 dimensions, but grey images have 3; see docs/data.md")


def test_a_file_that_differs_from_its_entry_is_to_be_replaced(project):
    project.write()
    (project.folder / "raw" / FILES[0]).write_bytes(b"not gzipped")
    with pytest.raises(
        UserError, match=r"train-images-idx3-ubyte\.gz is not that of Pets; run `dvc repro` to replace it"
    ):
        preprocess.main()
