"""The report in a real browser: its content, the drawing pad and the filters."""

import base64
import csv
import json
import os
import re
import shutil
from collections.abc import Iterator
from typing import get_args

import numpy as np
import pytest
from conftest import Checkout, copy_of
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from mnist.handwriting import fit_ink
from mnist.model.backend import keras
from mnist.training.params import TrainParams

CHROME = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MIRROR = os.environ.get("DATASET_MIRROR", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROME and DRIVER), reason="needs chromium and chromedriver"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # selenium's
]

# Hand-drawn strokes, on a field of 280 by 280.
DRAWN = {
    "0": [[(140, 40), (95, 70), (75, 140), (95, 210), (140, 240), (185, 210), (205, 140), (185, 70), (140, 40)]],
    "1": [[(150, 40), (143, 110), (137, 170), (130, 240)]],
    "2": [[(85, 90), (110, 50), (160, 45), (190, 80), (175, 125), (130, 180), (80, 235), (135, 230), (205, 232)]],
    "3": [[(90, 70), (140, 45), (190, 75), (175, 115), (130, 135), (180, 150), (195, 195), (145, 235), (85, 215)]],
    "4": [[(105, 50), (80, 150), (190, 150)], [(175, 60), (165, 150), (155, 245)]],
    "7": [[(80, 65), (140, 62), (200, 58), (170, 120), (145, 180), (125, 245)]],
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROME
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER)) as driver:
        yield driver


@pytest.fixture(scope="module")
def trained(fresh: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with a network trained on MNIST if there is a mirror of it, on scikit-learn's digits otherwise."""
    checkout = copy_of(fresh, tmp_path_factory.mktemp("trained"))
    if MIRROR:
        checkout.set_param("dataset", "mnist")
    else:
        checkout.set_param("epochs", "30")
    checkout.repro(changes={"DATASET_MIRROR": os.path.abspath(MIRROR) if MIRROR else ""})
    return checkout


@pytest.fixture
def page(browser: webdriver.Chrome, trained: Checkout) -> webdriver.Chrome:
    """The report, opened from disk on a wide screen; it must leave no error on the console."""
    browser.get_log("browser")
    browser.set_window_size(1100, 900)
    browser.get((trained.folder / "reports/index.html").as_uri())
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def draw(page: webdriver.Chrome, strokes: list[list[tuple[int, int]]]) -> None:
    pad = page.find_element(By.ID, "pad")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", pad)
    scale = pad.rect["width"] / 280
    for stroke in strokes:
        actions = ActionChains(page, duration=10)
        places = [((x - 140) * scale, (y - 140) * scale) for x, y in stroke]
        actions.move_to_element_with_offset(pad, *map(round, places[0])).click_and_hold()
        for place in places[1:]:
            actions.move_to_element_with_offset(pad, *map(round, place))
        actions.release().perform()


def prediction(page: webdriver.Chrome) -> str:
    return page.find_element(By.ID, "prediction").text


def shown(page: webdriver.Chrome) -> list[tuple[str, str]]:
    mistakes = page.find_elements(By.CSS_SELECTOR, "#mistakes li:not([hidden])")
    return [(item.get_attribute("data-true"), item.get_attribute("data-predicted")) for item in mistakes]


def mistakes_of(checkout: Checkout) -> list[tuple[str, str]]:
    with (checkout.folder / "reports/predictions.csv").open() as file:
        rows = [(row["actual"], row["predicted"]) for row in csv.DictReader(file)]
    return [row for row in rows if row[0] != row[1]]


def test_it_requests_nothing_but_itself(browser: webdriver.Chrome, trained: Checkout) -> None:
    address = (trained.folder / "reports/index.html").as_uri()
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get(address)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requested = [
        event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
    ]
    assert address in requested
    assert {url for url in requested if not url.startswith("data:")} == {address}
    # The page's Content-Security-Policy blocks any request.
    browser.execute_script("new Image().src = 'http://127.0.0.1:9/'")
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


def test_its_numbers_equal_the_metrics(page: webdriver.Chrome, trained: Checkout) -> None:
    metrics = json.loads((trained.folder / "reports/metrics.json").read_text())
    headline = page.find_element(By.TAG_NAME, "header").text
    interval = metrics["accuracy_interval"]
    for value in (metrics["accuracy"], interval["low"], interval["high"]):
        assert f"{100 * value:.2f} %" in headline
    assert f"{metrics['errors']:,} misclassified" in headline
    cells = page.find_elements(By.CSS_SELECTOR, "#confusion td[data-true]")
    counts = np.array([int(cell.text.replace(",", "")) for cell in cells]).reshape(10, 10)
    assert counts.sum() - np.trace(counts) == metrics["errors"]


@pytest.mark.parametrize("digit", DRAWN)
def test_a_drawn_digit_is_recognised(page: webdriver.Chrome, digit: str) -> None:
    if not MIRROR and digit in "04":
        pytest.skip("scikit-learn's digits, of 8 by 8 pixels, have other shapes: needs a DATASET_MIRROR of MNIST")
    draw(page, DRAWN[digit])
    assert prediction(page).split(",")[0] == digit


def test_clear_erases_the_drawing(page: webdriver.Chrome) -> None:
    draw(page, DRAWN["3"])
    assert prediction(page) != "Nothing drawn yet."
    page.find_element(By.ID, "clear").click()
    assert prediction(page) == "Nothing drawn yet."
    draw(page, DRAWN["1"])
    assert prediction(page).split(",")[0] == "1"


def test_the_keyboard_can_draw(page: webdriver.Chrome) -> None:
    pad = page.find_element(By.ID, "pad")
    pad.send_keys(*[Keys.ARROW_UP] * 12)  # without ink
    assert prediction(page) == "Nothing drawn yet."
    pad.send_keys(Keys.SPACE, *[Keys.ARROW_DOWN] * 24, Keys.SPACE, *[Keys.ARROW_LEFT] * 12)
    assert prediction(page).split(",")[0] == "1"
    pad.send_keys(Keys.ESCAPE)
    assert prediction(page) == "Nothing drawn yet."


def test_the_pads_probabilities_equal_kerass(page: webdriver.Chrome, trained: Checkout) -> None:
    """Put 200 test images on the pad's canvas."""
    images = np.load(trained.folder / "data/processed/test_images.npy")[:200]
    levels = np.round(images * 255).astype(int)
    found = page.execute_script(
        """
        const context = document.getElementById("input").getContext("2d");
        return arguments[0].map((pixels) => {
          classifyPixels(Uint8ClampedArray.from(pixels));
          const { data } = context.getImageData(0, 0, ...network.image_shape.toReversed());
          if (pixels.some((level, index) => level !== data[4 * index])) throw new Error("the canvas has other pixels");
          return classifyPixels(pixels.map((_, index) => data[4 * index]));
        });""",
        levels.tolist(),
    )
    np.save(trained.folder / "build.npy", levels.astype(np.float32) / 255)
    done = trained.run(
        "-c",
        "import numpy as np; from mnist.model.backend import keras; "
        "network = keras.saving.load_model('models/model.keras'); "
        "print(network.predict(np.load('build.npy'), verbose=0).tolist())",
    )
    np.testing.assert_allclose(found, json.loads(done.stdout.splitlines()[-1]), atol=1e-4)


def test_weights_in_half_precision_are_read_exactly(page: webdriver.Chrome) -> None:
    numbers = np.arange(2**16, dtype=np.uint16).view(np.float16)
    numbers = numbers[np.isfinite(numbers)]  # all finite ones, subnormal ones included
    network = {"precision": "float16", "weights": base64.b64encode(numbers.astype("<f2").tobytes()).decode()}
    found = page.execute_script("return [...decodeWeights(arguments[0])]", network)
    np.testing.assert_array_equal(found, numbers)


def test_the_pages_activations_equal_kerass(page: webdriver.Chrome, trained: Checkout) -> None:
    values = np.linspace(-6, 6, 241).tolist()
    names = get_args(TrainParams.model_fields["activation"].annotation)
    found = {
        name: page.execute_script("return arguments[0].map(ACTIVATIONS[arguments[1]])", values, name) for name in names
    }
    for name in names:
        expected = keras.activations.get(name)(np.float32(values))
        np.testing.assert_allclose(found[name], expected, atol=2e-6, err_msg=name)
    assert len(names) == 8


def test_a_drawing_is_prepared_like_a_photo(page: webdriver.Chrome) -> None:
    draw(page, DRAWN["4"])
    ink, pixels, shape, box = page.execute_script(
        """
        const { data } = drawing.getImageData(0, 0, pad.width, pad.height);
        const levels = [];
        for (let index = 3; index < data.length; index += 4) levels.push(data[index]);
        const ink = levels.map((level) => level / 255);
        return [levels, [...fitInk(ink, pad.height, pad.width)], network.image_shape, network.box];"""
    )
    expected = fit_ink(np.array(ink).reshape(280, 280) / 255, tuple(shape), box)
    assert np.abs(np.array(pixels).reshape(shape) - expected.astype(int)).max() <= 1  # the last bit of a sum may differ
    assert expected.any()


def test_the_filters_select_by_true_and_predicted_class(page: webdriver.Chrome, trained: Checkout) -> None:
    mistakes = mistakes_of(trained)
    assert sorted(shown(page)) == sorted(mistakes)
    true, predicted = mistakes[0]
    Select(page.find_element(By.ID, "filter-true")).select_by_visible_text(true)
    assert sorted(shown(page)) == sorted(row for row in mistakes if row[0] == true)
    Select(page.find_element(By.ID, "filter-predicted")).select_by_visible_text(predicted)
    expected = [row for row in mistakes if row == (true, predicted)]
    assert shown(page) == expected
    plural = "" if len(expected) == 1 else "s"
    assert page.find_element(By.ID, "shown").text == f"{len(expected)} image{plural}"
    page.find_element(By.CSS_SELECTOR, "#filter button").click()
    assert sorted(shown(page)) == sorted(mistakes)


def test_a_cell_of_the_confusion_matrix_shows_its_images(page: webdriver.Chrome, trained: Checkout) -> None:
    true, predicted = mistakes_of(trained)[0]
    cell = page.find_element(By.CSS_SELECTOR, f"#confusion td[data-true='{true}'][data-predicted='{predicted}']")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", cell)
    ActionChains(page).move_to_element(cell).perform()
    assert "highlighted" in cell.get_attribute("class")
    assert page.find_element(By.ID, "cell").text == f"true {true}, predicted {predicted}: {cell.text} images"
    cell.click()
    assert set(shown(page)) == {(true, predicted)}


def test_the_keyboard_reaches_every_control(page: webdriver.Chrome) -> None:
    reached = set()
    body = page.find_element(By.TAG_NAME, "body")
    body.click()
    for _ in range(200):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.add(page.switch_to.active_element.get_attribute("id"))
        if "mistakes" in reached:
            break
    assert {"pad", "clear", "filter-true", "filter-predicted", "mistakes"} <= reached


@pytest.mark.parametrize("width", [360, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_its_text_has_contrast(page: webdriver.Chrome, width: int, scheme: str) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        for selector in ("body", ".note", "figcaption", "#mistakes b", "#confusion .none"):
            ratio = contrast(*colours(page, selector))
            assert ratio >= (3 if selector == "#confusion .none" else 4.5), (
                selector
            )  # WCAG 2.1: AA; 3 for inactive text
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def colours(page: webdriver.Chrome, selector: str) -> tuple[list[float], list[float]]:
    """The colour of an element's text and of the page, as red, green and blue from 0 to 1."""
    return page.execute_script(
        """
        const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        return [getComputedStyle(document.querySelector(arguments[0])).color,
                getComputedStyle(document.body).backgroundColor].map((colour) => {
          context.fillStyle = colour;
          context.fillRect(0, 0, 1, 1);
          return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map((level) => level / 255);
        });""",
        selector,
    )


def contrast(first: list[float], second: list[float]) -> float:
    """The contrast ratio of WCAG 2.1."""

    def luminance(colour: list[float]) -> float:
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_its_misclassified_images_are_those_of_the_test_set(page: webdriver.Chrome, trained: Checkout) -> None:
    image = page.find_element(By.CSS_SELECTOR, "#mistakes img")
    index = int(re.search(r"Test image (\d+)", image.get_attribute("alt")).group(1))
    content = page.execute_async_script(
        "const done = arguments[1], image = arguments[0], canvas = document.createElement('canvas');"
        "Object.assign(canvas, { width: image.naturalWidth, height: image.naturalHeight });"
        "canvas.getContext('2d').drawImage(image, 0, 0);"
        "done([...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]);",
        image,
    )
    pixels = np.load(trained.folder / "data/processed/test_images.npy")[index]
    np.testing.assert_array_equal(np.array(content).reshape(-1, 4)[:, 0], np.round(pixels * 255))
