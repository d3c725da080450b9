"""The training loop that is not taught: progress, history, averages, bf16, stop and go on."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from gmlib import data, profile

SAVE_EVERY = 30.0  # seconds between checkpoints
FLUSH_EVERY = 50  # steps between reads of the losses, each of which waits for the device


class History(NamedTuple):
    """One float a step for each quantity, and the wall time of all runs of a resumed training."""

    curves: dict[str, list[float]]
    seconds: float


def ema(model: nn.Module, decay: float = 0.999) -> AveragedModel:
    """A copy of `model` that `fit` keeps at the exponential moving average of its weights."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def fit(
    model: nn.Module,
    loss: Callable[..., Mapping[str, Tensor]],
    tensors: tuple[Tensor, ...],
    *,
    steps: int,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int = 0,
    average: AveragedModel | None = None,
    bf16: bool | None = None,
    checkpoint: str | Path | None = None,
) -> History:
    """Minimise `loss(model, *batch)["loss"]` with Adam under a one-cycle learning rate.

    Args:
        model: moved to the device of this run and trained in place.
        loss: gives scalar tensors by name; "loss" is minimised, all are kept as curves.
        tensors: of equal length; a batch holds the same rows of each.
        lr: the highest learning rate (Smith and Topin, 2017).
        average: what `ema(model)` gave. bf16: mixed precision; None means on a GPU only.
        checkpoint: a name or a path; a stopped run goes on from it, a finished one removes it.

    Raises:
        ValueError: no steps, tensors of unequal length, or fewer rows than a batch.
        FloatingPointError: a loss is NaN or infinite; says which, and at which step.
    """
    lengths = [len(t) for t in tensors]
    if steps < 1 or len(set(lengths)) != 1:
        raise ValueError(f"expected tensors of one length and steps ≥ 1; got {lengths}, {steps}")
    device = profile.device()
    model.to(device).train()
    tensors = tuple(t.to(device) for t in tensors)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr, fused=True)  # quicker on a CPU
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps + 1)
    mixed = device.type == "cuda" if bf16 is None else bf16
    order = None

    def step(k: int) -> Mapping[str, Tensor]:
        nonlocal order
        if order is None:  # the first step of this process, which may be a resumed one
            order = data.batches(lengths[0], batch_size, seed=seed, start=k)
        index = next(order)
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            losses = loss(model, *(t.index_select(0, index) for t in tensors))
        optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        optimiser.step()
        schedule.step()
        if average is not None:
            average.update_parameters(model)
        return losses

    state = {"model": model, "optimiser": optimiser, "schedule": schedule}
    if average is not None:
        state["average"] = average.to(device)
    settings = f"batches of {batch_size} of {lengths[0]}"
    return run(step, steps, state=state, seed=seed, checkpoint=checkpoint, settings=settings)


def run(
    step: Callable[[int], Mapping[str, Tensor]],
    steps: int,
    *,
    state: Mapping[str, Any],
    seed: int = 0,
    checkpoint: str | Path | None = None,
    settings: str = "",
) -> History:
    """Call `step(0)`, …, `step(steps − 1)`; each gives scalar tensors by name.

    `state` names what can be saved: modules, optimisers, schedules. With a `checkpoint`, it and
    the random numbers are saved every half minute and when the run is stopped; the same call goes
    on from there and ends as an undisturbed run would. A checkpoint with other steps, seed,
    sizes, options of an optimiser or `settings` is not used.

    Raises:
        FloatingPointError: a quantity is NaN or infinite; says which, and at which step.
    """
    torch.manual_seed(seed)
    cache = Path(os.environ.get("GMLIB_CACHE") or Path.home() / ".cache" / "gmlib")
    path = cache / "checkpoints" / f"{checkpoint}.pt" if isinstance(checkpoint, str) else checkpoint
    identity = f"{steps} steps, seed {seed}, {_describe(state)}, {settings}"
    first, curves, before = _resume(path, identity, state)
    pending: list[Mapping[str, Tensor]] = []
    start = saved = time.monotonic()
    k = first

    def save(path: Path) -> None:
        _flush(pending, curves, k)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {
            "identity": identity, "k": k, "curves": curves,
            "seconds": before + time.monotonic() - start,
            "random": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "state": {name: part.state_dict() for name, part in state.items()},
        }  # fmt: skip
        torch.save(kept, path.with_suffix(".partial"))
        os.replace(path.with_suffix(".partial"), path)

    progress = tqdm(total=steps, initial=first, unit="step", mininterval=0.5)
    with progress as bar, _interrupts_held() as interrupts:
        while k < steps and not interrupts:
            pending.append({n: v.detach() for n, v in step(k).items()})
            k += 1
            bar.update()
            if k % FLUSH_EVERY == 0 or k == steps:
                _flush(pending, curves, k)
                bar.set_postfix({n: f"{c[-1]:.4g}" for n, c in curves.items()}, refresh=False)
            if path and time.monotonic() - saved > SAVE_EVERY:
                save(path)
                saved = time.monotonic()
    if interrupts:
        if path:
            save(path)
            print(f"stopped after step {k} of {steps}; run again to go on from {path}")
        raise KeyboardInterrupt
    if path:
        path.unlink(missing_ok=True)
    return History(curves, before + time.monotonic() - start)


@contextmanager
def _interrupts_held() -> Iterator[list[int]]:
    """Collects interrupts, which would cut a step in two; a second one is let through."""
    held: list[int] = []

    def hold(number: int, _: Any) -> None:
        held.append(number)
        if len(held) > 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # gets no signals
        yield held
        return
    usual = signal.signal(signal.SIGINT, hold)
    try:
        yield held
    finally:
        signal.signal(signal.SIGINT, usual)


def _flush(pending: list[Mapping[str, Tensor]], curves: dict[str, list[float]], k: int) -> None:
    """Move the losses of the last steps from the device into `curves`."""
    if not pending:
        return
    for name in pending[0]:
        values = torch.stack([losses[name].float() for losses in pending])
        if not values.isfinite().all():
            bad = int((~values.isfinite()).nonzero()[0])
            raise FloatingPointError(
                f"{name} is {values[bad].item()} at step {k - len(pending) + bad}: "
                "look for a logarithm of zero, an overflow of exp, or a learning rate too high"
            )
        curves.setdefault(name, []).extend(values.tolist())
    pending.clear()


def _describe(state: Mapping[str, Any]) -> str:
    modules = [m for m in state.values() if isinstance(m, nn.Module)]
    optimisers = [o for o in state.values() if isinstance(o, torch.optim.Optimizer)]
    sizes = [tuple(p.shape) for m in modules for p in m.parameters()]
    return f"{list(state)}, {sizes}, {[o.defaults for o in optimisers]}"


def _resume(
    path: Path | None, identity: str, state: Mapping[str, Any]
) -> tuple[int, dict[str, list[float]], float]:
    """The step, curves and seconds to go on from; (0, {}, 0) where there is no checkpoint."""
    if path is None or not path.exists():
        return 0, {}, 0.0
    try:
        saved = torch.load(path, map_location=profile.device(), weights_only=True)
        found = saved["identity"]
    except Exception as error:
        raise RuntimeError(
            f"the checkpoint {path} can not be read ({type(error).__name__}); delete it to start "
            "the training again"
        ) from error
    if found != identity:
        print(f"{path} belongs to another training (other sizes, options or seed): starting afresh")
        return 0, {}, 0.0
    for name, part in state.items():
        part.load_state_dict(saved["state"][name])
    torch.set_rng_state(saved["random"].cpu())
    if saved["cuda"]:
        torch.cuda.set_rng_state_all([s.cpu() for s in saved["cuda"]])
    print(f"going on from step {saved['k']}, saved in {path}")
    return saved["k"], saved["curves"], saved["seconds"]
