"""What a check asks of an answer, and what it says to a student."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gmlib import check

pytestmark = pytest.mark.usefixtures("alone")

A = torch.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])


# --- Random numbers -------------------------------------------------------------------------


def draws() -> list[float]:
    """The first numbers of a check's generator and of torch's own."""
    generator = check.generator()
    return [torch.rand((), generator=generator).item(), torch.rand(()).item()]


@pytest.mark.parametrize("seed", ["0", "7"])
def test_a_named_seed_fixes_the_generator(seed, monkeypatch):
    monkeypatch.setenv("GMLIB_CHECK_SEED", seed)
    first = draws()
    torch.rand(5)
    assert draws() == first
    monkeypatch.setenv("GMLIB_CHECK_SEED", "8")
    assert all(a != b for a, b in zip(draws(), first, strict=True))


@pytest.mark.parametrize("unset", [None, ""])
def test_without_a_seed_each_check_has_new_numbers(unset, monkeypatch):
    monkeypatch.delenv("GMLIB_CHECK_SEED", raising=False)
    if unset is not None:
        monkeypatch.setenv("GMLIB_CHECK_SEED", unset)
    torch.manual_seed(0)
    first = draws()
    torch.manual_seed(0)
    numbers = first + draws()
    assert len(set(numbers)) == 4, "a check and an answer draw the same, or the same again"


# --- Gradients ------------------------------------------------------------------------------


def test_vjp_is_the_gradient_by_hand():
    x, y = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 5.0])

    def f(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return A.T @ y * x, x.square().sum()

    cotangents = torch.tensor([1.0, -1.0, 2.0]), torch.tensor(3.0)
    outputs, gradients = check.vjp(f, (x, y), cotangents)
    for found, expected in zip(outputs, f(x, y), strict=True):
        assert torch.equal(found, expected) and not found.requires_grad
    dx = cotangents[0] * (A.T @ y) + 3 * 2 * x
    dy = A @ (cotangents[0] * x)
    for found, expected in zip(gradients, (dx, dy), strict=True):
        torch.testing.assert_close(found, expected)
        assert not found.requires_grad


def test_vjp_takes_one_tensor_and_leaves_it_alone():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    ((value,), (gradient,)) = check.vjp(torch.exp, x, torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(value, x.detach().exp())
    torch.testing.assert_close(gradient, torch.tensor([1.0, 2.0]) * x.detach().exp())
    assert x.grad is None

    plain = torch.tensor([1.0, 2.0])
    ((value,), _) = check.vjp(lambda x: x, plain, torch.ones(2))
    value.zero_()
    assert plain.tolist() == [1, 2] and not plain.requires_grad


def test_vjp_is_zero_where_nothing_depends_on_an_input():
    x, unused, index = torch.ones(2), torch.ones(3), torch.tensor([1, 0])
    _, gradients = check.vjp(lambda x, u, i: 2 * x[i], (x, unused, index), torch.tensor([1.0, 5]))
    for found, expected in zip(gradients, ([10.0, 2.0], [0.0] * 3, [0, 0]), strict=True):
        assert found.tolist() == expected
    assert gradients[2].dtype == index.dtype

    _, (gradient,) = check.vjp(lambda x: x.detach() * 3, x, torch.ones(2))
    assert gradient.tolist() == [0, 0]
    weight = torch.ones(2, requires_grad=True)
    for f in (lambda i: i + 1, lambda i: weight[i]):
        _, (gradient,) = check.vjp(f, index, torch.ones(2))
        assert gradient.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("f", "cotangents"),
    [
        (lambda x: x[:, :1], torch.ones(2, 3)),  # would broadcast
        (lambda x: x, torch.ones(3)),
        (lambda x: (x, x), torch.ones(2, 3)),
        (lambda x: x, (torch.ones(2, 3), torch.ones(2, 3))),
    ],
)
def test_outputs_of_another_shape_or_number_are_told(f, cotangents):
    linear = nn.Linear(3, 3)
    for ask in (
        lambda: check.vjp(f, A, cotangents),
        lambda: check.parameter_gradients(lambda x: f(x), linear, A, cotangents),
    ):
        with pytest.raises(AssertionError, match=r"expected outputs of shapes \[.*\], found \["):
            ask()


class Half(nn.Module):
    """One parameter in use, one not, one frozen, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Parameter(torch.tensor([2.0, -1.0, 0.5]))
        self.unused = nn.Parameter(torch.ones(2))
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.register_buffer("count", torch.tensor(3))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.used.square() * self.frozen).sum(1)


def test_parameter_gradients_are_those_by_hand():
    module, cotangent = Half(), torch.tensor([1.0, 2.0])
    found = check.parameter_gradients(module, module, A, cotangent)
    assert list(found) == ["used", "unused", "frozen"]
    torch.testing.assert_close(found["used"], (cotangent @ A) * 2 * module.used.detach())
    assert found["unused"].tolist() == [0, 0] and found["frozen"].tolist() == [0, 0, 0]
    assert all(p.grad is None for p in module.parameters())
    assert not any(g.requires_grad for g in found.values())


def test_descend_takes_one_step_down():
    module, cotangent = Half(), torch.tensor([1.0, 2.0])
    before = check.parameters(module)
    gradient = check.parameter_gradients(module, module, A, cotangent)["used"]
    check.descend(module, module, A, cotangent, lr=0.01)
    torch.testing.assert_close(module.used.detach(), before["used"] - 0.01 * gradient)
    assert torch.equal(module.unused, before["unused"])
    assert module.used.requires_grad and module.used.grad is None
    down = (module(A) * cotangent).sum()
    check.load_state(module, {**check.state(module), **before})
    assert down < (module(A) * cotangent).sum()


def test_a_state_is_a_copy_and_comes_back():
    module = Half()
    saved, parameters = check.state(module), check.parameters(module)
    assert list(saved) == ["used", "unused", "frozen", "count"]
    assert list(parameters) == ["used", "unused", "frozen"]
    with torch.no_grad():
        module.used.add_(1)
        module.count.add_(1)
    assert saved["used"].tolist() == parameters["used"].tolist() == [2, -1, 0.5]
    assert saved["count"] == 3

    check.load_state(module, saved)
    assert module.used.tolist() == [2, -1, 0.5] and module.count == 3
    with torch.no_grad():
        module.used.zero_()
        module.count.zero_()
    assert saved["used"].tolist() == [2, -1, 0.5] and saved["count"] == 3
    assert not any(value.requires_grad for value in (*saved.values(), *parameters.values()))


def test_gradients_are_copies_that_can_be_set():
    linear = nn.Linear(2, 1)
    assert check.gradients(linear) == {"weight": None, "bias": None}
    marks = {name: torch.randn_like(p) for name, p in linear.named_parameters()}
    check.set_gradients(linear, marks)
    check.gradients(linear)["weight"].zero_()
    found = check.gradients(linear)
    assert all(torch.equal(found[name], mark) for name, mark in marks.items())


def test_a_step_of_the_optimiser_is_the_gradient():
    linear = nn.Linear(2, 1)
    before = check.parameters(linear)
    check.set_gradients(linear, {n: torch.full_like(p, 2.0) for n, p in before.items()})
    check.optimiser(linear, lr=0.5).step()
    for name, p in check.parameters(linear).items():
        torch.testing.assert_close(p, before[name] - 1)


def test_evaluate_turns_the_noise_off():
    module = nn.Sequential(nn.Dropout(0.5))
    check.evaluate(module)
    assert torch.equal(module(A), A)


def test_operations_are_counted():
    assert check.operations(lambda x, y: x @ y, (torch.ones(2, 3), torch.ones(3, 5))) == 2 * 30
    convolution = nn.Conv2d(2, 4, 3, padding=1)
    counted = check.operations(convolution, (torch.ones(1, 2, 8, 8),))
    assert counted == 2 * 64 * 4 * 2 * 9


def test_the_largest_tensor_is_measured():
    x, y = torch.ones(10, 3), torch.ones(20, 3)
    assert check.largest_tensor(torch.cdist, (x, y)) == 4 * 10 * 20
    apart = check.largest_tensor(lambda x, y: (x[:, None] - y).square().sum(2), (x, y))
    assert apart == 4 * 10 * 20 * 3
    assert check.largest_tensor(lambda x, y: [(x - row).sum() for row in y], (x, y)) == 4 * 20 * 3
    assert check.largest_tensor(lambda: None, ()) == 0


# --- Words ----------------------------------------------------------------------------------


def test_shape_says_what_was_expected_and_found():
    check.shape(A, (2, 3), "A")
    check.shape(A, torch.Size([2, 3]), "A")
    check.shape(torch.tensor(1.0), (), "a number")
    for wrong in ((3, 2), (2, 3, 1), (6,), (2,), ()):
        with pytest.raises(AssertionError) as caught:
            check.shape(A, wrong, "the logits")
        assert str(caught.value).startswith(f"the logits should have shape {wrong}; found (2, 3)")
    for nothing, kind in ((None, "NoneType"), ([1.0], "list"), ((A, A), "tuple")):
        with pytest.raises(AssertionError, match=f"x should be a tensor; found {kind}"):
            check.shape(nothing, (1,), "x")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (A.clone(), A),
        (A.clone().requires_grad_(), A),
        (A.double(), A),
        (A + 5e-6, A),
        (A * (1 + 5e-5), A),
        (1.0, 1.0),
        (torch.tensor(2), 2.0),
        ([1.0, 2.0], torch.tensor([1.0, 2.0])),
        (np.array([1.0, 2.0]), [1.0, 2.0]),
        (np.float64(0.5), 0.5),
        (torch.tensor([True, False]), torch.tensor([1, 0])),
        (torch.zeros(0, 3), torch.zeros(0, 3)),
    ],
)
def test_close_lets_equal_values_through(found, expected):
    check.close(found, expected, "x")


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("found", "expected", "message"),
    [
        (A + 1e-3, A, "x at [1, 0] should be 0.5; found 0.501"),
        (A + torch.tensor([[0, 0, 0], [0, 0.5, 0.1]]), A, "x at [1, 1] should be 4; found 4.5"),
        (-A, A, "x at [1, 1] should be 4; found -4"),
        (1.0, 1.01, "x should be 1.01; found 1"),
        (0, 2e-5, "x should be 2e-05; found 0"),
        (A[:, :1], A, "x should have shape (2, 3); found (2, 1)"),
        (A, A[0], "x should have shape (3,); found (2, 3)"),
        (A[None], A, "x should have shape (2, 3); found (1, 2, 3)"),
        (torch.tensor([1.0]), 1.0, "x should have shape (); found (1,)"),
        (1.0, torch.ones(4), "x should have shape (4,); found ()"),
        (torch.zeros(0), torch.zeros(1), "x should have shape (1,); found (0,)"),
        (A * NAN, A, "x should be finite; found NaN or infinity."),
        (A / 0, A, "x should be finite; found NaN or infinity."),
        (NAN, NAN, "x should be finite; found NaN or infinity."),
        (INF, INF, "x should be finite; found NaN or infinity."),
        (1.0, INF, "x should be inf; found 1"),
        (A, torch.where(A > 3, NAN, A), "x at [1, 1] should be nan; found 4"),
        (None, 1.0, "x should be a tensor; found NoneType"),
        (torch.complex(A, A), A, "x should be real; found torch.complex64."),
        (torch.tensor(300).to(torch.uint8), 300, "x should be 300; found 44"),
    ],
)
def test_close_says_what_was_expected_and_found(found, expected, message):
    with pytest.raises(AssertionError) as caught:
        check.close(found, expected, "x")
    assert str(caught.value).startswith(message)


def test_close_keeps_to_its_tolerances():
    check.close(1.09, 1.0, "x", rtol=0.1, atol=0)
    check.close(0.09, 0.0, "x", rtol=0, atol=0.1)
    for tolerances in ({"rtol": 0.05, "atol": 0}, {"rtol": 0, "atol": 0.05}):
        with pytest.raises(AssertionError):
            check.close(1.09, 1.0, "x", **tolerances)
    with pytest.raises(AssertionError):
        check.close(0.09, 0.0, "x", rtol=100, atol=0)
    with pytest.raises(AssertionError):
        check.close(1.0, 1.0 + 1e-9, "x", rtol=1e-10, atol=0)  # a float32 would not tell


def test_close_finds_the_largest_excess_and_gives_the_hint():
    with pytest.raises(AssertionError) as caught:
        check.close([100.5, 2.0], [100.0, 1.0], "x", rtol=0.01, hint="Sum over the pixels.")
    assert str(caught.value) == "x at [1] should be 1; found 2. Sum over the pixels."
    with pytest.raises(AssertionError, match="infinity. Take the exponent of log σ²."):
        check.close(NAN, 1.0, "x", hint="Take the exponent of log σ².")


def test_a_message_does_not_hold_the_whole_answer():
    expected = torch.arange(1000.0)
    with pytest.raises(AssertionError) as caught:
        check.close(expected + 1, expected, "x")
    assert len(str(caught.value)) < 60


# --- Points ---------------------------------------------------------------------------------


def test_each_part_counts_alone(capsys):
    points: dict[str, float] = {}
    with check.part(points, "the value", 2):
        check.close(1.0, 1.0, "x")
    with check.part(points, "the gradient", 1.5):
        check.close(1.0, 2.0, "dx", hint="Mind the sign.")
    with check.part(points, "the rest", 1):
        raise NotImplementedError
    assert points == {"the value": 2, "the gradient": 0, "the rest": 0}
    assert capsys.readouterr().out.splitlines() == [
        "the gradient: 0 of 1.5 points. AssertionError: dx should be 2; found 1. Mind the sign.",
        "the rest: 0 of 1 points. NotImplementedError: ",
    ]
    assert check.total(points) == 2 and type(check.total(points)) is float
    # nbgrader gives full marks for the last value np.float64(0): only a plain number is partial.
    assert type(check.total({"a": np.float64(0.5), "b": 1})) is float
    assert check.total({}) == 0


def test_a_part_does_not_hide_an_interrupt():
    points: dict[str, float] = {}
    with pytest.raises(KeyboardInterrupt), check.part(points, "the value", 2):
        raise KeyboardInterrupt
    assert points == {"the value": 0}
