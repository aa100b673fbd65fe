"""The plot stage: the title of the figure of the mistakes."""

from stages.plot import mistakes_title


def test_the_title_gives_the_number_of_mistakes() -> None:
    assert mistakes_title("MNIST", 1259) == "MNIST: the most confident of 1,259 misclassified images"
    assert mistakes_title("MNIST", 0) == "MNIST: no misclassified images"
