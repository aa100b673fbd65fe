"""What `tools.bench` measures, a function a section: each returns its text, in Markdown."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from tools.bench.report import accuracies, comparison, draw_chart, ratios, spread, table
from tools.bench.run import TUTORIAL, Bench, Finished, clone, interleave, later_epochs, run
from tools.checkout import ROOT, set_params
from tools.cluster import workers

SMALL = {"hidden_units": [128, 64], "batch_size": 32}
LARGE = {"hidden_units": [1024, 1024], "batch_size": 128}

STAGES = len(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
TINY = 2_000  # images of the run whose time is taken as what a stage takes whatever the number of images
HELD_OUT = 1_000  # of the tiled images
PIXELS = 784
MEGABYTE = 10**6


def training(bench: Bench) -> str:
    """Seconds within training, compilation included, and accuracy."""
    fit, loop = "`fit` as in the tutorial", "the pipeline's loop"
    measures = {fit: partial(bench.train, "fit", SMALL), loop: partial(bench.train, "loop", SMALL)}
    runs, seeds = bench.plan.runs, bench.plan.seeds
    timed = interleave(range(runs), measures)
    more = interleave(range(runs, seeds), measures)
    seconds = {name: [sum(each["epochs"]) for each in results] for name, results in timed.items()}
    accuracy = {name: [each["accuracy"] for each in (timed[name] + more[name])[:seeds]] for name in measures}
    return (
        f"{bench.plan.epochs} epochs of {bench.plan.images:,} images, batch 32, network 784-128-64-10, Adam; after "
        "each epoch the 10,000 test images are validated on. From the call to the end of the last epoch, compilation "
        "included; imports and reading the images are not. `fit` uses all cores, the pipeline "
        "`compute.threads` of params.yaml. The tutorial's division makes its images float64.\n\n"
        f"{comparison(seconds, loop)}\n\n{accuracies(accuracy)}"
    )


def whole(bench: Bench) -> str:
    """A cold `dvc repro` against the tutorial's program."""
    epochs, raw = bench.plan.epochs, bench.base / "data/raw"

    def pipeline(number: int) -> float:
        folder = bench.folder / f"whole-{number}"
        clone(folder, TUTORIAL, {"train": {"epochs": epochs}})
        seconds = bench.repro(folder, stages=STAGES)
        shutil.rmtree(folder)
        return seconds

    def tutorial(_: int) -> float:
        program = ["-m", "tools.bench.tutorial", str(raw), str(epochs)]
        return run(program, ROOT, {"MPLBACKEND": "agg"}).seconds

    base = "cold `dvc repro`"
    seconds = interleave(range(bench.plan.runs), {"the tutorial's program": tutorial, base: pipeline})
    return (
        f"From start to exit, {epochs} epochs, both from the published files on disk, both training on all 60,000 "
        "images. `dvc repro` runs all stages in a fresh clone with an empty cache; besides what the tutorial "
        "does, it checks, stores and hashes every artefact and draws the figures. The tutorial's program draws "
        f"to memory only.\n\n{comparison(seconds, base)}"
    )


def noop(bench: Bench) -> str:
    """`dvc repro` with nothing to do, and after a change to the figures only."""
    pipeline, empty = bench.folder / "noop", bench.folder / "empty"
    clone(pipeline, TUTORIAL, {"train": {"epochs": 1}})
    make_empty_pipeline(empty, config=pipeline / ".dvc/config")
    for folder in (pipeline, empty):
        bench.repro(folder, stages=STAGES)
        bench.repro(folder, stages=0)

    def changed(number: int) -> float:
        set_params(pipeline, {"plot": {"examples": 11 + number}})
        return bench.repro(pipeline, stages=1)

    base = "an empty pipeline"
    nothing = {"this pipeline": lambda _: bench.repro(pipeline, stages=0), base: lambda _: bench.repro(empty, stages=0)}
    change = "`dvc repro` after a change of `plot.examples`"
    runs = 3 * bench.plan.runs  # they are short
    seconds = interleave(range(runs), {**nothing, change: changed})
    middle, lowest, highest = spread(seconds.pop(change))
    return (
        "`dvc repro` with nothing to do, from start to exit, against the same in a pipeline of as many chained stages "
        f"that each copy a file of one line. {runs} runs of each.\n\n{comparison(seconds, base)}\n\n"
        f"{change}: {middle} seconds ({lowest} to {highest}); it runs the plot stage only."
    )


def make_empty_pipeline(folder: Path, config: Path) -> None:
    """Make a repository of a pipeline that does next to nothing, with DVC set as in `config`."""
    folder.mkdir()
    (folder / "0.txt").write_text("nothing\n")
    stages = {
        f"stage{n}": {"cmd": f"cp {n - 1}.txt {n}.txt", "deps": [f"{n - 1}.txt"], "outs": [f"{n}.txt"]}
        for n in range(1, STAGES + 1)
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    run(["-m", "dvc", "init", "--quiet"], folder)
    shutil.copy(config, folder / ".dvc/config")


@dataclass(frozen=True)
class Stages:
    """The stages preprocess and train, measured on a number of images."""

    preprocess: Finished
    train: Finished

    @property
    def second_epoch(self) -> float:
        """The seconds between the lines that end the first and the second epoch."""
        first, second = (when for when, line in self.train.lines if line.startswith("epoch "))
        return second - first


def growth(bench: Bench) -> str:
    """Time an image and memory of preprocess and train, as the images grow in number."""
    free = shutil.disk_usage(bench.folder).free / 1e9
    if free < bench.plan.free_gigabytes:
        sys.exit(f"bench: growth needs {bench.plan.free_gigabytes} GB of disk, only {free:.1f} GB are free")

    def measure(images: int, _: int) -> Stages:
        folder = bench.folder / f"tiled-{images}"
        stages = Stages(
            preprocess=run(["-m", "stages.preprocess"], folder),
            # Unbuffered, so that the line of an epoch comes when the epoch ends.
            train=run(["-m", "stages.train"], folder, {"PYTHONUNBUFFERED": "1"}),
        )
        shutil.rmtree(folder / "data/processed")  # the largest is 3 GB
        return stages

    sizes = (TINY, *bench.plan.sizes)
    for images in sizes:
        folder = bench.folder / f"tiled-{images}"
        clone(
            folder,
            TUTORIAL,
            {"download": {"dataset": "tiled"}, "preprocess": {"validation_size": HELD_OUT}, "train": {"epochs": 2}},
        )
        bench.worker("tile", raw=str(bench.base / "data/raw"), checkout=str(folder), images=images)
    named = interleave(range(bench.plan.runs), {f"{images:,} images": partial(measure, images) for images in sizes})
    tiny, *results = named.values()
    return (
        f"MNIST's training images repeated, {HELD_OUT:,} of them held out to validate on. Growth is that of the median "
        "against the first row. MB are millions of bytes.\n\n"
        f"{preprocess_growth(bench.plan.sizes, tiny, results)}\n\n{train_growth(bench.plan.sizes, results)}"
    )


def grown(values: list[float], first: list[float]) -> str:
    """How much larger the median is than that of the first, in percent."""
    return f"{median(values) / median(first) - 1:+.1%}"


def preprocess_growth(sizes: Iterable[int], tiny: list[Stages], results: list[list[Stages]]) -> str:
    """The stage preprocess: a table of time an image, and of memory."""
    rows, first = [], None
    for images, measured in zip(sizes, results, strict=True):
        pairs = zip(measured, tiny, strict=True)
        more = images - TINY
        whole = [each.preprocess.seconds / images * 1e6 for each in measured]
        added = [(each.preprocess.seconds - least.preprocess.seconds) / more * 1e6 for each, least in pairs]
        first = first or (whole, added)
        rows.append(
            [
                f"{images:,}",
                grown(whole, first[0]),
                *spread(whole),
                grown(added, first[1]),
                *spread(added),
                spread([each.preprocess.peak / MEGABYTE for each in measured], ".0f")[-1],
            ]
        )
    header = ["images", "growth", "µs an image, whole stage", "lowest", "highest"]
    header += ["growth", "µs each image adds", "lowest", "highest", "peak memory, MB"]
    return (
        f"`preprocess`: the time of the stage by its images, and what each image adds to a run on {TINY:,}. What is "
        "added grows a little, because the system finds memory for the pages of a large new file more slowly "
        "than for those of a small one.\n\n" + table(header, rows)
    )


def train_growth(sizes: Iterable[int], results: list[list[Stages]]) -> str:
    """The stage train: a table of time an image, and of memory."""
    times, peaks, arrays = [], [], []
    for images, measured in zip(sizes, results, strict=True):
        times.append([each.second_epoch / (images - HELD_OUT) * 1e6 for each in measured])
        peaks.append([each.train.peak / MEGABYTE for each in measured])
        arrays.append(images * (PIXELS * 4 + 1) / MEGABYTE)
    rows = [
        [
            f"{images:,}",
            grown(time, times[0]),
            *spread(time),
            *spread(peak, ".0f"),
            f"{array:.0f}",
            f"{max(peak) - array:.0f}",
        ]
        for images, time, peak, array in zip(sizes, times, peaks, arrays, strict=True)
    ]
    header = ["images", "growth of time", "µs an image", "lowest", "highest"]
    header += ["peak memory, MB", "lowest", "highest", "arrays, MB", "highest beyond them, MB"]
    beyond = max(max(peak) - array for peak, array in zip(peaks, arrays, strict=True))
    verdict = "less" if beyond < 1000 else "more"
    return (
        "`train`: time of the second epoch, an image. The memory counts the arrays, which are mapped from disk; "
        f"beyond them it is at most {beyond:.0f} MB, {verdict} than 1 GB.\n\n{table(header, rows)}"
    )


def larger(bench: Bench) -> str:
    """A larger network: an epoch after compilation."""
    base = "the pipeline's loop"
    kinds = {"`fit`": "fit", base: "loop"}
    measures = {name: partial(bench.train, kind, LARGE, epochs=2, validate=False) for name, kind in kinds.items()}
    seconds = later_epochs(interleave(range(bench.plan.runs), measures))
    return (
        f"1024-1024 hidden units, batch 128: seconds of the second epoch of {bench.plan.images:,} images, without "
        f"compilation or validation.\n\n{comparison(seconds, base)}"
    )


def several_workers(bench: Bench) -> str:
    """One worker against two, on one core each."""
    tables = []
    for network in (SMALL, {**LARGE, "batch_size": 4096}):
        clones = {count: bench.folder / f"workers-{count}" for count in (1, 2)}
        for count, folder in clones.items():
            given = {**network, "epochs": 3, "workers": count}
            clone(folder, TUTORIAL, {"train": given, "compute": {"threads": 1}})
            shutil.copytree(bench.base / "data", folder / "data", symlinks=True)
            (folder / "reports").mkdir()
            shutil.copy(bench.base / "reports/data.json", folder / "reports/data.json")
        measures = {
            f"{count} worker{'s' * (count > 1)}": partial(epoch_of, count, folder) for count, folder in clones.items()
        }
        seconds = interleave(range(bench.plan.runs), measures)
        for folder in clones.values():
            shutil.rmtree(folder)
        weights = sum((inputs + 1) * outputs for inputs, outputs in pairwise(layers_of(network)))
        tables.append(
            f"{'-'.join(map(str, layers_of(network)))}, batch {network['batch_size']:,}: gradients of "
            f"{weights * 4 / MEGABYTE:.1f} MB a step.\n\n{comparison(seconds, '1 worker')}"
        )
    return (
        "Seconds of an epoch after the first, validation included: one process on one thread against two that train "
        "together, on one thread each, over the loopback interface; 60,000 images.\n\n" + "\n\n".join(tables)
    )


def epoch_of(count: int, folder: Path, _: int) -> float:
    """The median seconds of an epoch, without the first, of so many workers that run the train stage in a folder."""
    with workers(count, folder) as chief:
        finished = run(["-m", "stages.train"], folder, {"PYTHONUNBUFFERED": "1", **chief})
    ends = [when for when, line in finished.lines if line.startswith("epoch ")]
    return median(end - start for start, end in pairwise(ends))


def layers_of(network: Mapping[str, Any]) -> list[int]:
    """The sizes of a network's layers, input to output."""
    return [PIXELS, *network["hidden_units"], 10]


def operations(layers: list[int]) -> int:
    """Floating-point operations of the matrix products of a training step, for one image.

    Three products a layer, forward and of both gradients, of a multiplication and an addition each; but the images
    themselves need no gradient.
    """
    return 6 * sum(inputs * outputs for inputs, outputs in pairwise(layers)) - 2 * layers[0] * layers[1]


def loop_rate(bench: Bench, network: Mapping[str, Any], images: int, epochs: int, run: int) -> float:
    """The operations a second of the pipeline's training loop, in billions, after compilation."""
    result = bench.train("loop", network, run, images=images, epochs=epochs, validate=False)
    return operations(layers_of(network)) * images / median(result["epochs"][1:]) / 1e9


def product_rate(bench: Bench, network: Mapping[str, Any], _: int) -> float:
    """The operations a second of numpy's matrix products, in billions: on one thread or all, whichever is faster."""
    arguments = {"layers": layers_of(network), "batch_size": network["batch_size"], "seconds": 1.0}
    one_thread = {"OPENBLAS_NUM_THREADS": "1"}
    results = [bench.worker("products", changes, **arguments) for changes in (one_thread, None)]
    steps = max(result["steps_per_second"] for result in results)
    return operations(layers_of(network)) * network["batch_size"] * steps / 1e9


def limit(bench: Bench) -> str:
    """The training loop's operations a second against those of its matrix products alone."""
    rows = []
    for network, images, epochs in ((SMALL, 60_000, 3), (LARGE, 20_000, 2)):
        measures = {
            "loop": partial(loop_rate, bench, network, min(images, bench.plan.images), epochs),
            "products": partial(product_rate, bench, network),
        }
        rates = interleave(range(bench.plan.runs), measures)
        name = f"{'-'.join(map(str, layers_of(network)))}, batch {network['batch_size']}"
        share = "{} ({} to {})".format(*spread(ratios(rates["loop"], rates["products"])))
        rows.append([name, share, *spread(rates["loop"], ".1f"), *spread(rates["products"], ".1f")])
    header = ["network", "loop / products", "loop, GFLOP/s", "lowest", "highest"]
    header += ["products, GFLOP/s", "lowest", "highest"]
    return (
        "How near the training loop, after compilation, comes to what the processor can do: its operations a second, "
        "against the same matrix products in float32 by numpy alone, on one thread or all, whichever is faster. "
        "Counted are 6 x batch x inputs x outputs operations a layer and step, less 2 x batch x inputs x outputs of "
        "the first layer, since the gradient of the images is not computed. Activations, loss, optimiser and picking "
        f"the images of a batch cost the loop time, but are not counted.\n\n{table(header, rows)}"
    )


def variants(bench: Bench) -> str:
    """Ways to train: seconds an epoch, and the chart."""
    base = "the pipeline's loop"
    fit = partial(bench.train, "fit", SMALL, epochs=3)
    measures = {
        "fit, as in the tutorial": fit,
        "fit, steps_per_execution=100": partial(fit, compile_with={"steps_per_execution": 100}),
        "fit, jit_compile=True": partial(fit, compile_with={"jit_compile": True}),
        base: partial(bench.train, "loop", SMALL, epochs=3),
    }
    seconds = later_epochs(interleave(range(bench.plan.runs), measures))
    chart = bench.plan.report.with_suffix(".png")
    draw_chart(chart, seconds, f"{bench.plan.images:,} images, network 784-128-64-10, batch 32")
    return (
        "Seconds an epoch, validation on the test images included, after the first, in which it is compiled.\n\n"
        f"{comparison(seconds, base)}\n\n![Seconds an epoch]({chart.name})"
    )


SECTIONS: dict[str, tuple[str, Callable[[Bench], str]]] = {
    "training": ("Training", training),
    "whole": ("The whole program", whole),
    "noop": ("Nothing to do", noop),
    "growth": ("More images", growth),
    "larger": ("A larger network", larger),
    "limit": ("The processor's limit", limit),
    "workers": ("Several workers", several_workers),
    "variants": ("Ways to train", variants),
}
