"""A lab's numbers, with all that is needed to make them again, in one small JSON file."""

import json
import math
import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gmlib import profile

PACKAGES = ("torch", "torchvision", "torchmetrics", "numpy")


def folder() -> Path:
    """Where records are written: `GMLIB_RESULTS`, else `results/` in the working folder."""
    return Path(os.environ.get("GMLIB_RESULTS") or "results")


def write(lab: str, numbers: Mapping[str, float], *, seed: int) -> Path:
    """Write `numbers` with profile, seed, hardware, time and versions; returns the path.

    `lab` is an id such as "22_vae"; `numbers` such as {"train_seconds": 31.0} end in their unit.

    Raises:
        ValueError: a name that is not snake_case, or a number that is not finite.
    """
    for name, value in numbers.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ValueError(f"{name!r} is no name for a number; expected snake_case")
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}; a record holds finite numbers")
    record = {
        "lab": lab,
        "profile": profile.name(),
        "seed": seed,
        "source": os.environ.get("GMLIB_SOURCE", ""),
        "hardware": hardware(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": {package: version(package) for package in PACKAGES},
        "numbers": {name: float(value) for name, value in numbers.items()},
    }
    path = folder() / lab / f"{record['profile']}-seed{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(partial, path)
    return path


def read(lab: str, root: str | Path | None = None) -> list[dict[str, Any]]:
    """All records of a lab: those of the full profile first, then by seed.

    Raises:
        FileNotFoundError: the lab has none.
    """
    where = Path(root or folder()) / lab
    found = [json.loads(path.read_text()) for path in where.glob("*-seed*.json")]
    if not found:
        raise FileNotFoundError(f"no record of {lab} in {where}; run the lab to write one")
    return sorted(found, key=lambda r: (r["profile"] != "full", r["profile"], r["seed"]))


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table for a page of the book; floats get four significant digits."""
    lines = [header, ["---"] * len(header)]
    lines += [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row] for row in rows]
    escaped = [[value.replace("|", "\\|") for value in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in escaped)


def hardware() -> str:
    """The GPU's name, or the processor's with the number of threads that torch uses."""
    if profile.device().type == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else []
    threads = torch.get_num_threads()
    return f"{names[0] if names else platform.processor() or 'CPU'}, {threads} threads"


def parameter_count(*modules: torch.nn.Module) -> int:
    """How many numbers the modules learn."""
    return sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad)


def milliseconds_per_sample(draw: Callable[[int], Any], n: int, repeats: int = 3) -> float:
    """The least wall time of `draw(n)` over a few repeats, divided by n, in milliseconds."""

    def once() -> float:
        start = time.perf_counter()
        draw(n)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return 1e3 * min(once() for _ in range(repeats)) / n
