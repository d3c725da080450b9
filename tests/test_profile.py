"""The profile of a run, and gmlib as a whole: its size, what it says and what an import does."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gmlib
from gmlib import profile

FOLDER = Path(gmlib.__file__).parent
MODULES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in ("__init__", "grade"))
LINES = 1_200  # of gmlib without gmlib.grade


@pytest.mark.parametrize("name", profile.PROFILES)
def test_choose_gives_the_value_of_the_profile(name, monkeypatch):
    monkeypatch.setenv("GMLIB_PROFILE", name)
    assert profile.name() == name
    values = {"test": 1, "quick": [2], "full": None}
    assert profile.choose(**values) is values[name]


@pytest.mark.parametrize(("gpu", "expected"), [(False, "quick"), (True, "full")])
@pytest.mark.parametrize("unset", [None, ""])
def test_the_hardware_decides_where_no_profile_is_named(gpu, expected, unset, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.delenv("GMLIB_PROFILE", raising=False)
    if unset is not None:
        monkeypatch.setenv("GMLIB_PROFILE", unset)
    assert profile.name() == expected


@pytest.mark.parametrize(
    ("name", "gpu", "expected"),
    [
        ("test", True, "cpu"),
        ("quick", True, "cuda"),
        ("full", True, "cuda"),
        ("full", False, "cpu"),
    ],
)
def test_the_device_is_the_gpu_except_in_the_test_profile(name, gpu, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setenv("GMLIB_PROFILE", name)
    assert profile.device().type == expected


def test_an_unknown_profile_is_named_with_those_there_are(monkeypatch):
    monkeypatch.setenv("GMLIB_PROFILE", "fast")
    for ask in (profile.name, lambda: profile.choose(test=1, quick=2, full=3)):
        with pytest.raises(ValueError, match="'fast'; expected one of test, quick, full"):
            ask()


def test_gmlib_stays_small():
    names = ("__init__", *MODULES)
    counts = {name: len((FOLDER / f"{name}.py").read_text().splitlines()) for name in names}
    assert sum(counts.values()) < LINES, counts


@pytest.mark.parametrize("name", MODULES)
def test_what_is_public_has_a_docstring_and_typed_arguments(name):
    module = importlib.import_module(f"gmlib.{name}")
    assert module.__doc__
    public = {
        key: value
        for key, value in vars(module).items()
        if not key.startswith("_") and inspect.getmodule(value) is module and callable(value)
    }
    assert public
    for key, value in public.items():
        assert value.__doc__, f"{name}.{key} has no docstring"
        if inspect.isfunction(inspect.unwrap(value)):
            parameters = inspect.signature(value).parameters.values()
            bare = [p.name for p in parameters if p.annotation is p.empty]
            assert not bare, f"{name}.{key} does not say the types of {bare}"


# Imports gmlib twice: first to have all that it imports there, then to watch gmlib alone.
WATCH = """
import importlib, os, random, sys
sys.dont_write_bytecode = True
modules = ["gmlib." + name for name in sys.argv[1:]]
for name in modules:
    importlib.import_module(name)
late = [name for name in ("torchvision", "torchmetrics", "torch_fidelity", "IPython")
        if name in sys.modules]
assert not late, f"imported before they are needed: {late}"

import numpy, torch
assert not torch.cuda.is_initialized()
for name in [name for name in sys.modules if name.split(".")[0] == "gmlib"]:
    del sys.modules[name]
seen = []

def look(event, arguments):
    if event == "open":
        if not str(arguments[0]).endswith((".py", ".pyc")):
            seen.append((event, arguments[0]))
    elif event.startswith(("os.", "shutil.", "socket.", "subprocess.", "tempfile.", "urllib.")):
        if event not in ("os.listdir", "os.scandir"):
            seen.append((event, arguments))

def state():
    return (torch.get_rng_state().tolist(), str(numpy.random.get_state()), random.getstate(),
            dict(os.environ), torch.get_default_dtype(), torch.get_num_threads())

def asked(*_):
    seen.append("a device")
    return False

before = state()
torch.cuda.is_available = torch.cuda.device_count = asked
sys.addaudithook(look)
for name in modules:
    importlib.import_module(name)
assert not seen, f"done at import: {seen}"
assert state() == before, "an import changed the random numbers, the environment or torch"
print("watched", len(modules))
"""


def test_an_import_does_nothing(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", WATCH, *MODULES], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"watched {len(MODULES)}\n"
    assert not list(tmp_path.iterdir())


def test_gmlib_alone_does_not_import_torch():
    code = "import sys, gmlib; print('torch' in sys.modules, gmlib.__version__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout == f"False {gmlib.__version__}\n", run.stderr
