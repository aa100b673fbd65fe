"""The benchmark's tool: processes are measured, and the report is written section by section."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ALL

from mnist.core.params import read_yaml
from mnist.core.paths import ROOT
from tools.bench.__main__ import HERE, write_report
from tools.bench.measure import CompletedRun, Measurement, run

SECTIONS = read_yaml(HERE / "measurements.yaml")["sections"]


def write_section(path: Path, name: str) -> str:
    """Write a report with invented results of a section; return its text."""
    measurements = {key: Measurement(**value) for key, value in SECTIONS[name]["measurements"].items()}
    runs = [
        CompletedRun(4.0, 100.0, [2.0, 1.0, 1.0], [0.9, 0.95], 0),
        CompletedRun(6.0, 90.0, [3.0, 2.0, 2.0], [0.96], 0),
    ]
    results = {key: runs for key, value in measurements.items() if value.requires == "numpy"}
    write_report(path, measured=name, measurements=measurements, results=results, quick=False)
    return path.read_text()


def test_the_measuring_process_imports_no_large_package() -> None:
    code = "import sys, tools.bench.__main__; print({'numpy', 'pandas', 'tensorflow', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_a_process_is_measured_with_its_epochs(tmp_path: Path) -> None:
    code = """
import time
memory = b"x" * 500_000_000
print("start")
time.sleep(0.2)
print("epoch 1/2: val_accuracy 0.5000")
print("2/2 - val_accuracy: 0.7500 - val_loss: 0.3")
print("Running stage 'train':")
"""
    completed = run(["-c", code], tmp_path)
    assert completed.peak_megabytes > 500
    assert len(completed.epochs) == 2
    assert completed.seconds > completed.epochs[0] > 0.15 > completed.epochs[1]
    assert completed.accuracies == [0.5, 0.75]
    assert completed.stages == 1


def test_a_failed_process_ends_the_benchmark_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"the reason\n\nbench: failed: python -c"):
        run(["-c", "print('the reason'); raise SystemExit(1)"], tmp_path)


def test_a_cold_run_is_expected_to_run_every_stage() -> None:
    assert SECTIONS["training"]["measurements"]["cold `dvc repro`"]["stages"] == len(ALL)


@pytest.mark.parametrize("name", SECTIONS)
def test_each_section_is_written_with_its_results(name: str, tmp_path: Path) -> None:
    text = write_section(tmp_path / "benchmark.md", name)
    template = (HERE / "report.md.j2").read_text()
    titles = template.count("{% call section(")
    assert text.count("Measured at commit") == template.count(f', "{name}") %}}') > 0
    assert text.count("Not measured yet.") == titles - text.count("Measured at commit")


def test_a_section_compares_neighbouring_runs(tmp_path: Path) -> None:
    text = write_section(tmp_path / "benchmark.md", "training")
    assert "| the tutorial's program | 1.00 (1.00 to 1.00) | 5.50 (4.00 to 7.00) |" in text
    assert "Tracing and compilation take 1.00 (1.00 to 1.00) of the loop's seconds" in text
    assert "| the pipeline's loop | 95.50 ± 0.50 % | 95.00 % | 96.00 % | 2 |" in text
    assert "Not installed: PyTorch, a plain loop with fused Adam; JAX, an epoch per jitted `lax.scan`." in text


def test_a_report_keeps_the_sections_that_are_not_measured(tmp_path: Path) -> None:
    first = write_section(tmp_path / "benchmark.md", "stages")
    both = write_section(tmp_path / "benchmark.md", "growth")
    kept = first[first.index("## Stages") : first.index("## More images")]
    assert kept in both
    assert both.count("Measured at commit") == 2
    assert write_section(tmp_path / "benchmark.md", "growth") == both
