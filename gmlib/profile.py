"""How much a run may cost, by `GMLIB_PROFILE`.

`test` (CI, grading), `quick` (2 CPU cores; default without a GPU) or `full` (default with one).
"""

import os
from typing import Any

import torch

PROFILES = ("test", "quick", "full")


def name() -> str:
    """The profile of this run: "test", "quick" or "full".

    Raises:
        ValueError: if `GMLIB_PROFILE` holds anything else.
    """
    chosen = os.environ.get("GMLIB_PROFILE") or ("full" if torch.cuda.is_available() else "quick")
    if chosen not in PROFILES:
        raise ValueError(f"GMLIB_PROFILE is {chosen!r}; expected one of {', '.join(PROFILES)}")
    return chosen


def choose(*, test: Any, quick: Any, full: Any) -> Any:
    """The value that belongs to the profile of this run."""
    return {"test": test, "quick": quick, "full": full}[name()]


def device() -> torch.device:
    """The GPU if there is one, else the CPU; in the test profile always the CPU."""
    if torch.cuda.is_available() and name() != "test":
        return torch.device("cuda")
    return torch.device("cpu")
