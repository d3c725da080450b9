"""What the checks of a lab ask of an answer, and how they speak to a student.

A hidden check treats an answer as behind a wall: tensors, numbers and strings go in, tensors and
numbers come out. What more it needs, such as a gradient or the weights, it asks of this module.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

Tensors = Tensor | Sequence[Tensor]


def generator() -> torch.Generator:
    """The random numbers of one check: new ones every time, or those of `GMLIB_CHECK_SEED`.

    Also seeds torch's global generator, from which an answer draws.
    """
    fixed = os.environ.get("GMLIB_CHECK_SEED")
    seed = int(fixed) if fixed else int.from_bytes(os.urandom(6), "little")
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed + 1)


def vjp(
    f: Callable[..., Any], inputs: Tensors, cotangents: Tensors
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """One call of `f` and the vector–Jacobian product at it.

    Args:
        f: gives a tensor or a tuple of tensors.
        inputs: one tensor or several, each a separate argument of `f`.
        cotangents: as many as the outputs of `f`, with their shapes.

    Returns:
        The outputs, and for each input x the gradient ∂(Σ cotangent·output)/∂x; zero where
        the outputs do not depend on x, or x is not floating.

    Raises:
        AssertionError: another number of outputs, or another shape.
    """
    inputs = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in _several(inputs)]
    outputs = _several(f(*inputs))
    found = _gradients(outputs, inputs, _several(cotangents))
    return tuple(o.detach() for o in outputs), tuple(found)


def parameters(module: Any) -> dict[str, Tensor]:
    """Copies of a module's parameters by name."""
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def parameter_gradients(
    f: Callable[..., Any], module: Any, inputs: Tensors, cotangents: Tensors
) -> dict[str, Tensor]:
    """For each parameter p of `module`, ∂(Σ cotangent·f(inputs))/∂p; zero where unused."""
    named = dict(module.named_parameters())
    outputs = _several(f(*_several(inputs)))
    found = _gradients(outputs, list(named.values()), _several(cotangents))
    return dict(zip(named, found, strict=True))


def descend(
    f: Callable[..., Any], module: Any, inputs: Tensors, cotangents: Tensors, lr: float
) -> None:
    """One step of plain gradient descent of `module` on Σ cotangent·f(inputs)."""
    named = dict(module.named_parameters())
    for name, gradient in parameter_gradients(f, module, inputs, cotangents).items():
        named[name].data -= lr * gradient


def state(module: Any) -> dict[str, Tensor]:
    """A copy of a module's parameters and buffers."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def load_state(module: Any, saved: Mapping[str, Tensor]) -> None:
    """Bring back what `state` copied."""
    module.load_state_dict(saved)


def optimiser(module: Any, lr: float, momentum: float = 0.0) -> torch.optim.Optimizer:
    """Gradient descent on a module's parameters: a step of it shows the gradient it took.

    With `momentum` m, a step moves by −lr·v, v ← m·v + gradient.
    """
    return torch.optim.SGD(module.parameters(), lr=lr, momentum=momentum)


def gradients(module: Any) -> dict[str, Tensor | None]:
    """Copies of the gradients that a module's parameters hold; None where there is none."""
    named = module.named_parameters()
    return {n: None if p.grad is None else p.grad.detach().clone() for n, p in named}


def set_gradients(module: Any, values: Mapping[str, Tensor]) -> None:
    """Let a module's parameters hold these gradients, by name."""
    for name, p in module.named_parameters():
        p.grad = values[name].detach().clone()


def evaluate(module: Any) -> None:
    """Put a module into evaluation mode."""
    module.eval()


def operations(f: Callable[..., Any], inputs: Sequence[Any]) -> int:
    """Multiplications and additions that one call of `f` spends in convolutions and products."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        f(*inputs)
    return counter.get_total_flops()


def largest_tensor(f: Callable[..., Any], inputs: Sequence[Any]) -> int:
    """Bytes of the largest memory that any tensor holds which one call of `f` makes.

    A view counts with all of the memory that it looks into, so an argument counts too once it
    is viewed; what an operation needs only inside itself does not.
    """
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Watch(TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            made = operation(*args, **(kwargs or {}))
            sizes = [t.untyped_storage().nbytes() for t in tree_leaves(made) if torch.is_tensor(t)]
            self.largest = max(self.largest, *sizes, 0)
            return made

    with Watch() as watch:
        f(*inputs)
    return watch.largest


def _several(x: Any) -> list[Tensor]:
    return [x] if isinstance(x, Tensor) else list(x)


def _gradients(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Tensor]
) -> list[Tensor]:
    """Gradients of Σ cotangent·output, zero where there is no path."""
    assert [o.shape for o in outputs] == [c.shape for c in cotangents], (
        f"expected outputs of shapes {[tuple(c.shape) for c in cotangents]}, "
        f"found {[tuple(o.shape) for o in outputs]}"
    )
    total = sum((o * c).sum() for o, c in zip(outputs, cotangents, strict=True))
    free = [x for x in inputs if x.requires_grad]
    if not free or not total.requires_grad:
        return [torch.zeros_like(x) for x in inputs]
    found = iter(torch.autograd.grad(total, free, allow_unused=True))
    pairs = [(x, next(found) if x.requires_grad else None) for x in inputs]
    return [torch.zeros_like(x) if g is None else g.detach() for x, g in pairs]


def shape(found: Any, expected: Sequence[int], what: str) -> None:
    """Assert that `found` is a tensor of this shape.

    Raises:
        AssertionError: says what was found instead.
    """
    assert isinstance(found, Tensor), f"{what} should be a tensor; found {type(found).__name__}"
    assert tuple(found.shape) == tuple(expected), (
        f"{what} should have shape {tuple(expected)}; found {tuple(found.shape)}"
    )


def close(
    found: Any, expected: Any, what: str, *, rtol: float = 1e-4, atol: float = 1e-5, hint: str = ""
) -> None:
    """Assert that `found` is finite and equals `expected` within `atol + rtol·|expected|`.

    Raises:
        AssertionError: a wrong shape, NaN, a complex number, or a difference; says where it is
            largest, and gives the hint. It does not print the expected tensor.
    """
    expected = torch.as_tensor(expected, dtype=torch.float64)
    if found is not None and not isinstance(found, Tensor):
        found = torch.as_tensor(found, dtype=torch.float64)
    shape(found, expected.shape, what)
    assert not found.is_complex(), f"{what} should be real; found {found.dtype}. {hint}"
    found, expected = found.detach().double().cpu(), expected.detach().cpu()
    assert found.isfinite().all(), f"{what} should be finite; found NaN or infinity. {hint}"
    excess = (found - expected).abs() - (atol + rtol * expected.abs())
    if not (excess <= 0).all():  # also where a NaN is expected
        at = tuple(int(i) for i in torch.unravel_index(excess.argmax(), excess.shape))
        where = f" at {list(at)}" if at else ""
        raise AssertionError(
            f"{what}{where} should be {expected[at]:.6g}; found {found[at]:.6g}. {hint}".rstrip()
        )


@contextmanager
def part(scores: dict[str, float], name: str, points: float) -> Iterator[None]:
    """Give `points` for the checks of this block, or say why not and go on.

    Use it where a part of an answer can be right alone; `total` ends the cell.
    """
    scores[name] = 0.0
    try:
        yield
    except Exception as error:  # an answer may fail in any way
        print(f"{name}: 0 of {points} points. {type(error).__name__}: {error}")
    else:
        scores[name] = float(points)


def total(scores: Mapping[str, float]) -> float:
    """The points of a cell, which nbgrader reads from its last line."""
    return float(sum(scores.values()))
