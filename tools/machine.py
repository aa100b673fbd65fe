"""The machine that computes a result: CPU, architecture, system and versions."""

import os
import platform
import re
from importlib import metadata
from pathlib import Path

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "pandas", "matplotlib", "scikit-learn", "dvc")


def machine() -> dict[str, str]:
    """CPU and usable cores, architecture, system, and versions of Python and the packages that compute or draw."""
    installed = {package.name.lower().replace("_", "-"): package.version for package in metadata.distributions()}
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "CPU": f"{model[1] if model else platform.processor()}, {cores} cores usable",
        "architecture": platform.machine(),
        "system": platform.system(),
        "Python": platform.python_version(),
        **{name: installed[name] for name in PACKAGES if name in installed},
    }
