"""The lock installs on every Python that the course says it runs on."""

import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]


def test_what_is_locked_runs_on_the_oldest_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = project["requires-python"].removeprefix(">=") + ".0"
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    locked = [Requirement(line) for line in lines if "==" in line and not line.startswith("#")]
    assert len(locked) > 50
    refused = {}
    for package in locked:
        if package.marker is not None and not package.marker.evaluate():
            continue
        needs = metadata.metadata(package.name).get("Requires-Python") or ""
        assert metadata.version(package.name) in package.specifier, f"{package}: make the venv anew"
        if oldest not in SpecifierSet(needs):
            refused[package.name] = needs
    assert not refused, f"not for Python {oldest}: {refused}"
