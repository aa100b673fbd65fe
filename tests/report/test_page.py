"""The report in a real browser: its content, the drawing pad and the filters."""

import base64
import csv
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from conftest import Checkout, copy_of, wait_until
from contrast import GRAPHICS, TEXT, contrast
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


def show_all(page: webdriver.Chrome) -> None:
    """Click "Show all", which is there if more images are misclassified than shown at first."""
    button = page.find_element(By.ID, "more")
    if button.is_displayed():
        button.click()


def drawn(page: webdriver.Chrome) -> list[int]:
    """The opacity of each pixel of the drawing."""
    return page.execute_script(
        "return [...drawing.getImageData(0, 0, pad.width, pad.height).data.filter((_, index) => index % 4 === 3)]"
    )


def set_pen(page: webdriver.Chrome, width: int) -> None:
    page.execute_script("document.getElementById('pen').value = arguments[0]", width)


@contextmanager
def emulated(page: webdriver.Chrome, width: int, scheme: str = "light") -> Iterator[None]:
    """Show the page on a screen of this width, in a light or dark colour scheme."""
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        yield
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


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


def test_undo_takes_back_strokes_and_a_clearing(page: webdriver.Chrome) -> None:
    states, answers = [drawn(page)], [prediction(page)]
    for stroke in DRAWN["4"]:
        draw(page, [stroke])
        states.append(drawn(page))
        answers.append(prediction(page))
    page.find_element(By.ID, "clear").click()
    undo = page.find_element(By.ID, "undo")
    undo.click()
    assert (drawn(page), prediction(page)) == (states[2], answers[2])
    ActionChains(page).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()
    assert (drawn(page), prediction(page)) == (states[1], answers[1])
    undo.click()
    undo.click()  # there is nothing left to undo
    assert (drawn(page), prediction(page)) == (states[0], "Nothing drawn yet.")
    assert not page.find_element(By.ID, "save").is_enabled()


def test_undo_takes_back_a_stroke_of_the_keyboard(page: webdriver.Chrome) -> None:
    pad = page.find_element(By.ID, "pad")
    pad.send_keys(Keys.SPACE, *[Keys.ARROW_DOWN] * 5, Keys.SPACE, *[Keys.ARROW_LEFT] * 3)
    before = drawn(page)
    pad.send_keys(Keys.SPACE, *[Keys.ARROW_UP] * 5)
    assert drawn(page) != before
    pad.send_keys(Keys.CONTROL, "z")
    assert drawn(page) == before
    pad.send_keys(Keys.NULL, Keys.ARROW_UP)  # the pen is lifted
    assert drawn(page) == before


def test_the_pen_has_a_width(page: webdriver.Chrome) -> None:
    amounts = []
    for width in (8, 22, 40):
        page.find_element(By.ID, "clear").click()
        set_pen(page, width)
        draw(page, [[(60, 140), (220, 140)]])
        column = np.reshape(drawn(page), (280, 280))[:, 140]
        amounts.append(column.sum() / 255)
    assert amounts == pytest.approx([8, 22, 40], abs=1)


@pytest.mark.parametrize("width", [8, 22, 40])
def test_predict_gives_a_saved_drawing_the_same_probabilities(
    page: webdriver.Chrome, trained: Checkout, tmp_path: Path, width: int
) -> None:
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    set_pen(page, width)
    draw(page, DRAWN["4"])
    shown = page.execute_script("return classifyDrawing()")
    page.find_element(By.ID, "save").click()
    path = tmp_path / "drawing.png"
    wait_until(path.exists)
    entry, *others = json.loads(trained.run("predict.py", "--json", str(path)).stdout)
    assert others == []
    assert list(entry["probabilities"].values()) == pytest.approx(shown, abs=2e-5)
    assert entry["label"] == prediction(page).split(",")[0]
    unsure = ", unsure" if entry["unsure"] else ""
    assert trained.run("predict.py", str(path)).stdout == f"{path}: {prediction(page)}{unsure}\n"


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
    show_all(page)
    assert sorted(shown(page)) == sorted(mistakes)
    true, predicted = mistakes[0]
    Select(page.find_element(By.ID, "filter-true")).select_by_visible_text(true)
    show_all(page)
    assert sorted(shown(page)) == sorted(row for row in mistakes if row[0] == true)
    Select(page.find_element(By.ID, "filter-predicted")).select_by_visible_text(predicted)
    expected = [row for row in mistakes if row == (true, predicted)]
    assert shown(page) == expected
    plural = "" if len(expected) == 1 else "s"
    assert page.find_element(By.ID, "shown").text == f"{len(expected)} image{plural}"
    page.find_element(By.CSS_SELECTOR, "#filter button").click()
    show_all(page)
    assert sorted(shown(page)) == sorted(mistakes)


def test_the_first_mistakes_are_shown_until_all_are_wanted(page: webdriver.Chrome, trained: Checkout) -> None:
    count = len(mistakes_of(trained))
    assert len(shown(page)) == min(count, 60)
    page.execute_script("filter(3)")
    assert len(shown(page)) == 3
    assert page.find_element(By.ID, "shown").text == f"3 of {count} images"
    more = page.find_element(By.ID, "more")
    assert more.text == f"Show all {count}"
    more.click()
    assert len(shown(page)) == count
    assert page.find_element(By.ID, "shown").text == f"{count} images"
    assert not more.is_displayed()
    heights = page.execute_script("return [mistakes.scrollHeight, mistakes.clientHeight]")
    assert heights[0] <= heights[1]  # the page scrolls, not a box in it


def test_the_most_frequent_confusions_show_their_images(page: webdriver.Chrome, trained: Checkout) -> None:
    mistakes = mistakes_of(trained)
    count = max(Counter(mistakes).values())
    row = page.find_element(By.CSS_SELECTOR, "#confusions li")
    button = row.find_element(By.TAG_NAME, "button")
    found = (button.get_attribute("data-true"), button.get_attribute("data-predicted"))
    assert mistakes.count(found) == count
    assert row.text == f"{found[0]} predicted as {found[1]}\n{count} image{'s' if count > 1 else ''}"
    assert len(row.find_elements(By.TAG_NAME, "img")) == min(count, 4)
    button.click()
    show_all(page)
    assert shown(page) == [found] * count


def test_a_cell_of_the_confusion_matrix_shows_its_images(page: webdriver.Chrome, trained: Checkout) -> None:
    true, predicted = mistakes_of(trained)[0]
    cell = page.find_element(By.CSS_SELECTOR, f"#confusion td[data-true='{true}'][data-predicted='{predicted}']")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", cell)
    ActionChains(page).move_to_element(cell).perform()
    assert "highlighted" in cell.get_attribute("class")
    assert page.find_element(By.ID, "cell").text == f"true {true}, predicted {predicted}: {cell.text} images"
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", cell)
    cell.click()
    assert set(shown(page)) == {(true, predicted)}


def test_the_keyboard_reaches_every_control(page: webdriver.Chrome) -> None:
    reached = set()
    body = page.find_element(By.TAG_NAME, "body")
    body.click()
    for _ in range(200):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.add(page.switch_to.active_element.get_attribute("id"))
        if "filter-predicted" in reached:
            break
    assert {"pad", "undo", "clear", "pen", "filter-true", "filter-predicted"} <= reached


def texts_and_graphics(page: webdriver.Chrome) -> tuple[list, list]:
    """The visible texts, lines and bars: for each pair of colours an example, its colour and that behind it."""
    return page.execute_script(
        """
        const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const levels = (colour) => {
          context.clearRect(0, 0, 1, 1);
          context.fillStyle = colour;
          context.fillRect(0, 0, 1, 1);
          return [...context.getImageData(0, 0, 1, 1).data].map((level) => level / 255);
        };
        const background = (element) => {
          for (; element; element = element.parentElement) {
            const colour = levels(getComputedStyle(element).backgroundColor);
            if (colour[3] > 0) return colour;
          }
        };
        const examples = [new Map(), new Map()];
        const add = (kind, name, colour, behind) => {
          const entry = [name, levels(colour).slice(0, 3), background(behind).slice(0, 3)];
          examples[kind].set(JSON.stringify(entry.slice(1)), entry);
        };
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
          const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
          if (!text || !element.checkVisibility() || element.closest("script, noscript, option, .hidden")) continue;
          const style = getComputedStyle(element);
          add(0, text, element.closest("svg") ? style.fill : style.color, element);
        }
        for (const shape of document.querySelectorAll("svg :is(line, polyline, circle, rect):not(.grid)")) {
          const style = getComputedStyle(shape);
          add(1, shape.outerHTML, style.stroke === "none" ? style.fill : style.stroke, shape);
        }
        for (const bar of document.querySelectorAll(".bar")) {
          add(1, "bar", getComputedStyle(bar).backgroundColor, bar.parentElement);
        }
        for (const control of document.querySelectorAll("#pad, select, #filter button, #clear")) {
          add(1, control.outerHTML, getComputedStyle(control).borderTopColor, control.parentElement);
        }
        return examples.map((found) => [...found.values()]);"""
    )


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_has_the_contrast_of_level_aa(page: webdriver.Chrome, width: int, scheme: str) -> None:
    with emulated(page, width, scheme):
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        draw(page, DRAWN["1"])
        texts, graphics = texts_and_graphics(page)
        assert len(texts) > 5
        assert [entry for entry in texts if contrast(*entry[1:]) < TEXT] == []
        assert [entry for entry in graphics if contrast(*entry[1:]) < GRAPHICS] == []


def test_counts_are_legible_on_each_colour_of_the_confusion_matrix(page: webdriver.Chrome) -> None:
    for scheme in ("light", "dark"):
        with emulated(page, 1280, scheme):
            for fraction in (0.0, 0.5, 1.0):
                page.execute_script(
                    "document.querySelectorAll('td.wrong').forEach("
                    "(cell) => cell.style.setProperty('--fraction', arguments[0]))",
                    fraction,
                )
                texts, _ = texts_and_graphics(page)
                assert [entry for entry in texts if contrast(*entry[1:]) < TEXT] == []


def test_the_confusion_matrix_fits_a_phone_or_shows_that_it_scrolls(page: webdriver.Chrome) -> None:
    box = page.find_element(By.CSS_SELECTOR, "#confusion").find_element(By.XPATH, "..")
    hint = page.find_element(By.CSS_SELECTOR, ".beside .hint")
    for width, scrolls in ((375, False), (250, True), (1280, False)):
        with emulated(page, width):
            page.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
            overflow = page.execute_script("return arguments[0].scrollWidth > arguments[0].clientWidth", box)
            assert overflow == scrolls
            assert hint.is_displayed() == scrolls
            mask = "return getComputedStyle(arguments[0]).maskImage !== 'none'"
            assert page.execute_script(mask, box) == scrolls
            if scrolls:  # at its end nothing continues
                page.execute_script("arguments[0].scrollLeft = 10000", box)
                page.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
                assert not page.execute_script(mask, box)


def test_the_space_beside_the_confusion_matrix_is_used(page: webdriver.Chrome) -> None:
    with emulated(page, 1280):
        matrix, beside = (page.find_element(By.ID, name).rect for name in ("confusion", "confusions"))
        body = page.find_element(By.TAG_NAME, "body").rect
    assert beside["x"] >= matrix["x"] + matrix["width"]
    assert abs(beside["y"] - matrix["y"]) < 60
    assert body["x"] + body["width"] - (beside["x"] + beside["width"]) < 30


def test_the_axes_of_the_confusion_matrix_have_captions(page: webdriver.Chrome) -> None:
    captions = [page.find_element(By.CSS_SELECTOR, f"#confusion [scope={scope}group]") for scope in ("col", "row")]
    assert [caption.text for caption in captions] == ["predicted class", "true class"]


def test_bars_of_all_splits_share_a_scale(page: webdriver.Chrome) -> None:
    rows = page.find_elements(By.CSS_SELECTOR, "section[aria-labelledby=classes] tbody tr")
    cells = [cell for row in rows for cell in row.find_elements(By.CSS_SELECTOR, "td:has(.bar)")]
    fractions = [
        float(cell.find_element(By.CLASS_NAME, "bar").get_attribute("style").split(":")[1].strip(" ;"))
        for cell in cells
    ]
    counts = np.array([int(cell.text.replace(",", "")) for cell in cells])
    assert len(cells) == 30
    np.testing.assert_allclose(fractions, counts / counts.max(), atol=1e-4)


@pytest.mark.parametrize(("count", "name"), [(2, "{}"), (26, "a class with a long name, {}")])
def test_a_page_of_other_classes_fits_the_screen(
    browser: webdriver.Chrome, unreproduced: Checkout, tmp_path: Path, count: int, name: str
) -> None:
    rng = np.random.default_rng(0)
    arrays = []
    for size in (200 + 20 * count, 10 * count):
        arrays += [rng.integers(0, 256, (size, 8, 8), np.uint8), (np.arange(size) % count).astype(np.uint8)]
    classes = [name.format(number) for number in range(count)]
    unreproduced.add_dataset("own", arrays, classes, tmp_path / "mirror")
    unreproduced.repro()
    for width in (360, 1280):
        for scheme in ("light", "dark"):
            with emulated(browser, width, scheme):
                browser.get((unreproduced.folder / "reports/index.html").as_uri())
                assert browser.execute_script("return document.documentElement.scrollWidth") <= width
                texts, graphics = texts_and_graphics(browser)
                assert [entry for entry in texts if contrast(*entry[1:]) < TEXT] == []
                assert [entry for entry in graphics if contrast(*entry[1:]) < GRAPHICS] == []
                box = browser.find_element(By.CSS_SELECTOR, "#confusion").rect
                visible = browser.find_element(By.CSS_SELECTOR, ".beside .wide").rect["width"]
                hint = browser.find_element(By.CSS_SELECTOR, ".beside .hint")
                assert hint.is_displayed() == (box["width"] > visible + 1)
                assert box["height"] < 60 * (count + 5)  # long names neither widen columns nor heighten rows


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
