"""The training loop: what it minimises, what it leaves behind, and how it goes on after an end."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from gmlib import data, train

ROOT = Path(__file__).resolve().parents[1]
STEPS = 60
ROWS, BATCH = 50, 8

pytestmark = pytest.mark.usefixtures("alone")


def network() -> nn.Module:
    """A model with all that a checkpoint must bring back: noise, buffers, two kinds of layers."""
    torch.manual_seed(1)
    layers = [nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1)]
    return nn.Sequential(*layers)


def rows() -> tuple[Tensor, Tensor]:
    x = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(2))
    return x, x.sum(1) + 1


def squares(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Two quantities that differ, one of them with noise in it."""
    error = (model(x)[:, 0] - y).square().mean()
    return {"loss": error, "double": 2 * error}


class Trained(NamedTuple):
    """What a training ends with."""

    model: nn.Module
    average: AveragedModel
    history: train.History

    def same(self, other: "Trained") -> bool:
        """Whether weights, buffers, averages and curves are equal bit for bit."""
        mine, theirs = ([*t.model.state_dict().values(), *t.average.state_dict().values()]
                        for t in (self, other))  # fmt: skip
        equal = len(mine) == len(theirs) and all(map(torch.equal, mine, theirs))
        return equal and self.history.curves == other.history.curves


def training(
    checkpoint: str | Path | None = None,
    loss: Callable[..., Mapping[str, Tensor]] = squares,
    model: nn.Module | None = None,
    **changes: float,
) -> Trained:
    """The training that the tests below stop in every way; `changes` are options of `fit`."""
    model = model or network()
    average = train.ema(model, 0.9)
    options = {"steps": STEPS, "batch_size": BATCH, "lr": 0.05, "seed": 4, **changes}
    history = train.fit(model, loss, rows(), average=average, checkpoint=checkpoint, **options)
    return Trained(model, average, history)


@pytest.fixture(scope="module")
def undisturbed(alone: Path) -> Trained:
    return training()


def at_call(n: int, act: Callable[[], object]) -> Callable[..., Mapping[str, Tensor]]:
    """`squares`, with `act` done in the middle of its n-th call, once the noise is drawn."""
    calls = 0

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Mapping[str, Tensor]:
        nonlocal calls
        calls += 1
        found = squares(model, x, y)
        if calls == n:
            act()
        return found

    return loss


def interrupt() -> None:
    """What the stop button of a notebook and Ctrl-C do."""
    os.kill(os.getpid(), signal.SIGINT)


def stopped(path: str | Path, after: int = 20, **changes: float) -> None:
    """Leave a checkpoint behind, made when step `after` was over."""
    with pytest.raises(KeyboardInterrupt):
        training(path, at_call(after, interrupt), **changes)


# --- What is trained ------------------------------------------------------------------------


def test_fit_is_adam_under_a_one_cycle_learning_rate(undisturbed):
    model = network()
    x, y = rows()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.05, total_steps=STEPS + 1)
    torch.manual_seed(4)
    batches, curve = data.batches(ROWS, BATCH, seed=4), []
    for _ in range(STEPS):
        index = next(batches)
        loss = squares(model, x[index], y[index])["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        curve.append(loss.item())
    assert undisturbed.history.curves["loss"] == curve
    for a, b in zip(model.parameters(), undisturbed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert sum(curve[-10:]) < 0.5 * sum(curve[:10]), "nothing is learned"


def test_the_average_follows_its_recursion(undisturbed):
    seen = []

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Mapping[str, Tensor]:
        seen.append({name: v.clone() for name, v in model.state_dict().items()})
        return squares(model, x, y)

    model, average, _ = training(loss=loss)
    seen.append(model.state_dict())
    expected = seen[1]  # the first average is the weights after the first step
    for weights in seen[2:]:
        expected = {n: 0.9 * expected[n] + 0.1 * w for n, w in weights.items()}
    found = average.module.state_dict()
    for name in ("0.weight", "1.weight", "1.running_mean", "1.running_var", "4.bias"):
        torch.testing.assert_close(found[name], expected[name], msg=name)
        assert not torch.allclose(found[name], seen[-1][name]), f"{name} is not averaged"


def test_the_default_average_is_slow():
    model = nn.Linear(1, 1, bias=False)
    average = train.ema(model)
    for weight in (0.0, 1.0):
        nn.init.constant_(model.weight, weight)
        average.update_parameters(model)
    assert average.module.weight.item() == pytest.approx(0.001)


@pytest.mark.parametrize("steps", [1, 2, 49, 50, 51, 101])
def test_curves_hold_each_step_in_order(steps):
    seen = []

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Mapping[str, Tensor]:
        found = squares(model, x, y)
        seen.append(found["loss"].item())
        return found

    history = training(loss=loss, steps=steps).history
    assert history.curves == {"loss": seen, "double": [2 * v for v in seen]}
    assert len(seen) == steps
    assert 0 < history.seconds < 60


def test_a_batch_holds_the_same_rows_of_each_tensor_in_training_mode():
    x, y = torch.arange(30.0)[:, None], 10 * torch.arange(30)
    model = nn.Linear(1, 1).eval()
    epoch = []

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Mapping[str, Tensor]:
        assert model.training and torch.equal(10 * x[:, 0].long(), y)
        epoch.extend(y.tolist())
        return {"loss": model(x / 30).square().mean()}

    train.fit(model, loss, (x, y), steps=5, batch_size=6)
    assert sorted(epoch) == y.tolist()


@pytest.mark.parametrize(
    ("bf16", "expected"), [(True, torch.bfloat16), (False, torch.float32), (None, torch.float32)]
)
def test_mixed_precision_is_on_where_it_is_asked_for(bf16, expected):
    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Mapping[str, Tensor]:
        assert model(x).dtype == expected
        return squares(model, x, y)

    training(loss=loss, steps=3, bf16=bf16)


def test_the_seed_fixes_a_training(undisturbed):
    torch.manual_seed(77)
    assert training().same(undisturbed)
    assert not training(seed=5).same(undisturbed)


def test_run_calls_each_step_once():
    calls = []

    def step(k: int) -> Mapping[str, Tensor]:
        calls.append(k)
        return {"a": torch.tensor(k), "b": torch.rand(())}

    history = train.run(step, 60, state={}, seed=9)
    assert calls == list(range(60)) and history.curves["a"] == calls
    torch.manual_seed(9)
    assert history.curves["b"] == [torch.rand(()).item() for _ in range(60)]


# --- What is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths", "steps"), [((50, 50), 0), ((50, 50), -3), ((50, 49), 5), ((), 5)]
)
def test_bad_lengths_and_steps_are_refused(lengths, steps):
    tensors = tuple(torch.zeros(n, 3) for n in lengths)
    expected = rf"one length and steps ≥ 1; got \[{', '.join(map(str, lengths))}\], {steps}"
    with pytest.raises(ValueError, match=expected):
        train.fit(network(), squares, tensors, steps=steps)


@pytest.mark.parametrize("n", [0, 7])
def test_fewer_rows_than_a_batch_are_refused(n):
    with pytest.raises(ValueError, match=f"a batch of 8 can not be drawn from {n} images"):
        train.fit(network(), squares, (torch.zeros(n, 3), torch.zeros(n)), steps=5, batch_size=8)


@pytest.mark.parametrize("bad", [0, 7, 49, 50, 57, 99])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_quantity_that_is_not_finite_is_named_with_its_step(bad, value):
    def step(k: int) -> Mapping[str, Tensor]:
        return {"loss": torch.tensor(1.0), "kl": torch.tensor(value if k == bad else 1.0)}

    with pytest.raises(FloatingPointError, match=f"kl is {value} at step {bad}:"):
        train.run(step, 100, state={})


def test_no_checkpoint_holds_what_is_not_finite(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "SAVE_EVERY", 0)

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Mapping[str, Tensor]:
        found = squares(model, x, y)
        return found if len(done) < 7 else {**found, "double": found["double"] / 0}

    done: list[int] = []
    path = tmp_path / "run.pt"
    with pytest.raises(FloatingPointError, match="double is inf at step 7"):
        training(path, lambda *args: (loss(*args), done.append(0))[0])
    assert torch.load(path)["k"] == 7


# --- Going on -------------------------------------------------------------------------------

# Trains as this module does, saves at every step, and is killed twice: in a step, then in a save.
KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from gmlib import train
from tests import test_train

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def save_half(saved, path):
    global saves
    saves += 1
    save(saved, path)
    if saves == 10:
        os.truncate(path, os.path.getsize(path) // 2)
        kill()

def in_a_process(loss):
    process = os.fork()
    if process == 0:
        test_train.training(Path(sys.argv[1]), loss)
        os._exit(1)
    status = os.waitpid(process, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status

train.SAVE_EVERY, saves, save = 0, 0, torch.save
in_a_process(test_train.at_call(24, kill))
torch.save = save_half
in_a_process(test_train.squares)
"""


def test_a_killed_training_goes_on_and_ends_as_an_undisturbed_one(tmp_path, undisturbed, capsys):
    path = tmp_path / "run.pt"
    run = subprocess.run(
        [sys.executable, "-u", "-c", KILLED, path], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"going on from step 23, saved in {path}\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.partial", "run.pt"]
    calls: list[int] = []
    found = training(path, lambda *args: (squares(*args), calls.append(0))[0])
    assert f"going on from step 32, saved in {path}" in capsys.readouterr().out
    assert len(calls) == STEPS - 32
    assert found.same(undisturbed)
    assert not path.exists(), "a finished training leaves its checkpoint behind"


@pytest.mark.parametrize("after", [1, 20, 50, 57, STEPS])
def test_an_interrupted_training_is_saved_and_goes_on(after, tmp_path, undisturbed, capsys):
    path = tmp_path / "run.pt"
    handler = signal.getsignal(signal.SIGINT)
    stopped(path, after)
    assert signal.getsignal(signal.SIGINT) is handler
    told = f"stopped after step {after} of {STEPS}; run again to go on from {path}"
    assert told in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]
    assert training(path).same(undisturbed)
    assert f"going on from step {after}" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_training_can_be_stopped_again_and_again(tmp_path, undisturbed):
    for _ in range(4):
        stopped(tmp_path / "run.pt", 11)
    found = training(tmp_path / "run.pt")
    assert found.same(undisturbed)
    assert len(found.history.curves["loss"]) == STEPS


def test_the_seconds_of_all_runs_are_counted(tmp_path, monkeypatch):
    clock = iter(range(1_000_000))
    monkeypatch.setattr(train.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(train, "SAVE_EVERY", 1e9)
    for after in (20, 40):
        stopped(tmp_path / "run.pt", 20)
        assert torch.load(tmp_path / "run.pt")["seconds"] >= after
    assert training(tmp_path / "run.pt").history.seconds >= STEPS


def test_an_interrupt_without_a_checkpoint_saves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        training(None, at_call(5, interrupt))
    assert not list(tmp_path.rglob("*")) and "stopped" not in capsys.readouterr().out


def test_a_second_interrupt_ends_a_step_that_hangs(tmp_path):
    reached = []

    def twice() -> None:
        interrupt()
        reached.append("first")
        interrupt()
        reached.append("second")

    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "run.pt", at_call(5, twice))
    assert reached == ["first"]
    assert not (tmp_path / "run.pt").exists(), "a step cut in two was saved"


def test_a_training_runs_in_another_thread(undisturbed):
    found: list[Trained] = []
    thread = threading.Thread(target=lambda: found.append(training()))
    thread.start()
    thread.join()
    assert found[0].same(undisturbed)


def test_a_named_checkpoint_lies_in_the_cache(tmp_path, undisturbed, monkeypatch):
    monkeypatch.setenv("GMLIB_CACHE", str(tmp_path))
    stopped("vae")
    path = tmp_path / "checkpoints" / "vae.pt"
    assert path.exists()
    assert training("vae").same(undisturbed)
    assert not path.exists()


def test_checkpoints_are_made_every_half_minute(tmp_path, monkeypatch):
    now, saves = [0.0], []
    monkeypatch.setattr(train.time, "monotonic", lambda: now[0])

    def save(kept: dict, partial: Path) -> None:
        saves.append(kept["k"])
        partial.touch()

    monkeypatch.setattr(train.torch, "save", save)

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Mapping[str, Tensor]:
        now[0] += 7
        return squares(model, x, y)

    training(tmp_path / "run.pt", loss, steps=16)
    assert saves == [5, 10, 15]  # after 35 seconds, not after 28


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "another file"])
def test_a_damaged_checkpoint_is_named_with_the_way_out(damage, tmp_path):
    path = tmp_path / "run.pt"
    stopped(path)
    if damage == "another file":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        half = path.read_bytes()[: path.stat().st_size // 2]
        path.write_bytes({"truncated": half, "empty": b""}.get(damage, b"not a checkpoint"))
    with pytest.raises(RuntimeError, match="can not be read.*delete it to start") as caught:
        training(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "changes", [{"steps": 61}, {"seed": 5}, {"lr": 0.04}, {"batch_size": 9}, {"model": True}]
)
def test_the_checkpoint_of_another_training_is_not_used(changes, tmp_path, undisturbed, capsys):
    path = tmp_path / "run.pt"
    if "model" in changes:
        torch.manual_seed(0)
        changes = {"model": nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))}
    stopped(path, **changes)
    capsys.readouterr()
    assert training(path).same(undisturbed)
    told = capsys.readouterr().out
    assert f"{path} belongs to another training" in told and "going on" not in told


def test_settings_tell_trainings_apart(tmp_path, capsys):
    def step(k: int) -> Mapping[str, Tensor]:
        if stop and k == 3:
            interrupt()
        return {"loss": torch.zeros(())}

    stop = True
    with pytest.raises(KeyboardInterrupt):
        train.run(step, 5, state={}, checkpoint=tmp_path / "run.pt", settings="k = 1")
    stop = False
    train.run(step, 5, state={}, checkpoint=tmp_path / "run.pt", settings="k = 2")
    assert "belongs to another training" in capsys.readouterr().out
