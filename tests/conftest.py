"""What the unit tests of gmlib share."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The test profile, with folders of its own: a module reads and writes nothing outside it."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GMLIB_PROFILE", "test")
        for name in ("DATA", "CACHE", "RESULTS", "FIGURES"):
            patch.setenv(f"GMLIB_{name}", str(folder / name.lower()))
        for name in ("GMLIB_CHECK_SEED", "GMLIB_SOURCE"):
            patch.delenv(name, raising=False)
        yield folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file run in one process, those of the mistakes in one for each lab."""
    for item in items:
        group = item.path.name
        if group == "test_mistakes.py" and hasattr(item, "callspec"):
            group += " " + item.callspec.params["lab"]
        item.add_marker(pytest.mark.xdist_group(group))
