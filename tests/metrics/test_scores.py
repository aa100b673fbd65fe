"""The scores of single classes: those of scikit-learn, and none for a class without images."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from mnist.metrics.scores import class_scores


@pytest.mark.parametrize("classes", [2, 3, 47])
def test_they_equal_those_of_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 2000)
    predicted = np.where(rng.random(2000) < 0.7, labels, rng.integers(0, classes, 2000))
    scores = class_scores(confusion_matrix(labels, predicted))
    assert list(scores) == ["precision", "recall", "f1"]
    np.testing.assert_allclose(list(scores.values()), precision_recall_fscore_support(labels, predicted)[:3])


@pytest.mark.parametrize("predicted", [0, 4])
def test_a_class_without_images_has_no_scores(predicted):
    scores = class_scores(np.array([[6, 0, predicted], [0, 5, 0], [0, 0, 0]]))
    assert [np.isnan(values).tolist() for values in scores.values()] == [[False, False, True]] * 3


def test_a_class_that_is_never_predicted_has_scores_of_0():
    scores = class_scores(np.array([[6, 0], [2, 0]]))
    assert [values[1] for values in scores.values()] == [0, 0, 0]
