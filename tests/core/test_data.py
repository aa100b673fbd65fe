"""The summary of the preprocessed data, and the arrays that it describes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist.core import data, paths
from mnist.core.data import read_data_summary
from mnist.core.errors import UserError
from mnist.core.files import write_array

SUMMARY: dict[str, Any] = {
    "dataset": "pets",
    "title": "Pets",
    "image_shape": [2, 3],
    "prepare": True,
    "box": 2,
    "centred": False,
    "validated_on": "test images",
    "splits": {"train": {"n": 4}, "test": {"n": 2}},
    "class_counts": [{"class": "cat", "train": 1}, {"class": "dog", "train": 3}],
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "data.json"
    monkeypatch.setattr(data, "DATA_SUMMARY", path)
    monkeypatch.setattr(paths, "PROCESSED", tmp_path)
    path.write_text(json.dumps(SUMMARY))
    return path


def test_summary_is_read_as_written(file):
    summary = read_data_summary()
    assert (summary.dataset, summary.title, summary.classes) == ("pets", "Pets", ["cat", "dog"])
    assert (summary.image_shape, summary.pixels, summary.box) == ((2, 3), 6, 2)
    assert (summary.prepare, summary.centred) == (True, False)
    assert summary.sizes == {"train": 4, "test": 2}


@pytest.mark.parametrize("key", SUMMARY)
def test_summary_that_lacks_a_key_is_refused(file, key):
    file.write_text(json.dumps({name: value for name, value in SUMMARY.items() if name != key}))
    with pytest.raises(
        UserError, match=rf"data\.json is not as the preprocess stage writes it .*{key}.*; run `dvc repro`"
    ):
        read_data_summary()


@pytest.mark.parametrize("key", ["image_shape", "splits", "class_counts"])
@pytest.mark.parametrize("value", [None, 3, [3]])
def test_summary_of_another_structure_is_refused(file, key, value):
    file.write_text(json.dumps({**SUMMARY, key: value}))
    with pytest.raises(UserError, match=r"data\.json is not as the preprocess stage writes it"):
        read_data_summary()


def test_split_is_loaded_with_the_sizes_of_the_summary(file):
    images, labels = np.ones((2, 6), np.float32), np.zeros(2, np.uint8)
    write_array(file.parent / "test_images.npy", images)
    write_array(file.parent / "test_labels.npy", labels)
    np.testing.assert_array_equal(read_data_summary().load_split("test")[0], images)
    np.testing.assert_array_equal(read_data_summary().load_split("test")[1], labels)
    write_array(file.parent / "test_labels.npy", labels[1:])
    with pytest.raises(UserError, match=r"test_labels\.npy is uint8 \(1,\), expected uint8 \(2\)"):
        read_data_summary().load_split("test")
