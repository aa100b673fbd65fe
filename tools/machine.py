"""What a result was made on: system, processor and versions."""

import os
import platform
import re
from importlib import metadata
from pathlib import Path

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "pandas", "matplotlib", "scikit-learn", "dvc")


def machine() -> dict[str, str]:
    """Processor with usable cores, system, and versions of Python and the packages that compute or draw."""
    installed = {
        package.metadata["Name"].lower().replace("_", "-"): package.version for package in metadata.distributions()
    }
    return {
        "processor": f"{processor()}, {usable_cores()} cores usable",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        **{name: installed[name] for name in PACKAGES if name in installed},
    }


def processor() -> str:
    """The processor's model as the system names it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.M)):
        return found[1]
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
