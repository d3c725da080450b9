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
