"""`make dataset`: from your own images to four IDX files and an entry in the catalogue."""

import gzip
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ALL, Checkout
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from mnist.core.errors import UserError
from mnist.dataset import catalogue
from mnist.dataset.catalogue import FILES, find_dataset
from mnist.dataset.digits import idx_bytes
from mnist.handwriting import find_ink, fit_ink
from tools import dataset

DIGITS, LABELS = np.uint8(load_digits().images * 255 / 16), load_digits().target
RNG = np.random.default_rng(2)


class Result:
    """What a call wrote: the arrays of the four files, and the data set's entry."""

    def __init__(self, folder: Path, name: str, output: str) -> None:
        self.entry, self.output = find_dataset(name), output
        contents = [(folder / "custom" / name / file).read_bytes() for file in FILES]
        for file, content in zip(FILES, contents, strict=True):
            assert self.entry.files[file].size == len(content)
            assert self.entry.files[file].sha256 == hashlib.sha256(content).hexdigest()
            assert content[4:8] == bytes(4)  # no time in the header of gzip
        raw = [np.frombuffer(gzip.decompress(content), np.uint8) for content in contents]
        shapes = [tuple(np.frombuffer(values[4:16].tobytes(), ">u4")) for values in raw[::2]]
        self.train, self.test = (values[16:].reshape(shape) for values, shape in zip(raw[::2], shapes, strict=True))
        self.train_labels, self.test_labels = (values[8:] for values in raw[1::2])

    def named(self) -> list[str]:
        """The name of the class of each image, training images first."""
        return [self.entry.classes[label] for label in [*self.train_labels, *self.test_labels]]

    def counts(self) -> dict[str, tuple[int, int]]:
        """The numbers of training and test images per class, as printed."""
        lines = self.output.splitlines()
        start = next(index for index, line in enumerate(lines) if line.startswith("class "))
        rows = [line.split() for line in lines[start + 1 : start + 2 + len(self.entry.classes)]]
        return {name: (int(train), int(test)) for name, train, test in rows}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command; return what it wrote."""
    for module in (catalogue, dataset):
        monkeypatch.setattr(module, "DATASETS", tmp_path / "datasets")
    monkeypatch.setattr(dataset, "CUSTOM", tmp_path / "custom")

    def run(source: Path, *options: str, name: str = "letters") -> Result:
        monkeypatch.setattr(sys, "argv", ["dataset", name, str(source), *options])
        dataset.main()
        return Result(tmp_path, name, capsys.readouterr().out)

    return run


def drawing(letter: str, size: int = 120, seed: int = 0) -> Image.Image:
    """A letter in ink on paper, grey; a different place and size for each seed."""
    rng = np.random.default_rng([seed, ord(letter)])
    image = Image.new("L", (size, size + 20), 230)
    ImageDraw.Draw(image).text(rng.integers(10, 30, 2), letter, fill=30, font_size=int(rng.integers(50, 80)))
    return image


def write_folder(top: Path, classes: str = "abc", count: int = 14) -> Path:
    """A folder of drawings with a sub-folder per class."""
    for letter in classes:
        (top / letter).mkdir(parents=True)
        for seed in range(count):
            drawing(letter, seed=seed).save(top / letter / f"{seed}.png")
    return top


def write_idx(folder: Path, names: list[str], arrays: list[np.ndarray]) -> Path:
    folder.mkdir()
    for name, array in zip(names, arrays, strict=True):
        content = idx_bytes(array)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder


ARRAYS = [DIGITS[:300], np.uint8(LABELS[:300]), DIGITS[300:400], np.uint8(LABELS[300:400])]
EIGHT = ("--size", "8")


def test_photos_are_prepared_as_predict_prepares_them(make, tmp_path):
    photos = write_folder(tmp_path / "photos")
    result = make(photos)
    assert result.counts() == dict.fromkeys("abc", (12, 2)) | {"all": (36, 6)}
    assert result.entry.classes == ["a", "b", "c"]
    assert "prepared as predict.py prepares images" in result.output
    expected = {
        fit_ink(find_ink(Image.open(path)), (28, 28), 20).tobytes(): path.parent.name for path in photos.rglob("*.png")
    }
    images = [*result.train, *result.test]
    assert len(images) == 42
    assert [expected[image.tobytes()] for image in images] == result.named()
    assert result.named() != sorted(result.named())  # in a random order
    assert "dvc exp run -S download.dataset=letters" in result.output.splitlines()[-1]


def test_the_same_source_gives_the_same_bytes_and_a_changed_one_renews_the_entry(make, tmp_path):
    photos, entry = write_folder(tmp_path / "photos"), tmp_path / "datasets/letters.yaml"
    first = make(photos)
    text = entry.read_text()
    make(photos)
    assert entry.read_text() == text
    drawing("a", seed=99).save(photos / "a/99.png")
    assert make(photos).entry.files != first.entry.files
    assert make(photos, "--seed", "2").entry.files != make(photos, "--seed", "3").entry.files


def test_white_on_black_of_the_right_size_is_left_as_it_is(make, tmp_path):
    for index, (image, label) in enumerate(zip(DIGITS[:200], LABELS, strict=False)):
        (tmp_path / f"digits/{label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / f"digits/{label}/{index}.png")
    result = make(tmp_path / "digits", *EIGHT)
    assert "unchanged" in result.output
    assert {image.tobytes() for image in [*result.train, *result.test]} == {image.tobytes() for image in DIGITS[:200]}
    assert "prepared as predict.py" in make(tmp_path / "digits", *EIGHT, "--prepare", "always").output
    assert "prepared as predict.py" in make(tmp_path / "digits").output
    assert result.entry.prepare
    resized = make(tmp_path / "digits", "--prepare", "never")
    assert resized.train.shape[1:] == (28, 28)
    assert "only resized" in resized.output
    assert not resized.entry.prepare  # predict.py then does not, either


def variants(image: Image.Image) -> dict[str, Image.Image]:
    """One drawing in many modes, formats, sizes and colours, by file name."""
    alpha = Image.fromarray(255 - np.asarray(image))
    transparent = Image.merge("LA", [Image.new("L", image.size, 0), alpha])
    return {
        "grey.png": image,
        "colour.jpg": Image.merge("RGB", [image, image.point(lambda v: v * 0.9), image]),
        "inverted.webp": Image.fromarray(255 - np.asarray(image)),
        "palette.gif": image.convert("P"),
        "palette.png": image.convert("RGB").quantize(16),
        "transparent.png": transparent,
        "rgba.tiff": transparent.convert("RGBA"),
        "sixteen.png": Image.fromarray(np.asarray(image, np.uint16) * 257),
        "sixteen.tif": Image.fromarray(np.asarray(image, np.uint16) * 257),
        "cmyk.jpg": image.convert("CMYK"),
        "one-bit.bmp": image.point(lambda v: 255 * (v > 128)).convert("1"),
        "large.pgm": image.resize((600, 700)),
        "odd.PNG": image.crop((0, 0, 119, 139)),
    }


def test_formats_modes_colours_and_sizes_may_be_mixed(make, tmp_path):
    for letter in "ab":
        (tmp_path / "mixed" / letter).mkdir(parents=True)
        for name, image in variants(drawing(letter, seed=3)).items():
            image.save(tmp_path / "mixed" / letter / name)
    result = make(tmp_path / "mixed")
    assert "left out" not in result.output
    for index, letter in enumerate("ab"):
        expected = fit_ink(find_ink(drawing(letter, seed=3)), (28, 28), 20).astype(float).ravel()
        images = np.concatenate([result.train[result.train_labels == index], result.test[result.test_labels == index]])
        assert len(images) == len(variants(drawing("a")))
        for image in images:
            assert np.corrcoef(image.ravel(), expected)[0, 1] > 0.9


def test_unusable_files_are_listed_and_left_out(make, tmp_path):
    photos = write_folder(tmp_path / "photos")
    (photos / "a/notes.txt").write_text("not an image")
    (photos / "b/cut.png").write_bytes((photos / "b/1.png").read_bytes()[:200])
    (photos / "b/empty.jpg").touch()
    (photos / "c/drawing.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (photos / "c/.hidden").write_text("")
    (photos / "readme.md").write_text("")
    result = make(photos)
    assert result.counts()["all"] == (36, 6)
    left_out = result.output.split("left out as unusable, 4:\n")[1].splitlines()[:4]
    texts = dict(
        line.strip().rsplit(": ", 1) if "cannot" not in line else line.strip().split(": ", 1) for line in left_out
    )
    assert texts[str(photos / "a/notes.txt")] == "is not an image of a supported format"
    assert texts[str(photos / "b/cut.png")].startswith("cannot be read: ")
    assert str(photos / "b/empty.jpg") in texts
    assert str(photos / "c/drawing.eps") in texts
    assert f"not used: {photos / 'readme.md'}\n" in result.output


def test_system_files_are_not_mentioned_and_a_long_list_ends_with_a_count(make, tmp_path):
    write_folder(tmp_path / "photos", "ab", 9)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "a/Thumbs.db", "b/desktop.ini", "b/.DS_Store"):
        (tmp_path / "photos" / name).write_bytes(b"no image")
    result = make(tmp_path / "photos")
    assert "not used" not in result.output
    assert "left out" not in result.output
    for number in range(10, 25):
        (tmp_path / f"photos/note-{number}.txt").touch()
    notes = [line for line in make(tmp_path / "photos").output.splitlines() if line.startswith("not used: ")]
    names = [f"not used: {tmp_path / f'photos/note-{number}.txt'}" for number in range(10, 20)]
    assert notes == [*names, f"not used: 5 more in {tmp_path / 'photos'}"]


def test_folders_train_and_test_are_the_splits(make, tmp_path):
    write_folder(tmp_path / "photos/train", "ab", 9)
    write_folder(tmp_path / "photos/Test", "abc", 4)
    (tmp_path / "photos/val").mkdir()
    result = make(tmp_path / "photos")
    assert result.counts() == {"a": (9, 4), "b": (9, 4), "c": (0, 4), "all": (18, 12)}
    assert "classes without a training image, which the network cannot learn: c\n" in result.output
    assert f"not used: {tmp_path / 'photos/val'}\n" in result.output
    # The places of the letters are the same in both folders.
    assert "test images identical to a training image: 8, such as " in result.output
    assert "; the test accuracy will be too high" in result.output


def test_what_is_unusual_is_said(make, tmp_path):
    photos = write_folder(tmp_path / "photos", "ab", 7)
    (photos / "empty").mkdir()
    (photos / "single").mkdir()
    drawing("s").save(photos / "single/1.png")
    for number in range(3):
        Image.new("L", (50, 50), 200).save(photos / f"a/blank{number}.png")
    result = make(photos)
    assert "classes without a training image, which the network cannot learn: empty\n" in result.output
    assert "classes without a test image: empty, single\n" in result.output
    assert "training images of one colour: 3, such as " in result.output


def test_the_test_images_are_a_fraction_of_each_class(make, tmp_path):
    photos = write_folder(tmp_path / "photos", "ab", 10)
    for test_size, test in (("0.2", 2), ("1/3", 3), ("0.99", 9), ("0.001", 1)):
        result = make(photos, "--test-size", test_size)
        assert result.counts()["a"] == result.counts()["b"] == (10 - test, test)


@pytest.mark.parametrize(
    "names",
    [
        list(FILES),
        ["train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"],
        [
            "x-train-images-idx3-ubyte",
            "x-train-labels-idx1-ubyte",
            "x-test-images-idx3-ubyte",
            "x-test-labels-idx1-ubyte",
        ],
    ],
)
def test_idx_files_may_have_any_of_their_usual_names(make, tmp_path, names):
    result = make(write_idx(tmp_path / "idx", names, ARRAYS), *EIGHT)
    for found, array in zip((result.train, result.train_labels, result.test, result.test_labels), ARRAYS, strict=True):
        np.testing.assert_array_equal(found, array)
    assert result.entry.classes == [str(digit) for digit in range(10)]


def test_emnist_is_transposed_and_its_labels_begin_at_1(make, tmp_path):
    names = [
        f"emnist-letters-{split}-{kind}-ubyte.gz"
        for split in ("train", "test")
        for kind in ("images-idx3", "labels-idx1")
    ]
    images, labels = [each.swapaxes(1, 2) for each in ARRAYS[::2]], [each + 1 for each in ARRAYS[1::2]]
    folder = write_idx(tmp_path / "gzip", names, [images[0], labels[0], images[1], labels[1]])
    write_idx(tmp_path / "other", [name.replace("letters", "digits") for name in names], ARRAYS)
    for path in (tmp_path / "other").iterdir():
        path.rename(folder / path.name)
    with pytest.raises(
        UserError, match="has several data sets; name a file of the one to read, such as emnist-digits-"
    ):
        make(folder, *EIGHT)
    result = make(folder / names[0], *EIGHT, "--classes", "a,b,c,d,e,f,g,h,i,j")
    np.testing.assert_array_equal(result.train, ARRAYS[0])
    np.testing.assert_array_equal(result.test_labels, ARRAYS[3])
    assert result.entry.classes == list("abcdefghij")
    assert "rows and columns exchanged" in result.output
    assert make(folder / names[0], *EIGHT).entry.classes == list("abcdefghij")  # those of the earlier call
    np.testing.assert_array_equal(make(folder / names[0], *EIGHT, "--no-transpose").train, images[0])


def test_keras_npz_is_read(make, tmp_path):
    np.savez(tmp_path / "mnist.npz", x_train=ARRAYS[0], y_train=ARRAYS[1], x_test=ARRAYS[2], y_test=ARRAYS[3])
    result = make(tmp_path / "mnist.npz", *EIGHT)
    np.testing.assert_array_equal(result.train, ARRAYS[0])
    np.testing.assert_array_equal(result.test_labels, ARRAYS[3])


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (DIGITS[:300] / 255, LABELS[:300]),
        (np.float32(DIGITS[:300]), np.float32(LABELS[:300])),
        (DIGITS[:300, :, :, None], LABELS[:300, None]),
        (np.repeat(DIGITS[:300, :, :, None], 3, axis=3), LABELS[:300]),
        (DIGITS[:300].astype(np.uint16) * 257, LABELS[:300].astype(str)),
    ],
)
def test_npz_values_may_be_of_any_scale(make, tmp_path, images, labels):
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels)
    result = make(tmp_path / "own.npz", *EIGHT)
    assert {image.tobytes() for image in [*result.train, *result.test]} == {image.tobytes() for image in DIGITS[:300]}
    assert result.entry.classes == [str(digit) for digit in range(10)]


def table(images: np.ndarray, labels: list | None, *, header: bool) -> str:
    rows = [",".join(f"pixel{n}" for n in range(images[0].size))] if header else []
    rows += [",".join(map(str, image.ravel())) for image in images]
    first = [] if labels is None else ["label"] * header + list(labels)
    return "".join(f"{label},{row}\n" for label, row in zip(first, rows, strict=True)) if first else "\n".join(rows)


@pytest.mark.parametrize("header", [True, False])
def test_kaggles_csv_is_read(make, tmp_path, header):
    (tmp_path / "kaggle").mkdir()
    (tmp_path / "kaggle/train.csv").write_text(table(DIGITS[:200], list(LABELS[:200]), header=header))
    (tmp_path / "kaggle/test.csv").write_text(table(DIGITS[200:250], None, header=header))
    result = make(tmp_path / "kaggle", *EIGHT)
    assert {image.tobytes() for image in [*result.train, *result.test]} == {image.tobytes() for image in DIGITS[:200]}
    assert (
        f"not used: {tmp_path / 'kaggle/test.csv'} has no labels; to classify it: python predict.py " in result.output
    )
    (tmp_path / "kaggle/test.csv").write_text(table(DIGITS[200:250], list(LABELS[200:250]), header=header))
    np.testing.assert_array_equal(make(tmp_path / "kaggle/train.csv", *EIGHT).test, DIGITS[200:250])


def test_the_rows_of_emnist_are_not_for_predict_which_does_not_transpose(make, tmp_path):
    (tmp_path / "emnist-train.csv").write_text(table(DIGITS[:200], list(LABELS[:200]), header=False))
    (tmp_path / "emnist-test.csv").write_text(table(DIGITS[200:250], None, header=False))
    result = make(tmp_path / "emnist-train.csv", *EIGHT)
    assert f"not used: {tmp_path / 'emnist-test.csv'} has no labels\n" in result.output


def test_labels_of_a_csv_may_be_text(make, tmp_path):
    (tmp_path / "own.csv").write_text(table(DIGITS[:40], ["$x$", "NA"] * 20, header=True))
    result = make(tmp_path / "own.csv", *EIGHT)
    assert result.entry.classes == ["$x$", "NA"]
    (tmp_path / "own.csv").write_text(table(DIGITS[:40], ["01", "<<"] * 20, header=True))
    result = make(tmp_path / "own.csv", *EIGHT)
    assert sorted(result.entry.classes) == ["01", "<<"]


@pytest.mark.parametrize(
    ("labels", "options", "classes"),
    [
        ([0, 1, 3], [], ["0", "1", "2", "3"]),  # 2 has no image
        ([3, 8], [], ["3", "8"]),  # there is no reason to believe in 4 to 7
        ([1, 2, 3], ["--classes", "a,b,c"], ["a", "b", "c"]),
        ([1, 2], ["--classes", "a,b,c"], ["a", "b", "c"]),  # numbers that fit count from 0
    ],
)
def test_numbers_become_classes(make, tmp_path, labels, options, classes):
    y = np.resize(labels, 30)
    np.savez(tmp_path / "own.npz", x_train=DIGITS[:30], y_train=y)
    result = make(tmp_path / "own.npz", *EIGHT, *options)
    assert result.entry.classes == classes
    counts = [*result.train_labels, *result.test_labels]
    assert len(set(counts)) == len(labels)


def test_a_folder_of_test_images_without_classes_is_named_and_not_used(make, tmp_path):
    write_folder(tmp_path / "kaggle/train", "ab", 14)
    (tmp_path / "kaggle/test").mkdir()
    drawing("a").save(tmp_path / "kaggle/test/1.png")
    result = make(tmp_path / "kaggle")
    assert result.counts()["all"] == (24, 4)
    assert f"not used: {tmp_path / 'kaggle/test'}\n" in result.output


def test_title_and_mirrors_of_the_entry_are_kept(make, tmp_path):
    photos, entry = write_folder(tmp_path / "photos", "ab", 3), tmp_path / "datasets/letters.yaml"
    assert make(photos).entry.title == "letters"
    entry.write_text(
        entry.read_text()
        .replace("title: letters", "title: My $letters$")
        .replace("mirrors: [", "mirrors: ['https://x/', ")
    )
    kept = make(photos).entry
    assert (kept.title, kept.mirrors[0]) == ("My $letters$", "https://x/")
    assert make(photos, "--title", "Ж").entry.title == "Ж"


def idx_source(folder: Path, **changes: bytes) -> Path:
    """IDX files, some with other bytes."""
    write_idx(folder, ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"], ARRAYS[:2])
    for name, content in changes.items():
        (folder / f"train-{name}-ubyte").write_bytes(content)
    return folder


def folder_of(top: Path, *names: str) -> Path:
    for name in names:
        (top / name).mkdir(parents=True)
        drawing("a").save(top / name / "1.png")
    top.mkdir(exist_ok=True)
    return top


def two_classes(top: Path) -> Path:
    return write_folder(top, "ab", 2)


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (lambda top: top / "nowhere", [], "does not exist; FROM should be a folder with a sub-folder per class"),
        (lambda top: folder_of(top / "f"), [], "has no sub-folders; FROM should be"),
        (lambda top: folder_of(top / "f", "train", "test"), [], "f has no sub-folder per class; FROM should be"),
        (lambda top: folder_of(top / "f", "a", "b"), [], "no class has more than one image, so there are none to test"),
        (lambda top: two_classes(top / "f"), ["--classes", "x,x"], "--classes should be unique names, got x, x"),
        (lambda top: two_classes(top / "f"), ["--classes", f"x,{'y' * 101}"], "classes.1: .* at most 100 characters"),
        (lambda top: two_classes(top / "f"), ["--title", "お"], "letters.yaml: title: 'お' has お, which DejaVu Sans"),
        (lambda top: folder_of(top / "f", "a"), [], "expected 2 to 256 classes, got 1: a"),
        (
            lambda top: folder_of(top / "f", "a", "お"),
            [],
            "class 'お' has お, which DejaVu Sans.*rename it, or name all",
        ),
        (lambda top: folder_of(top / "f", "a", "b"), ["--classes", "x,y,z"], "--classes has 3 names, but there are 2"),
        (lambda top: idx_source(top / "i", **{"images-idx3": b"x"}), [], "is not an IDX file of images"),
        (
            lambda top: idx_source(top / "i", **{"labels-idx1": idx_bytes(ARRAYS[3])}),
            [],
            "300 images, but .* 100 labels",
        ),
        (
            lambda top: idx_source(top / "i", **{"labels-idx1": idx_bytes(ARRAYS[1])[:-1]}),
            [],
            "has 299 values, but decl",
        ),
        (lambda top: idx_source(top / "i", **{"labels-idx1": b"\x1f\x8b\x08"}), [], "is corrupt"),
    ],
)
def test_a_wrong_source_is_explained_and_nothing_is_written(make, tmp_path, build, options, message):
    with pytest.raises(UserError, match=message):
        make(build(tmp_path), *options)
    assert not (tmp_path / "datasets").exists()
    assert not (tmp_path / "custom").exists()


@pytest.mark.parametrize("name", ["mnist", "Letters", "2x", "a-b", "../x", ""])
def test_a_name_that_cannot_be_used_is_refused(make, tmp_path, name):
    (tmp_path / "datasets").mkdir()
    shipped = Path(catalogue.__file__).parents[2] / "datasets/mnist.yaml"
    (tmp_path / "datasets/mnist.yaml").write_bytes(shipped.read_bytes())
    with pytest.raises(UserError, match="NAME"):
        make(write_folder(tmp_path / "photos", "ab", 2), name=name)
    assert (tmp_path / "datasets/mnist.yaml").read_bytes() == shipped.read_bytes()


def test_a_missing_source_is_named(make):
    with pytest.raises(UserError, match="FROM is missing: make dataset NAME=letters FROM="):
        make(Path())


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--size", "0", "28, or 28x20"),
        ("--size", "28x2000", "1 to 1024"),
        ("--test-size", "1/0", "such as 0.2 or 1/7"),
        ("--seed", "-1", "0 or larger"),
    ],
)
def test_an_invalid_option_is_explained(make, tmp_path, capsys, option, value, allowed):
    with pytest.raises(SystemExit):
        make(tmp_path, option, value)
    message = capsys.readouterr().err
    assert f"argument {option}: is {value}, but should be" in message
    assert allowed in message


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_the_earlier_files(make, tmp_path):
    photos = write_folder(tmp_path / "photos", "ab", 5)
    make(photos)
    before = {path: path.read_bytes() for top in ("datasets", "custom") for path in (tmp_path / top).rglob("*.*")}
    drawing("a", seed=50).save(photos / "a/50.png")
    (tmp_path / "custom/letters" / f".partial-{FILES[3]}").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        make(photos)
    assert {
        path: path.read_bytes() for top in ("datasets", "custom") for path in (tmp_path / top).rglob("*.*")
    } == before


@pytest.mark.slow
def test_a_data_set_of_photos_is_trained_and_classified(checkout: Checkout, tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "my photos", "xyz", 30)
    done = checkout.run("-m", "tools.dataset", "letters", str(photos))
    assert done.returncode == 0, done.stderr
    # --temp runs in a copy of what is in git, which has no data/custom.
    checkout.git("add", "datasets/letters.yaml")
    changes = ["-S", "download.dataset=letters", "-S", "train.epochs=20", "-S", "preprocess.validation_size=0.1"]
    ran = checkout.run("-m", "dvc", "exp", "run", "--temp", *changes)
    assert ran.returncode == 0, ran.stderr
    ran = checkout.run("-m", "dvc", "exp", "run", *changes)
    assert ran.returncode == 0, ran.stderr
    data = json.loads((checkout.folder / "reports/data.json").read_text())
    assert (data["dataset"], data["box"], [row["class"] for row in data["class_counts"]]) == (
        "letters",
        20,
        list("xyz"),
    )
    assert json.loads((checkout.folder / "reports/metrics.json").read_text())["accuracy"] > 0.9
    drawing("y", seed=77).save(tmp_path / "new.png")
    assert checkout.run("predict.py", str(tmp_path / "new.png")).stdout.startswith(f"{tmp_path / 'new.png'}: y, ")
    (photos / "x/1.png").unlink()
    assert checkout.repro() == []
    assert checkout.run("-m", "tools.dataset", "letters", str(photos)).returncode == 0
    assert checkout.repro() == ALL
