"""A lab's numbers: written whole, read in order, refused where they say nothing."""

import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from gmlib import records

pytestmark = pytest.mark.usefixtures("alone")

NUMBERS = {"elbo_nats": 98.25, "train_seconds": 31, "fid_course2": torch.tensor(1.5)}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GMLIB_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def test_a_record_comes_back(root, monkeypatch):
    monkeypatch.setenv("GMLIB_SOURCE", "0123abcd")
    path = records.write("22_vae", NUMBERS, seed=3)
    assert path == root / "22_vae" / "test-seed3.json"
    (record,) = records.read("22_vae")
    assert record == json.loads(path.read_text())
    expected = {"elbo_nats": 98.25, "train_seconds": 31.0, "fid_course2": 1.5}
    assert record["numbers"] == expected
    assert [*record["numbers"]] == [*expected], "the order of the lab is kept"
    assert (record["lab"], record["profile"], record["seed"]) == ("22_vae", "test", 3)
    assert record["source"] == "0123abcd"
    assert record["hardware"] == records.hardware() and "threads" in record["hardware"]
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert set(record["versions"]) == {"torch", "torchvision", "torchmetrics", "numpy"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["date"])
    assert records.read("22_vae", root) == [record]


def test_without_a_folder_named_records_lie_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("GMLIB_RESULTS")
    monkeypatch.chdir(tmp_path)
    path = records.write("22_vae", NUMBERS, seed=0)
    assert path.resolve() == tmp_path / "results" / "22_vae" / "test-seed0.json"


def test_a_second_run_replaces_the_record_of_the_first(root):
    records.write("22_vae", {"nats": 1}, seed=0)
    records.write("22_vae", {"nats": 2}, seed=0)
    (record,) = records.read("22_vae")
    assert record["numbers"] == {"nats": 2}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), torch.tensor(1) / 0])
def test_a_number_that_is_not_finite_is_refused(value, root):
    with pytest.raises(ValueError, match="elbo_nats is .*; a record holds finite numbers"):
        records.write("22_vae", {"fine": 1, "elbo_nats": value}, seed=0)
    assert not root.exists()


@pytest.mark.parametrize(
    "name", ["", "ELBO", "elbo nats", "elbo-nats", "2nd", "_x", "größe", "a\n"]
)
def test_a_name_that_is_not_snake_case_is_refused(name, root):
    with pytest.raises(ValueError, match=f"{re.escape(repr(name))} is no name for a number"):
        records.write("22_vae", {"fine": 1, name: 1.0}, seed=0)
    assert not root.exists()


def test_a_write_that_fails_leaves_the_old_record_whole(root, monkeypatch):
    path = records.write("22_vae", {"nats": 1}, seed=0)
    before = path.read_bytes()

    def half(self: Path, text: str) -> None:
        self.write_bytes(text.encode()[: len(text) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="no space left"):
        records.write("22_vae", {"nats": 2}, seed=0)
    with pytest.raises(OSError, match="no space left"):
        records.write("22_vae", {"nats": 2}, seed=1)
    assert path.read_bytes() == before
    assert [record["numbers"] for record in records.read("22_vae")] == [{"nats": 1}]


def test_records_are_read_full_profile_first_then_by_seed(root, monkeypatch):
    for profile, seed in (("test", 1), ("quick", 10), ("full", 10), ("quick", 9), ("full", 2)):
        monkeypatch.setenv("GMLIB_PROFILE", profile)
        records.write("13_pixelcnn", {"nats": 1}, seed=seed)
    (root / "13_pixelcnn" / "mistakes.json").write_text("[]")
    found = [(record["profile"], record["seed"]) for record in records.read("13_pixelcnn")]
    assert found == [("full", 2), ("full", 10), ("quick", 9), ("quick", 10), ("test", 1)]


def test_a_lab_without_a_record_is_named_with_the_folder(root):
    told = re.escape(f"no record of 99_none in {root / '99_none'}; run the lab to write one")
    with pytest.raises(FileNotFoundError, match=told):
        records.read("99_none")


def test_a_table_is_written_for_a_page():
    table = records.markdown(["name", "nats"], [["a|b", 98.2567], ["c", 3], ["d", 1e-9]])
    assert table.splitlines() == [
        "| name | nats |", "| --- | --- |", "| a\\|b | 98.26 |", "| c | 3 |", "| d | 1e-09 |",
    ]  # fmt: skip


def test_only_what_learns_is_counted():
    frozen = nn.Linear(10, 10).requires_grad_(False)
    norm = nn.BatchNorm1d(4)  # its buffers are not learned by descent
    assert records.parameter_count(nn.Linear(3, 4), frozen, norm) == 3 * 4 + 4 + 4 + 4
    assert records.parameter_count() == 0


def test_the_time_of_a_sample_is_the_least_of_the_runs(monkeypatch):
    ticks = iter([10.0, 10.9, 20.0, 20.5, 30.0, 30.7])
    monkeypatch.setattr(records.time, "perf_counter", lambda: next(ticks))
    drawn: list[int] = []
    found = records.milliseconds_per_sample(drawn.append, 250)
    assert drawn == [250] * 3
    assert found == pytest.approx(2)


def test_the_time_of_a_sample_is_positive():
    assert 0 < records.milliseconds_per_sample(lambda n: torch.rand(n, 100), 64) < 100
