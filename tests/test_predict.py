"""The predict command: its output for good images and for bad files, as text and as JSON."""

import csv
import json
import re
import shutil
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Checkout
from PIL import Image
from sheets import MNIST, four

from mnist.core.data import DataSummary
from mnist.core.errors import UserError
from mnist.handwriting import fit_ink, resize
from predict import prepare, read_images


@pytest.fixture(scope="module")
def pictures(reproduced: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 12 test images, and a text file."""
    folder = tmp_path_factory.mktemp("pictures")
    images = np.load(reproduced.folder / "data/processed/test_images.npy")[:12]
    for index, image in enumerate(images):
        Image.fromarray(np.uint8(np.round(255 * image.reshape(8, 8)))).save(folder / f"{index:02}.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


@dataclass
class Classified:
    """What predict.py --json printed, exit status, and the images as the network sees them."""

    entries: list[dict[str, Any]]
    status: int
    shown: list[np.ndarray]


@pytest.fixture(scope="module")
def classified(reproduced: Checkout, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Classified:
    """The pictures, and none.png, which does not exist."""
    folder = tmp_path_factory.mktemp("shown")
    done = reproduced.run("predict.py", "--json", "--show", str(folder), str(pictures), "none.png")
    shown = [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]
    return Classified(json.loads(done.stdout), done.returncode, shown)


def bomb(path: Path) -> None:
    """A small PNG whose header declares 60,000 by 60,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(content)


def test_label_and_probability_of_each_image_are_printed(reproduced: Checkout, pictures: Path) -> None:
    done = reproduced.run("predict.py", str(pictures))
    assert done.returncode == 0, done.stderr
    pattern = r"(.*): (\d), ((?:> )?\d+\.\d) %(, unsure)?"
    lines = [re.fullmatch(pattern, line).groups() for line in done.stdout.splitlines()]
    assert [path for path, *_ in lines] == [str(pictures / f"{index:02}.png") for index in range(12)]


def test_a_label_is_unsure_below_the_limit_of_the_parameters(
    checkout: Checkout, pictures: Path, classified: Classified
) -> None:
    highest = [max(entry["probabilities"].values()) for entry in classified.entries[:-1]]
    limit = round(float(np.mean(highest)), 3)
    checkout.set_param("unsure_below", str(limit))
    entries = json.loads(checkout.run("predict.py", "--json", str(pictures)).stdout)
    expected = [probability < limit for probability in highest]
    assert [entry["unsure"] for entry in entries] == expected
    lines = checkout.run("predict.py", str(pictures)).stdout.splitlines()
    assert [line.endswith(" %, unsure") for line in lines] == expected
    assert True in expected
    assert False in expected


def test_an_invalid_limit_is_named(checkout: Checkout, pictures: Path) -> None:
    checkout.set_param("unsure_below", "90.0")
    done = checkout.run("predict.py", str(pictures))
    assert (done.returncode, done.stdout) == (1, "")
    assert "predict: params.yaml: predict.unsure_below is 90.0, but should be less than or equal to 1" in done.stderr


def test_images_like_the_training_images_are_classified_unchanged(classified: Classified, pictures: Path) -> None:
    given = [np.asarray(Image.open(path)) for path in sorted(pictures.glob("*.png"))]
    assert np.array_equal(classified.shown, given)


def test_the_probabilities_equal_kerass(reproduced: Checkout, classified: Classified, tmp_path: Path) -> None:
    np.save(tmp_path / "shown.npy", [image.ravel() / np.float32(255) for image in classified.shown])
    keras = reproduced.run(
        "-c",
        "import sys, numpy as np; from mnist.model.backend import keras; "
        "network = keras.saving.load_model('models/model.keras'); "
        "print(network.predict(np.load(sys.argv[1]), verbose=0).tolist())",
        str(tmp_path / "shown.npy"),
    )
    found = [list(entry["probabilities"].values()) for entry in classified.entries[:-1]]
    np.testing.assert_allclose(found, json.loads(keras.stdout.splitlines()[-1]), atol=1e-5)
    assert [entry["label"] for entry in classified.entries[:-1]] == [str(np.argmax(row)) for row in found]


def test_bad_files_are_reported_and_the_others_classified(reproduced: Checkout, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes((pictures / "00.png").read_bytes()[:60])
    Image.new("L", (20, 20), 255).save(tmp_path / "white.png")
    Image.fromarray(np.uint8(np.tile(255 * ~four(100), (1, 2)))).save(tmp_path / "44.png")
    (tmp_path / "drawing.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    bomb(tmp_path / "bomb.png")
    names = ("text.png", "empty.jpg", "cut.png", "white.png", "44.png", "drawing.eps", "bomb.png", "none.png")
    bad = [str(tmp_path / name) for name in names]
    done = reproduced.run("predict.py", *bad[:3], str(pictures / "03.png"), *bad[3:])
    assert done.returncode == 1
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [str(pictures / "03.png")]
    errors = dict(line.split(": ", 1) for line in done.stderr.splitlines())
    assert list(errors) == bad
    texts = dict(zip(names, errors.values(), strict=True))
    for name in ("text.png", "empty.jpg", "drawing.eps"):
        assert texts[name] == "is not an image of a supported format"
    assert texts["cut.png"].startswith("cannot be read: ")
    assert texts["white.png"] == "is blank: all its pixels have one colour"
    assert texts["44.png"] == "shows no single digit: its ink is in separate shapes; crop it to one digit"
    assert "too many pixels" in texts["bomb.png"]
    assert texts["none.png"] == "cannot be read: No such file or directory"


def test_json_lists_probabilities_and_errors(classified: Classified, pictures: Path) -> None:
    assert classified.status == 1
    good, *_, bad = classified.entries
    assert good["path"] == str(pictures / "00.png")
    assert list(good["probabilities"]) == [str(digit) for digit in range(10)]
    assert sum(good["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert good["label"] == max(good["probabilities"], key=good["probabilities"].get)
    assert bad == {"path": "none.png", "error": "cannot be read: No such file or directory"}


def test_show_writes_the_prepared_images(reproduced: Checkout, tmp_path: Path) -> None:
    ink = np.zeros((300, 200), np.uint8)
    ink[40:240, 90:115] = 255
    Image.fromarray(255 - ink).save(tmp_path / "one.jpg")
    done = reproduced.run(str(reproduced.folder / "predict.py"), "one.jpg", "--show", "prepared", cwd=str(tmp_path))
    assert done.returncode == 0, done.stderr
    (prepared,) = (tmp_path / "prepared").iterdir()
    assert prepared.name == "00001_one.jpg.png"
    image = np.asarray(Image.open(prepared))
    assert image.shape == (8, 8)
    assert image[:, 3:5].max() == 255
    assert not image[:, :2].any()


def test_shown_images_of_one_name_are_all_kept(reproduced: Checkout, pictures: Path, tmp_path: Path) -> None:
    long = f"{'x' * 240}.png"
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(pictures / "00.png", tmp_path / folder / long)
    script = str(reproduced.folder / "predict.py")
    done = reproduced.run(script, f"a/{long}", f"b/{long}", "--show", "shown", cwd=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "shown").glob("0000[12]_*.png"))) == 2


@pytest.mark.parametrize("target", ["/proc/self/fd/1", "link.csv"])  # the former is what /dev/stdout links to
def test_the_answer_file_may_be_a_pipe_or_a_link(
    reproduced: Checkout, pictures: Path, tmp_path: Path, target: str
) -> None:
    (tmp_path / "file.csv").touch()
    (tmp_path / "link.csv").symlink_to("file.csv")
    script, image = str(reproduced.folder / "predict.py"), str(pictures / "00.png")
    done = reproduced.run(script, image, "--csv", target, cwd=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f"{done.stdout}{(tmp_path / 'file.csv').read_text()}".startswith("ImageId,Label\n1,")
    assert (tmp_path / "link.csv").is_symlink()


def test_a_name_that_is_not_utf_8_is_printed(reproduced: Checkout, pictures: Path, tmp_path: Path) -> None:
    name = b"bad\xff.png".decode(errors="surrogateescape")
    shutil.copy(pictures / "00.png", tmp_path / name)
    done = reproduced.run("predict.py", str(tmp_path / name), changes={"PYTHONIOENCODING": "utf-8:strict"})
    assert done.returncode == 0, done.stderr
    assert "bad\\udcff.png: " in done.stdout


def test_an_image_that_is_already_prepared_stays_unchanged(reproduced: Checkout, tmp_path: Path) -> None:
    image = np.zeros((8, 8), np.uint8)
    image[1:8, 1] = 200  # thin, not centred, and not of full contrast
    Image.fromarray(image).save(tmp_path / "thin.png")
    Image.fromarray(image).convert("RGBA").save(tmp_path / "colour.png")  # as a browser saves it
    script = str(reproduced.folder / "predict.py")
    done = reproduced.run(script, "thin.png", "colour.png", "--show", "shown", cwd=str(tmp_path))
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "shown").iterdir():
        np.testing.assert_array_equal(np.asarray(Image.open(path)), image)


def test_where_nothing_is_to_be_prepared_images_are_only_resized(tmp_path: Path) -> None:
    data = DataSummary("clothes", "Clothes", ["hat", "shoe"], (4, 6), False, 4, True, "test images", {})
    levels = np.random.default_rng(1).integers(0, 256, (8, 12), dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "large.png")
    Image.fromarray(levels[:4, :6]).save(tmp_path / "small.png")
    (tmp_path / "table.csv").write_text(",".join(map(str, [0, *levels[:4, :6].ravel()])))
    [large] = read_images(tmp_path / "large.png", data).values()
    np.testing.assert_array_equal(large, resize(levels, (4, 6)))
    for name in ("small.png", "table.csv"):
        [image] = read_images(tmp_path / name, data).values()
        np.testing.assert_array_equal(image, levels[:4, :6])


def test_an_image_of_one_colour_is_blank_in_any_size(reproduced: Checkout, tmp_path: Path) -> None:
    for size in (8, 20):
        Image.new("L", (size, size), 0).save(tmp_path / f"{size}.png")
    done = reproduced.run(str(reproduced.folder / "predict.py"), "8.png", "20.png", cwd=str(tmp_path))
    assert done.returncode == 1
    assert (
        done.stderr
        == "8.png: is blank: all its pixels have one colour\n20.png: is blank: all its pixels have one colour\n"
    )


def test_kaggles_answer_file_is_written_for_a_table_of_pixels(reproduced: Checkout, tmp_path: Path) -> None:
    images = np.load(reproduced.folder / "data/processed/test_images.npy")[:50]
    pixels = np.uint8(np.round(255 * images))
    header = ",".join(f"pixel{number}" for number in range(64))
    np.savetxt(tmp_path / "test.csv", pixels, "%d", ",", header=header, comments="")
    done = reproduced.run("predict.py", str(tmp_path / "test.csv"), "--csv", str(tmp_path / "answers.csv"))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    with (reproduced.folder / "reports/predictions.csv").open() as file:
        expected = [row["predicted"] for row in csv.DictReader(file)][:50]
    lines = (tmp_path / "answers.csv").read_text().split("\n")
    assert lines == ["ImageId,Label", *(f"{number},{label}" for number, label in enumerate(expected, 1)), ""]


def test_a_table_of_other_images_is_prepared_like_images(reproduced: Checkout, pictures: Path, tmp_path: Path) -> None:
    inverted = [255 - np.asarray(Image.open(path)) for path in sorted(pictures.glob("*.png"))]
    np.savetxt(tmp_path / "inverted.csv", np.reshape(inverted, (12, -1)), "%d", ",")
    for index, image in enumerate(inverted):
        Image.fromarray(image).save(tmp_path / f"{index:02}.png")
    paths = sorted(tmp_path.glob("*.png"))
    done = reproduced.run("predict.py", str(tmp_path / "inverted.csv"), *map(str, paths), "--json")
    entries = json.loads(done.stdout)
    assert [entry["path"] for entry in entries[:12]] == [
        f"{tmp_path / 'inverted.csv'}, image {n}" for n in range(1, 13)
    ]
    assert [entry["label"] for entry in entries[:12]] == [entry["label"] for entry in entries[12:]]


def test_each_row_of_a_table_is_judged_by_itself(tmp_path: Path) -> None:
    digit = fit_ink(four().astype(float), (28, 28), 20)
    rows = [digit, np.roll(digit, 4, axis=0), 255 - digit, np.zeros_like(digit)]
    np.savetxt(tmp_path / "rows.csv", np.reshape(rows, (4, -1)), "%d", ",")
    unchanged, shifted, inverted, blank = read_images(tmp_path / "rows.csv", MNIST).values()
    np.testing.assert_array_equal(unchanged, digit)
    for image in (shifted, inverted):
        assert np.corrcoef(np.ravel(image), digit.ravel())[0, 1] > 0.9
    assert blank == "is blank: all its pixels have one colour"


def test_images_that_cannot_be_read_stay_empty_in_the_answer_file(
    reproduced: Checkout, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_text("1,2,3\n")
    files = [str(pictures / "00.png"), str(tmp_path / "none.png"), str(tmp_path / "bad.csv"), str(pictures / "01.png")]
    done = reproduced.run("predict.py", *files, "--csv", str(tmp_path / "answers.csv"))
    assert done.returncode == 1
    rows = (tmp_path / "answers.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2", "3", "4"]
    assert rows[2:4] == ["2,", "3,"]
    assert "answers.csv: 2 labels\n" in done.stderr
    assert f"{tmp_path / 'bad.csv'}: has 3 columns, expected a label and 8 x 8 pixels\n" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"), [(["folder"], "predict: no image in folder"), ([], "required: IMAGE")]
)
def test_wrong_arguments_are_explained(
    reproduced: Checkout, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "folder").mkdir()
    done = reproduced.run(str(reproduced.folder / "predict.py"), *arguments, cwd=str(tmp_path))
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_of_the_output_may_end_early(reproduced: Checkout, pictures: Path) -> None:
    with reproduced.start("predict.py", str(pictures)) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == ""


@pytest.mark.parametrize("images", [0, 1])
def test_sub_folders_are_named(reproduced: Checkout, pictures: Path, tmp_path: Path, images: int) -> None:
    shutil.copytree(pictures, tmp_path / "parent/sevens")
    if images:
        shutil.copy(pictures / "00.png", tmp_path / "parent")
    done = reproduced.run(str(reproduced.folder / "predict.py"), "parent/", cwd=str(tmp_path))
    first, *rest = done.stderr.splitlines()
    assert first == "parent: images in its sub-folders are not read; name these: parent/*/"
    assert rest == ([] if images else ["predict: no image in parent"])
    assert len(done.stdout.splitlines()) == images


def test_without_a_model_the_message_names_the_command(unreproduced: Checkout, pictures: Path) -> None:
    done = unreproduced.run("predict.py", str(pictures))
    assert done.returncode == 1
    assert "predict: reports/data.json is missing; run `dvc repro`" in done.stderr


def test_separate_shapes_are_an_error_only_in_larger_images() -> None:
    two = np.full((28, 28), 235, np.uint8)
    two[8:20, 5:8] = two[8:20, 20:23] = 20
    assert prepare(Image.fromarray(two), MNIST).any()
    with pytest.raises(UserError, match="shows no single digit"):
        prepare(Image.fromarray(two).resize((112, 112)), MNIST)


def test_paper_without_ink_is_refused() -> None:
    shade = np.tile(np.linspace(200, 230, 100), (100, 1)).astype(np.uint8)
    with pytest.raises(UserError, match="shows no ink that stands out from paper"):
        prepare(Image.fromarray(shade), MNIST)
