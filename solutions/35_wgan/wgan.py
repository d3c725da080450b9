# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 35 · Wasserstein GAN
#
# A GAN's loss does not say how good its samples are, and where real and fake do not overlap its
# generator has nothing to follow. In this lab you replace the discriminator by a *critic* that
# measures a distance: the earth mover's. You prove it right on a line, where the exact distance
# is known, build the two ways to keep a critic in bounds, train both on pictures of clothes, and
# measure whether the critic's loss is worth watching.
# The page [A critic](../../book/35_wgan.md) derives everything that you write here.
#
# You write nine answers, worth 20 points together. After each stands a check that you can run at
# once. It looks at your answer from several sides and says what it finds. The points are given
# later, by tests that you do not see and that try more cases.

# %%
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from scipy.stats import spearmanr, wasserstein_distance
from torch import Tensor, nn
from torch.nn import functional as F

from gmlib import check, data, plot, profile, records, scores, train

# %% [markdown]
# ## Sizes
#
# All sizes of the lab stand here, one for each profile. Nothing below knows which profile runs.

# %%
SEED = 0
NOISE = 64  # dimensions of the noise that a picture is made from
PENALTY = 10.0  # λ, as in the paper
CLIP = 0.01  # c, as in the paper
N_CRITIC = 3  # steps of the critic for one of the generator; the papers take 5
FASHION = profile.choose(test="fashion_small", quick="fashion_small", full="fashion")
TRAIN_IMAGES = profile.choose(test=512, quick=None, full=None)  # None: all there are
TEST_IMAGES = profile.choose(test=256, quick=2_000, full=10_000)
POINTS = profile.choose(test=512, quick=4_000, full=20_000)  # on the line
LINE_STEPS = profile.choose(test=3, quick=300, full=1_000)
WIDTH = profile.choose(test=32, quick=256, full=512)  # of the smaller hidden layer
BATCH = profile.choose(test=32, quick=32, full=128)
ROUNDS = profile.choose(test=4, quick=660, full=4_000)  # of the game with a penalty
SHORT_ROUNDS = profile.choose(test=4, quick=336, full=3_000)  # of the two others
STAGES = profile.choose(test=2, quick=12, full=20)  # how often samples are scored in training
STAGE_SAMPLES = profile.choose(test=256, quick=1_000, full=10_000)
SAMPLES = profile.choose(test=256, quick=2_000, full=10_000)  # drawn for the scores at the end

# %% [markdown]
# ## Two parallel lines, once more
#
# The real points lie on a line in the plane, $(0, u)$ with $u$ uniform between 0 and 1. The fake
# ones lie on another, $(\theta, u)$. Lab 11 computed that for every $\theta \ne 0$ the
# Jensen–Shannon divergence is $\log 2$, and the earth mover's distance is $W_1 = |\theta|$.
#
# What do two opponents of a generator say here? The best discriminator knows real from fake
# without an error, at every $\theta \ne 0$. Its loss is zero and stays zero when $\theta$ changes
# a little: no slope, nothing to learn from. Now take an opponent that answers with any real
# number in place of a probability, $f(x) = -x_1 \cdot \mathrm{sign}\,\theta$, and look at the
# difference of its means,
#
# $$\mathbb E_{\text{real}}[f] - \mathbb E_{\text{fake}}[f] = |\theta| .$$
#
# That is the distance, and its slope points home from anywhere.

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
thetas = torch.arange(-100, 101) / 100
heights = torch.rand(POINTS)
lines_real = torch.stack([torch.zeros(POINTS), heights], 1)
critics_say, discriminator_loses = [], []
for theta in thetas:
    lines_fake = torch.stack([theta.expand(POINTS), heights], 1)
    values = [-points[:, 0] * theta.sign() for points in (lines_real, lines_fake)]
    critics_say.append(values[0].mean() - values[1].mean())
    discriminator_loses.append(2 * math.log(2) if theta == 0 else 0.0)
made, axs = plot.figure(size=(5.2, 2.6))
axs[0, 0].plot(thetas, discriminator_loses, label="loss of the best discriminator")
axs[0, 0].plot(thetas, critics_say, label="difference of the critic's means")
axs[0, 0].set(xlabel="θ", ylabel="nats, or units of length")
axs[0, 0].legend(frameon=False)
plot.show(
    made,
    "Over the distance θ between two parallel lines: the loss of the best discriminator is zero "
    "everywhere but at θ = 0, where it jumps up; the difference of the critic's means is |θ|.",
)

# %% [markdown]
# ## 1 · The best critic on a line
#
# This is no accident. The *Kantorovich–Rubinstein duality* says that
#
# $$W_1(p, q) = \max_{\|f\|_L \le 1}\; \mathbb E_{x\sim p}[f(x)] - \mathbb E_{x\sim q}[f(x)] .$$
#
# The maximum is over all functions $f$ with $|f(x) - f(y)| \le \|x - y\|$ for all $x$ and $y$:
# the *1-Lipschitz* functions, those that are nowhere steeper than 1. Such an $f$ is called a
# *critic*. Without the limit on its slope, doubling $f$ would double the difference, and there
# would be no maximum.
#
# On a line the best critic can be written down. Let $x_1 < \dots < x_M$ be places, $p$ and $q$
# the probabilities of each, and $P_k = p_1 + \dots + p_k$, $Q_k = q_1 + \dots + q_k$ the sums so
# far. The page shows by summation by parts that
#
# $$\sum_{k=1}^M f(x_k)\,(p_k - q_k) = \sum_{k=1}^{M-1} \big(f(x_{k+1}) - f(x_k)\big)\,(Q_k - P_k).$$
#
# Between two neighbours $f$ may rise or fall by $x_{k+1} - x_k$ at most. So each term is largest
# when it does just that, in the direction that makes it positive.
#
# **Exercise 1** (2 points, 15 minutes). Write the best critic. A constant can be added to it
# without changing anything, and where $P_k = Q_k$ the slope makes no difference: any best critic
# is accepted.


# %% nbgrader={"grade": false, "grade_id": "best_critic", "locked": false, "schema_version": 3, "solution": true, "task": false}
def best_critic(x: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """A 1-Lipschitz function with the largest Σ f(x_k)(p_k − q_k), on places of a line.

    Args:
        x: float64 (M,), rising, not always by the same step; M ≥ 2.
        p, q: float64 (M,), probabilities of the places, each summing to 1; zeros may occur.

    Returns:
        float64 (M,): the values of f. Neighbours differ by at most x_{k+1} − x_k, and
        Σ f(x_k)(p_k − q_k) = W₁(p, q).
    """
    ### BEGIN SOLUTION
    slopes = torch.sign((q - p).cumsum(0))[:-1]
    return torch.cat([x.new_zeros(1), (slopes * x.diff()).cumsum(0)])
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "best_critic_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
places = torch.tensor([0.0, 1.0, 3.0, 4.0], dtype=torch.float64)
start, end, ends = (
    torch.tensor(weights, dtype=torch.float64)
    for weights in ([1, 0, 0, 0], [0, 0, 0, 1], [0.5, 0, 0, 0.5])
)
f = best_critic(places, end, start)
check.shape(f, (4,), "the critic at four places")
check.close(
    f.diff(), [1.0, 2.0, 1.0], "the rises of f where all real mass is right of all fake mass",
    hint="f is larger where there is more real than fake, and its slope is 1, not its step.",
)  # fmt: skip
check.close(
    best_critic(places, start, end).diff(), [-1.0, -2.0, -1.0], "the same with real and fake changed",
    hint="The direction is the sign of Q_k − P_k.",
)  # fmt: skip
check.close(
    (best_critic(places, ends, end) * (ends - end)).sum(), 2.0, "the value where half the mass moves by 4",
    hint="It is the sum of |P_k − Q_k| times the step to the next place.",
)  # fmt: skip
print("best_critic: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "best_critic_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 1, 2 points.
### BEGIN HIDDEN TESTS
generator = check.generator()


def random_masses(size: int, empty: float) -> Tensor:
    """float64 (size,) that sum to 1; about a share `empty` of them is zero."""
    mass = torch.rand(size, generator=generator, dtype=torch.float64)
    mass[torch.rand(size, generator=generator) < empty] = 0
    mass[torch.randint(size, (), generator=generator)] += 0.3
    return mass / mass.sum()


pairs = []
for size, empty in ((40, 0.0), (40, 0.7), (7, 0.3), (300, 0.5), (2, 0.0), (3, 0.0)):
    at = torch.rand(size, generator=generator, dtype=torch.float64).add(0.01).cumsum(0) - 2
    pairs.append((at, random_masses(size, empty), random_masses(size, empty)))
    if size > 3:  # far apart
        half = (torch.arange(size) < size // 2).double()
        low, high = half * pairs[-1][1] + 1e-3 * half, (1 - half) * pairs[-1][2] + 1e-3 * (1 - half)
        pairs += [
            (at, low / low.sum(), high / high.sum()),
            (at, high / high.sum(), low / low.sum()),
        ]
pairs.append((pairs[0][0], pairs[0][1], pairs[0][1]))  # p = q
nearly = pairs[0][1].clone()  # as p, but for a little that lies elsewhere
nearly[nearly.argmax()], nearly[nearly.argmin()] = nearly.max() - 5e-5, nearly.min() + 5e-5
pairs += [(pairs[0][0], pairs[0][1], nearly), (pairs[0][0], nearly, pairs[0][1])]
for at, mass, other in pairs:
    inputs = at.clone(), mass.clone(), other.clone()
    found = best_critic(*inputs)
    check.shape(found, (len(at),), "the critic")
    assert found.dtype == torch.float64, f"the critic should be float64; found {found.dtype}"
    assert found.isfinite().all(), "the critic is not finite"
    steeper = (found.diff().abs() - at.diff()).max()
    assert steeper < 1e-9, f"the critic rises by {steeper:.3g} more than the places"
    distance = wasserstein_distance(at, at, mass, other)
    value = (found * (mass - other)).sum()
    check.close(value, distance, "E f(real) − E f(fake)", rtol=1e-8, atol=1e-10)
    for now, then in zip(inputs, (at, mass, other), strict=True):
        assert torch.equal(now, then), "the function has changed its arguments"
### END HIDDEN TESTS

# %% [markdown]
# Here it is on two densities. The real one has two humps, the fake one a single hump between
# them. Under the densities stands the best critic: it falls towards the fake hump from both
# sides, and always at the steepest slope that it is allowed.

# %%
line = torch.linspace(-4, 4, 801, dtype=torch.float64)


def hump(centre: float, width: float) -> Tensor:
    """A Gaussian as probabilities of the places of `line`."""
    density = torch.exp(-0.5 * ((line - centre) / width) ** 2)
    return density / density.sum()


p_line, q_line = 0.6 * hump(-2.0, 0.4) + 0.4 * hump(1.5, 0.5), hump(-0.5, 0.5)

# %% tags=["skip-execution"]
line_critic = best_critic(line, p_line, q_line)
made, axs = plot.figure(1, 2, (3.2, 2.4))
axs[0, 0].plot(line, 100 * p_line, label="real, p")
axs[0, 0].plot(line, 100 * q_line, label="fake, q")
axs[0, 1].plot(line, line_critic, color=plot.COLOURS[2], label="best critic")
for ax in axs[0]:
    ax.set_xlabel("x")
    ax.legend(frameon=False)
axs[0, 0].set_ylabel("density")
plot.show(
    made,
    "Left: a real density with two humps and a fake one with one hump between them. Right: the "
    "best critic, a zigzag of slopes one and minus one, low where the fake density is.",
)
found = float((line_critic * (p_line - q_line)).sum())
exact = wasserstein_distance(line, line, p_line, q_line)
print(f"the best critic's difference of means {found:.6f}, W1 by SciPy {exact:.6f}")

# %% [markdown]
# ## 2 · Two losses
#
# On pictures nobody can write the best critic down. So a network plays its part and is trained to
# make the difference of means as large as it can. The generator is trained to make it small.
# With $f$ the critic and $G(z)$ a sample made from noise $z$, both minimise
#
# $$\mathcal L_{\text{critic}} = \frac1M\sum_{m=1}^M f(G(z_m)) - \frac1N\sum_{n=1}^N f(x_n), \qquad
#   \mathcal L_G = -\frac1M\sum_{m=1}^M f(G(z_m)).$$
#
# There is no logarithm and no sigmoid: $f$ is not a probability. Minus the critic's loss is its
# estimate of $W_1$.
#
# **Exercise 2** (2 points, 5 minutes). Write both losses. Mind the signs: a critic whose sign is
# turned trains a generator that runs away from the data.


# %% nbgrader={"grade": false, "grade_id": "losses", "locked": false, "schema_version": 3, "solution": true, "task": false}
def critic_loss(real_values: Tensor, fake_values: Tensor) -> Tensor:
    """The mean of f over fakes minus the mean over reals: minus the estimate of W₁.

    Args:
        real_values, fake_values: float, any shape, such as (N,) and (M, 1): the values of the
            critic. The two may differ in shape and in size; each has a mean of its own.

    Returns:
        float (), of either sign, differentiable in both arguments. Smaller is better for the
        critic, which wants large values for reals.

    Arjovsky et al. (2017), equation 3 with the sign turned.
    """
    ### BEGIN SOLUTION
    return fake_values.mean() - real_values.mean()
    ### END SOLUTION


def generator_loss(fake_values: Tensor) -> Tensor:
    """Minus the mean of f over fakes.

    Args:
        fake_values: float, any shape.

    Returns:
        float (), of either sign, differentiable. Smaller is better for the generator, which
        wants large values for its samples.
    """
    ### BEGIN SOLUTION
    return -fake_values.mean()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "losses_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
real_values, fake_values = torch.tensor([2.0, 4.0]), torch.tensor([1.0, -1.0, 0.0, -2.0])
check.close(
    critic_loss(real_values, fake_values), -3.5, "the loss of a critic that likes reals more",
    hint="The critic minimises: fake minus real, each with its own mean.",
)  # fmt: skip
check.close(
    generator_loss(fake_values), 0.5, "the loss of the generator",
    hint="It wants large values of the critic for its samples, and it minimises.",
)  # fmt: skip
_, (d_real, d_fake) = check.vjp(critic_loss, (real_values, fake_values), torch.ones(()))
check.close(d_real, [-0.5] * 2, "the critic's gradient in the values of two reals")
check.close(d_fake, [0.25] * 4, "the critic's gradient in the values of four fakes")
_, (d_fake,) = check.vjp(generator_loss, fake_values, torch.ones(()))
check.close(d_fake, [-0.25] * 4, "the generator's gradient in the values of four fakes")
print("critic_loss and generator_loss: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "losses_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 2, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
value_shapes = (
    ((8,), (8,)), ((5,), (9,)), ((6, 1), (4, 1)), ((1,), (7,)), ((2, 1, 3, 4), (1, 1)), ((3, 2), (2, 5)),
    ((6,), (6, 1)), ((5, 1), (5,)),
)  # fmt: skip
for part, worth in (("the critic's loss", 1), ("the generator's loss", 1)):
    with check.part(points, part, worth):
        for real_shape, fake_shape in value_shapes:
            for size, shift in ((1.0, 0.0), (30.0, 40.0), (1e-3, -5.0)):
                values = [
                    torch.randn(s, generator=generator) * size for s in (real_shape, fake_shape)
                ]
                values[0] += shift
                values[1] -= 2 * shift
                means = [v.double().mean() for v in values]
                cotangent = torch.randn((), generator=generator)
                if part == "the critic's loss":
                    loss, inputs, expected = critic_loss, values, means[1] - means[0]
                    wanted = [-cotangent / values[0].numel(), cotangent / values[1].numel()]
                else:
                    loss, inputs, expected = generator_loss, values[1:], -means[1]
                    wanted = [-cotangent / values[1].numel()]
                copies = [v.clone() for v in inputs]
                check.close(
                    loss(*copies), expected, f"{part}, values {real_shape} and {fake_shape}"
                )
                _, slopes = check.vjp(loss, inputs, cotangent)
                for slope, number, value in zip(slopes, wanted, inputs, strict=True):
                    check.close(
                        slope, torch.full(value.shape, number.item()), f"the gradient of {part}"
                    )
                for now, then in zip(copies, inputs, strict=True):
                    assert torch.equal(now, then), "the function has changed its arguments"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## Critics whose slope is known
#
# Everything from here on hangs on slopes: the gradient of $f$ in its input. To see whether it is
# handled right, we need critics whose gradient can be told without a computer. Here are two, and
# one small network for points.


# %%
class LinearCritic(nn.Module):
    """f(x) = Σ w x over all numbers of each x: its gradient is w everywhere.

    Args:
        w: float, the shape of one x. It is learned.
    """

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w.clone())

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) → (N,)."""
        return (self.w * x).flatten(1).sum(1)


class QuadraticCritic(LinearCritic):
    """f(x) = ½ Σ w x²: its gradient at x is w·x, number by number."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) → (N,)."""
        return super().forward(x**2 / 2)


# %%
class PointCritic(nn.Module):
    """A small network with no limit on its slope: points (N, dimensions) → (N,)."""

    def __init__(self, dimensions: int, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dimensions, width), nn.LeakyReLU(0.2),
            nn.Linear(width, width), nn.LeakyReLU(0.2),
            nn.Linear(width, 1), nn.Flatten(0),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


# %% [markdown]
# ## 3 · Keep the weights small
#
# A critic must not be steeper than 1. How does one say that to a network? The first answer was
# blunt: after every step of the critic, force each of its weights into the range $[-c, c]$. A
# network with small weights can not be steep. Nobody knows how steep exactly, but there is some
# $K$, the same for all such networks, and what the critic then estimates is $K \cdot W_1$.
#
# **Exercise 3** (2 points, 10 minutes). Write the clipping. It acts on the critic itself, on all
# numbers that it learns, biases included, and changes nothing else: an optimiser that was made
# before still drives the same parameters, which still take gradients.


# %% nbgrader={"grade": false, "grade_id": "clip_weights", "locked": false, "schema_version": 3, "solution": true, "task": false}
def clip_weights(critic: nn.Module, c: float) -> None:
    """Force every parameter of the critic into [−c, c], in place.

    Args:
        critic: any module. Numbers outside the range become −c or c, whichever is nearer; those
            inside, and all `.grad`, stay as they are. So does what is no parameter: buffers, such
            as the statistics of a batch norm, and the mode (training or evaluation). A parameter
            that is frozen, so that it takes no gradient, is clipped too and stays frozen.
        c: positive.

    Returns:
        None.

    Arjovsky et al. (2017), algorithm 1, line 7.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.clamp_(-c, c)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "clip_weights_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
critic = LinearCritic(torch.tensor([3.0, 0.02, -0.02, -0.3]))
result = clip_weights(critic, 0.1)
assert result is None, "clip_weights changes the critic that it is given, and returns nothing"
check.close(
    check.parameters(critic)["w"], [0.1, 0.02, -0.02, -0.1], "the weights after clipping at 0.1",
    hint="Each number by itself; what is inside the range stays.",
)  # fmt: skip
critic = PointCritic(2)
optimiser, before = check.optimiser(critic, 1.0), check.parameters(critic)
clip_weights(critic, 0.05)
clipped = check.parameters(critic)
for name, value in clipped.items():
    check.close(
        value, before[name].clamp(-0.05, 0.05), f"{name} after clipping at 0.05",
        hint="All layers, weights and biases, are clipped.",
    )  # fmt: skip
check.set_gradients(critic, {name: torch.ones_like(value) for name, value in clipped.items()})
optimiser.step()
for name, value in check.parameters(critic).items():
    check.close(
        value, clipped[name] - 1, f"{name} after a step of an optimiser made before the clipping",
        hint="Change the numbers inside the parameters; do not put new parameters in their place.",
    )  # fmt: skip
print("clip_weights: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "clip_weights_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 3, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def some_critics() -> list[nn.Module]:
    shapes = ((5,), (1, 4, 6), (2, 3))
    found = [LinearCritic(torch.randn(s, generator=generator)) for s in shapes]
    return [
        *found,
        QuadraticCritic(torch.randn(7, generator=generator)),
        PointCritic(3),
        PointCritic(1, 5),
    ]


with check.part(points, "the numbers", 1):
    for limit in (0.01, 0.1, 0.7, 3.0):
        for judge in some_critics():
            start = {n: 2 * v + 0.05 for n, v in check.parameters(judge).items()}
            check.load_state(judge, start)
            for _ in range(2):  # a second time changes nothing
                assert clip_weights(judge, limit) is None, "clip_weights should return None"
                for name, value in check.parameters(judge).items():
                    wanted = start[name].clamp(-limit, limit)
                    check.close(value, wanted, f"{name} clipped at {limit}", rtol=1e-6, atol=1e-7)
with check.part(points, "nothing else", 1):
    for judge in some_critics():
        driver, start = check.optimiser(judge, 0.5), check.parameters(judge)
        held = {n: torch.randn(v.shape, generator=generator) * 5 for n, v in start.items()}
        check.set_gradients(judge, held)
        clip_weights(judge, 0.2)
        for name, value in check.gradients(judge).items():
            check.close(value, held[name], f"the gradient held by {name}", rtol=0, atol=0)
        driver.step()
        for name, value in check.parameters(judge).items():
            wanted = start[name].clamp(-0.2, 0.2) - 0.5 * held[name]
            check.close(value, wanted, f"{name} after a step of its optimiser", atol=1e-5)
        size = next(iter(start.values())).shape
        x = torch.randn(4, *(size[1:] if len(start) > 1 else size), generator=generator)
        learned = check.parameter_gradients(judge, judge, x, torch.ones(4))
        assert any(g.any() for g in learned.values()), "the critic can no longer learn"
    judge = PointCritic(2, 5)
    judge.layers[0].requires_grad_(False)
    judge.layers[2].inner = QuadraticCritic(5 * torch.randn(3, 4, generator=generator))
    start = check.parameters(judge)
    clip_weights(judge, 0.1)
    for name, value in check.parameters(judge).items():
        wanted = start[name].clamp(-0.1, 0.1)
        check.close(value, wanted, f"{name}, where a layer is frozen and one holds another")
    x = torch.randn(4, 2, generator=generator)
    learned = check.parameter_gradients(judge, judge, x, torch.ones(4))
    for name, gradient in learned.items():
        still = name.startswith("layers.0") or "inner" in name
        assert gradient.any() != still, f"{name} was frozen or thawed"
    judge, kept = PointCritic(2, 5), torch.tensor([7.0, -7.0])
    judge.register_buffer("seen", kept.clone())
    for mode in (True, False):
        clip_weights(judge, 0.2)
        assert torch.equal(check.state(judge)["seen"], kept), "a buffer was clipped"
        assert judge.training == mode, "the critic's mode has changed"
        check.evaluate(judge)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 4 · Punish the slope
#
# The authors of clipping call it "a clearly terrible way" to keep a critic in bounds (Arjovsky et
# al., 2017). The next section shows why. The second answer looks at what really matters, the
# length of the gradient. It punishes the critic where that length is not 1, at random points
# $\hat x$ between a real and a fake image:
#
# $$\begin{aligned}
# \hat x_n &= \alpha_n\, x_n + (1 - \alpha_n)\, G(z_n), \quad \alpha_n \sim \mathcal U[0, 1], \\
# \mathcal P &= \frac1N\sum_{n=1}^N \big(\|\nabla f(\hat x_n)\| - 1\big)^2 .
# \end{aligned}$$
#
# Each image has *one* number $\alpha_n$ of its own, so $\hat x_n$ lies on the straight way from
# one image to the other. The length is that of the whole gradient of one image, over all its
# numbers: channels, rows and columns.
#
# The critic is to *learn* from $\mathcal P$. So $\mathcal P$, which is made of a gradient, must
# itself be differentiable in the critic's weights. `torch.autograd.grad` throws the way back away
# unless it is told to keep it: `create_graph=True`.
#
# Sometimes one wants to punish only what is forbidden, slopes above 1. That is the *one-sided*
# penalty, $\max(0, \|\nabla f(\hat x_n)\| - 1)^2$ in place of the square above.
#
# **Exercise 4** (4 points, 30 minutes). Write the penalty, with both kinds. The weight $\lambda$
# is not part of it.


# %% nbgrader={"grade": false, "grade_id": "gradient_penalty", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gradient_penalty(
    critic: nn.Module, real: Tensor, fake: Tensor, one_sided: bool = False
) -> Tensor:
    """Mean over images of (‖∇f(x̂)‖ − 1)², each x̂ at a random point between real and fake.

    Args:
        critic: (N, …) → (N,), treats each image by itself. Its weights, their `.grad` and its mode
            (training or evaluation) stay as they are.
        real, fake: float, equal shapes (N, …), such as (N, 2) or (N, 1, 28, 28), in float32 or
            float64; row n of the one belongs to row n of the other. Neither is changed, nor
            marked for gradients.
        one_sided: punish lengths above 1 only, max(0, ‖∇f(x̂)‖ − 1)².

    Returns:
        float (), not negative, differentiable in the weights of the critic. One α, uniform on
        [0, 1], for each image and each call.

    Gulrajani et al. (2017), equation 3 without λ.
    """
    ### BEGIN SOLUTION
    alpha = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device, dtype=real.dtype)
    between = (alpha * real + (1 - alpha) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    excess = gradient.flatten(1).norm(dim=1) - 1
    return (excess.relu() if one_sided else excess).square().mean()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "gradient_penalty_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
zeros, ones = torch.zeros(6, 1, 2, 2), torch.ones(6, 1, 2, 2)
critic = LinearCritic(torch.full((1, 2, 2), 1.5))  # the length of its gradient is 3
for one_sided in (False, True):
    check.close(
        gradient_penalty(critic, zeros, ones, one_sided), 4.0, "the penalty of slope 3",
        hint="The gradient has four numbers, each 1.5. Its length is over all of an image.",
    )  # fmt: skip
slope = check.parameter_gradients(gradient_penalty, critic, (critic, zeros, ones), torch.ones(()))
check.close(
    slope["w"], torch.full((1, 2, 2), 2.0), "the gradient of that penalty in the critic's weights",
    hint="It is 2(‖w‖ − 1)·w/‖w‖. If it is zero: was the graph of the gradient kept?",
)  # fmt: skip
flat = LinearCritic(torch.full((1, 2, 2), 0.1))  # the length of its gradient is 0.2
check.close(gradient_penalty(flat, zeros, ones), 0.64, "the penalty of slope 0.2")
check.close(gradient_penalty(flat, zeros, ones, True), 0.0, "the one-sided penalty of slope 0.2")
bowl = QuadraticCritic(torch.ones(1, 2, 2))  # the length of its gradient at x is that of x
many = [float(gradient_penalty(bowl, zeros[:1], 3 * ones[:1]).detach()) for _ in range(2_000)]
lengths = 1 + torch.tensor([m for m in many if m > 1]).sqrt()  # (‖x̂‖ − 1)² > 1: x̂ is beyond 2
share = len(lengths) / 2_000
check.close(
    share, 2 / 3, "the share of points beyond a third of the way from 0 to an image of length 6", atol=0.06,
    hint="α is uniform, and one number for all pixels of an image.",
)  # fmt: skip
assert lengths.max() < 6, "a point lies beyond the image; α should be between 0 and 1"
print("gradient_penalty: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "gradient_penalty_test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 4, 4 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
image_shapes = ((6, 5), (1, 4), (3, 1, 4, 6), (2, 3, 5, 4), (4, 2, 3), (5, 1), (1, 1, 3, 3))


def between_numbers(low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


with check.part(points, "critics of one slope", 1):
    for shape in image_shapes:
        for length in (0.2, 0.8, 1.0, 1.7, 6.0):
            w = torch.randn(shape[1:], generator=generator)
            w *= length / w.norm()
            judge = LinearCritic(w)
            real, fake = torch.randn(2, *shape, generator=generator)
            one = check.parameter_gradients(
                gradient_penalty, judge, (judge, real, fake, True), torch.ones(())
            )
            two = check.parameter_gradients(
                gradient_penalty, judge, (judge, real, fake, False), torch.ones(())
            )
            above = max(length - 1, 0)
            what = f"of images {shape} at slope {length}"
            check.close(
                gradient_penalty(judge, real, fake), (length - 1) ** 2, f"penalty {what}", atol=2e-5
            )
            check.close(
                gradient_penalty(judge, real, fake, True),
                above**2,
                f"one-sided penalty {what}",
                atol=2e-5,
            )
            wanted = 2 * (length - 1) * w / length
            check.close(two["w"], wanted, f"its gradient {what}", atol=2e-5)
            wanted = 2 * above * w / length
            check.close(one["w"], wanted, f"its one-sided gradient {what}", atol=2e-5)
with check.part(points, "critics of many slopes", 1):
    for shape in image_shapes:  # with fake = real the place is known, whatever α
        w, x = between_numbers(-1.5, 1.5, *shape[1:]), torch.randn(shape, generator=generator)
        x *= between_numbers(0.1, 3, shape[0], *[1] * (len(shape) - 1))
        judge = QuadraticCritic(w)
        lengths = (w * x).flatten(1).norm(dim=1)
        for one_sided in (False, True):
            excess = (lengths - 1).relu() if one_sided else lengths - 1
            found = gradient_penalty(judge, x, x.clone(), one_sided)
            check.close(
                found, excess.square().mean(), f"the penalty of a bowl, images {shape}", rtol=1e-3
            )
            push = torch.randn((), generator=generator)
            found = check.parameter_gradients(
                gradient_penalty, judge, (judge, x, x, one_sided), push
            )
            each = (2 * push * excess / lengths / shape[0]).view(-1, *[1] * (len(shape) - 1))
            check.close(found["w"], (each * w * x**2).sum(0), "its gradient", rtol=1e-3, atol=1e-4)
    judge, x = PointCritic(3, 9), torch.randn(7, 3, generator=generator)
    check.load_state(judge, {n: 3 * v for n, v in check.state(judge).items()})
    _, (slopes,) = check.vjp(judge, x, torch.ones(7))
    wanted = (slopes.square().sum(1).sqrt() - 1).square().mean()
    check.close(
        gradient_penalty(judge, x, x.clone()), wanted, "the penalty of a network", rtol=1e-3
    )
with check.part(points, "where it is measured", 1):
    # Image i lies on axis i, and f is the bowl ½‖x‖². The penalty's gradient in weight i is
    # (2/N)(t − 1)t, with t the place of the i-th point between 2 and 4.
    drawn = []
    for shape in ((400, 400), (300, 1, 20, 15), (300, 3, 10, 10)):
        n = shape[0]
        axes = torch.eye(n).reshape(shape)
        judge = QuadraticCritic(torch.ones(shape[1:]))
        for ends in ((2 * axes, 4 * axes), (4 * axes, 2 * axes)):
            found = check.parameter_gradients(
                gradient_penalty, judge, (judge, *ends), torch.ones(())
            )
            t = 0.5 + (0.25 + found["w"].flatten() * n / 2).sqrt()
            drawn.append((t - 2) / 2)
    for uniform in drawn:
        n = len(uniform)
        assert uniform.min() > -1e-3 and uniform.max() < 1 + 1e-3, (
            "a point is not between the images"
        )
        order = uniform.sort().values - (torch.arange(n) + 0.5) / n
        assert order.abs().max() < 0.16, "the points are not spread evenly between real and fake"
        middle = uniform - uniform.mean()
        along = torch.arange(n) - (n - 1) / 2
        for other in (along, middle.roll(1), middle.roll(2)):
            assert (F.cosine_similarity(middle, other, dim=0)).abs() < 0.35, (
                "the points follow a rule"
            )
    joined = torch.cat(drawn)
    assert joined.min() < 0.02 and joined.max() > 0.98, "some places between are never looked at"
    order = joined.sort().values - (torch.arange(len(joined)) + 0.5) / len(joined)
    assert order.abs().max() < 0.07, "the points are not spread evenly between real and fake"
    for first, second in zip(drawn[::2], drawn[1::2], strict=True):
        same = F.cosine_similarity(first - first.mean(), second - second.mean(), dim=0).abs()
        assert same < 0.35, "two calls draw the same points"
with check.part(points, "one point an image, and no trace", 1):
    for shape in ((1, 9), (1, 1, 4, 6), (1, 3, 4, 4), (1, 5, 2), (1, 1, 1, 7)):
        for dtype in (torch.float32, torch.float64):
            for _ in range(3):
                real, fake = between_numbers(1, 3, 2, *shape).to(dtype)
                judge = QuadraticCritic(torch.ones(shape[1:], dtype=dtype))
                names, training = check.parameters(judge), dtype == torch.float32
                if not training:
                    check.evaluate(judge)
                held = {name: torch.randn_like(value) for name, value in names.items()}
                check.set_gradients(judge, held)
                ends = real.clone(), fake.clone()
                # The penalty is (t − 1)², t = ‖x̂‖; its gradient in weight d is 2(t − 1)/t · x̂_d².
                pulled = check.parameter_gradients(
                    gradient_penalty, judge, (judge, *ends), torch.ones(())
                )
                found = pulled["w"]
                t = 0.5 + (0.25 + found.sum() / 2).sqrt()
                place = (found * t / (2 * (t - 1))).sqrt()
                dtypes = gradient_penalty(judge, *ends).dtype, dtype
                assert dtypes[0] == dtype, f"the penalty should be {dtype}; found {dtypes[0]}"
                way = (real - fake)[0]
                alpha = ((place - fake[0]) * way).sum() / way.square().sum()
                at = alpha * real[0] + (1 - alpha) * fake[0]
                check.close(place, at, "the point, on the straight way between", rtol=3e-3)
                for now, then in zip(ends, (real, fake), strict=True):
                    assert torch.equal(now, then), "the function has changed its images"
                    assert not now.requires_grad, "the function has marked its images for gradients"
                for name, value in check.gradients(judge).items():
                    check.close(value, held[name], "the critic's .grad", rtol=0, atol=0)
                for name, value in check.parameters(judge).items():
                    assert torch.equal(value, names[name]), "the function has changed the critic"
                assert judge.training == training, "the function has changed the critic's mode"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## On the line, where the truth is known
#
# Is a critic's loss a distance? The two densities from above have a known $W_1$. Five small
# networks are trained as critics between points drawn from them. Two are clipped. Three are
# punished: with the penalty of the paper, and one-sided with $\lambda = 10$ and $\lambda = 100$.


# %%
def draw_line(masses: Tensor, n: int) -> Tensor:
    """n points (n, 1) of the places of `line`, drawn by their probabilities."""
    places = line[torch.multinomial(masses, n, replacement=True)]
    return places.float()[:, None].to(profile.device())


# %%
torch.manual_seed(SEED)
line_real, line_fake = draw_line(p_line, POINTS), draw_line(q_line, POINTS)
true_w1 = wasserstein_distance(line_real[:, 0].cpu(), line_fake[:, 0].cpu())
LINE_CRITICS = {
    "clipped at 0.1": {"weight": 0.0, "one_sided": False, "c": 0.1},
    "clipped at 0.2": {"weight": 0.0, "one_sided": False, "c": 0.2},
    "two-sided, λ = 10": {"weight": 10.0, "one_sided": False, "c": None},
    "one-sided, λ = 10": {"weight": 10.0, "one_sided": True, "c": None},
    "one-sided, λ = 100": {"weight": 100.0, "one_sided": True, "c": None},
}


# %%
def fit_on_line(weight: float, one_sided: bool, c: float | None) -> tuple[nn.Module, float]:
    """A critic trained between the two clouds, penalised or clipped, and the seconds it took."""
    torch.manual_seed(SEED)
    critic = PointCritic(1).to(profile.device())
    optimiser = torch.optim.Adam(critic.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=LINE_STEPS + 1)

    def step(k: int) -> dict[str, Tensor]:
        real, fake = (points[torch.randint(POINTS, (256,))] for points in (line_real, line_fake))
        loss = critic_loss(critic(real), critic(fake))
        optimiser.zero_grad()
        (loss + weight * gradient_penalty(critic, real, fake, one_sided)).backward()
        optimiser.step()
        schedule.step()
        if c is not None:
            clip_weights(critic, c)
        return {"estimate": -loss}

    history = train.run(step, LINE_STEPS, state={"critic": critic}, seed=SEED)
    return critic, history.seconds


@torch.no_grad()
def estimate_w1(critic: nn.Module, real: Tensor, fake: Tensor) -> float:
    """E f(real) − E f(fake) over all points."""
    return float(-critic_loss(critic(real), critic(fake)))


def steepest(critic: nn.Module) -> float:
    """The greatest slope of a critic between neighbours of `line`."""
    values = critic(line.float()[:, None].to(profile.device())).detach().cpu().double()
    return float((values.diff() / line.diff()).abs().max())


# %% tags=["skip-execution"]
line_fits = {name: fit_on_line(**options) for name, options in LINE_CRITICS.items()}
estimates = {name: estimate_w1(fit[0], line_real, line_fake) for name, fit in line_fits.items()}
print(f"exact W1 of the two clouds: {true_w1:.4f}")
for name, fit in line_fits.items():
    print(
        f"{name:20s} estimate {estimates[name]:8.4f}, {estimates[name] / true_w1:6.1%} of W1",
        end="",
    )
    print(f"   steepest slope {steepest(fit[0]):.3f}")

# %% tags=["skip-execution"]
made, axs = plot.figure(1, len(line_fits), (1.9, 2.1))
best = line_critic - (line_critic * q_line).sum()
for ax, (name, fit) in zip(axs[0], line_fits.items(), strict=True):
    values = fit[0](line.float()[:, None].to(profile.device())).detach().cpu().double()
    ax.plot(line, best, color="#555555", linestyle="--", label="best")
    ax.plot(line, values - (values * q_line).sum(), color=plot.COLOURS[0], label="learned")
    ax.set_title(name, fontsize=8)
    ax.set_xlabel("x")
axs[0, 0].legend(frameon=False, fontsize=7)
plot.show(
    made,
    "Five learned critics over the best one, a zigzag. Clipped at 0.1 and at 0.2: bent lines of "
    "unlike heights, neither of them the best. Two-sided: nearly one slope across, no zigzag. "
    "One-sided with λ = 10: the zigzag, a little too steep. One-sided with λ = 100: on top of the "
    "best wherever there are points.",
)
relative_error = abs(estimates["one-sided, λ = 100"] / true_w1 - 1)
print(f"one-sided, λ = 100: the estimate is off by {relative_error:.2%}")

# %% [markdown]
# Several answers to one question.
#
# - *Clipped.* The number is some $K$ times a distance, and nobody knows $K$. With $c$ doubled it is
#   another number altogether, and where one of them comes near the truth, that is chance. It may
#   rise and fall with $W_1$ while one network is trained. It is no distance.
# - *One-sided, $\lambda = 10$.* A penalty is a price, and the critic pays it where that brings more
#   than it costs. So it is a little steeper than 1 and the estimate is too large. The page
#   derives by how much: at least by the factor $1 + W_1/(2\lambda)$.
# - *One-sided, $\lambda = 100$.* A higher price, a smaller error: within a few per cent of the
#   truth, and without ever having sorted the points.
# - *Two-sided.* The penalty of the paper asks for slope 1 *everywhere* between real and fake. The
#   best critic has to turn from falling to rising somewhere. To learn that turn, a network passes
#   through slopes between $-1$ and $1$, and there it is punished. So it stays with the direction
#   that it took first. What is left is close to a straight line, and a straight line sees the
#   difference of the two means and nothing else.
#
# So why do the authors take two sides? In hundreds of dimensions a gradient can turn round without
# passing through zero. They found the two-sided penalty slightly better in early trials on
# pictures, and say that they did not look into it fully. A critic that is nowhere flat also gives
# the generator a signal everywhere. For pictures we follow them.
#
# ## 5 · A critic for pictures
#
# A critic for pictures is a network like any other, with two things to mind. It ends in a plain
# number: no sigmoid, no activation. And it must judge each image *by itself*. Batch normalisation
# mixes the images of a batch: the value of one image then depends on all others. The penalty
# punishes the gradient of each image by itself, so there would be no such thing as "the gradient
# of image $n$".
#
# *Layer normalisation* (Ba et al., 2016) normalises within one image instead. With $h$ the $D$
# numbers of one image after a layer,
#
# $$\mathrm{LN}(h)_d = g_d\,\frac{h_d - \bar h}{\sqrt{s^2 + \epsilon}} + b_d, \qquad
#   \bar h = \frac1D\sum_d h_d, \quad s^2 = \frac1D\sum_d (h_d - \bar h)^2 ,$$
#
# with a gain $g$ and a shift $b$ that are learned. It has an effect that can be seen from outside.
# Make an image a thousand times brighter, then a million times: what comes out of a normalised
# layer is nearly the same. The same holds for the layer's weights: their size no longer matters.
# Only those of the last layer, which has no norm after it, still scale the value.
#
# **Exercise 5** (2 points, 20 minutes). Write the critic. A good start: flatten the image, two
# hidden layers of $2W$ and $W$ units, each a linear layer, layer norm and leaky ReLU; then one
# number. Convolutions are welcome and slower.


# %% nbgrader={"grade": false, "grade_id": "critic", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Critic(nn.Module):
    """A critic of images, with layer norm.

    In training mode as in evaluation mode, the value of an image depends on nothing but the
    image and the weights: not on the other images, not on images seen before, not on chance.
    All pixels count. An image of huge numbers gets a value of ordinary size, and huge weights in
    the hidden layers do not make values huge: layer norm undoes both.

    Args:
        width: W, the size of the last hidden layer; of convolutions, its channels. One linear
            layer, with nothing after it, makes the value.
    """

    ### BEGIN SOLUTION
    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(784, 2 * width), nn.LayerNorm(2 * width), nn.LeakyReLU(0.2),
            nn.Linear(2 * width, width), nn.LayerNorm(width), nn.LeakyReLU(0.2),
            nn.Linear(width, 1), nn.Flatten(0),
        )  # fmt: skip

    ### END SOLUTION

    def forward(self, x: Tensor) -> Tensor:
        """float (N, 1, 28, 28), pixels between −1 and 1 → (N,), values of any size and sign."""
        ### BEGIN SOLUTION
        return self.layers(x)
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "critic_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
critic, images = Critic(width=32), torch.randn(8, 1, 28, 28).tanh()
values = critic(images).detach()
check.shape(values, (8,), "the values of eight images")
alone = torch.cat([critic(image[None]).detach() for image in images])
check.close(
    alone, values, "the values of the same images one by one, in training mode", atol=1e-4,
    hint="An image must not depend on the others of its batch. Is there a batch norm?",
)  # fmt: skip
check.close(critic(images), values, "the same values again", atol=1e-5, hint="Is there a dropout?")
bright = critic(1e3 * images).detach()
check.close(
    critic(1e6 * images), bright, "values of images a million times brighter, against a thousand",
    rtol=0.05, atol=0.05, hint="Layer norm in the hidden layers makes them nearly the same.",
)  # fmt: skip
_, (slope,) = check.vjp(critic, images, torch.ones(8))
assert slope.abs().amax((0, 1)).all(), "some pixels never count; is the whole image read?"
start = check.state(critic)
for sign in (1, -1):
    check.load_state(critic, start)
    for _ in range(3):
        check.descend(critic, critic, images, torch.full((8,), -1.0 * sign), lr=0.1)
    found = (sign * critic(images)).mean()
    assert found > 2, f"the critic can not learn to say {2 * sign}; is an activation at its end?"
print("Critic: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "critic_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 5, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def some_images(n: int) -> Tensor:
    return torch.randn(n, 1, 28, 28, generator=generator).tanh()


with check.part(points, "each image by itself", 1):
    for width in (16, 40):
        judge, pictures = Critic(width=width), some_images(9)
        values = judge(pictures).detach()
        for mode in ("training", "evaluation"):
            copy = pictures.clone()
            found = judge(copy).detach()
            check.shape(found, (9,), "the values of nine images")
            assert torch.equal(copy, pictures), "the critic has changed its images"
            spread = found.std()
            assert spread > 1e-4, "all images get the same value"
            for others in (pictures[:1], pictures[:4], pictures.flip(0), pictures[4:]):
                judge(20 * some_images(5) + 3)  # images seen before leave no trace
                wanted = judge(others).detach()
                check.shape(wanted, (len(others),), "the values of some of the images")
                at = [int((pictures == o).flatten(1).all(1).nonzero()) for o in others]
                gap = (wanted - found[at]).abs().max()
                assert gap < 0.01 * spread, f"in {mode} mode a value depends on more than the image"
            check.evaluate(judge)
        check.close(judge(pictures), values, "values in evaluation mode", atol=1e-4)
    for _ in range(2):  # the gradient of each image, too
        judge, pictures = Critic(width=24), some_images(5)
        _, (slopes,) = check.vjp(judge, pictures, torch.eye(5)[2])
        assert slopes[2].any(), "an image has no gradient"
        others = slopes[[0, 1, 3, 4]].abs().max()
        assert others < 1e-6 * slopes[2].abs().max(), "an image has a part in another's value"
with check.part(points, "its values", 1):
    judge, other, pictures = Critic(width=32), Critic(width=32), some_images(12)
    check.load_state(other, check.state(judge))
    check.close(other(pictures), judge(pictures), "the values of a loaded copy", atol=1e-4)
    for _ in range(2):  # also after an update
        thousand, million = judge(1e3 * pictures).detach(), judge(1e6 * pictures).detach()
        ordinary = judge(pictures).detach()
        gap = (thousand - million).abs().max() / (thousand.std() + ordinary.std())
        assert gap < 0.1, "values grow with the brightness: is every hidden layer normalised?"
        _, (slopes,) = check.vjp(judge, pictures, torch.ones(12))
        assert (slopes.abs().amax((0, 1)) > 0).all(), "some pixels do not count"
        mirrored = (judge(pictures.flip(3)) - ordinary).abs().max()
        assert mirrored > 1e-3 * ordinary.std(), "the place of a pixel makes no difference"
        check.descend(judge, judge, pictures, torch.randn(12, generator=generator), lr=0.01)
    judge, spreads = Critic(width=32), []
    fresh = check.state(judge)
    for size in (1, 1e2, 1e3, 1e6):  # of matrices and kernels; not of gains, which are all equal
        larger = {n: size * v if v.dim() > 1 and v.std() > 0 else v for n, v in fresh.items()}
        check.load_state(judge, larger)
        spreads.append(judge(pictures).detach().std())
    assert spreads[3] < 3e3 * spreads[2], "weights of a hidden layer matter: is each normalised?"
    assert spreads[3] > 300 * spreads[2], "the values of a critic should have no bounds"
    growth = spreads[1] / spreads[0] / 100  # 1: all of it from the last layer, which has no norm
    assert 0.4 < growth < 2.5, "the size of hidden weights matters: is there a layer norm?"
    judge = Critic(width=37)
    start = check.state(judge)
    sizes = [tuple(v.shape) for v in start.values()]
    last = [columns for rows, columns in (s for s in sizes if len(s) == 2) if rows == 1]
    if any(len(s) > 2 for s in sizes):  # of convolutions: channels
        assert any(number % 37 == 0 for s in sizes for number in s), "no layer has the size W"
    else:
        assert 37 in last, "the last hidden layer has not the size W"
    ordinary, shifted = judge(pictures).detach(), []
    alone = [n for n, v in start.items() if v.numel() == 1]
    for name in alone:  # a shift of all values by one number, where the last layer has one
        for number in (-90.0, 90.0):
            check.load_state(judge, start | {name: torch.full_like(start[name], number)})
            shifted.append(judge(pictures).detach() + start[name].flatten() - number)
    close = [torch.allclose(v, ordinary, atol=1e-3) for v in shifted]
    sure = any(a and b for a, b in zip(close[::2], close[1::2], strict=True))
    assert sure or not alone, "something follows the last layer: its bias does not shift the value"
    for sign in (1, -1):
        check.load_state(judge, start)
        for step in range(12):  # ever longer
            lowest = (sign * judge(pictures)).min()
            if lowest > 20:
                break
            check.descend(judge, judge, pictures, torch.full((12,), -1.0 * sign), lr=1e-4 * 3**step)
        assert lowest > 20, f"the critic can not learn to say {20 * sign}; is it bounded?"
    learned = check.parameter_gradients(
        judge, judge, pictures, torch.randn(12, generator=generator)
    )
    assert any(g.any() for g in learned.values()), "the critic does not learn"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 6 · The critic's step
#
# Two players share one loss, and each must move its own weights alone. In the critic's step the
# fakes are data like any other. `detach()` on them says so: no gradient goes back into the
# generator. Without it `backward()` would also fill the `.grad` of the generator's weights, and
# the generator's next step would add it to its own, with the wrong sign.
#
# To test the steps where all can be computed by hand, here is the smallest generator there is. It
# moves its noise by $\theta$. The diary is for either player. It notes how the player was called:
# a network with batch norm or dropout gives other values in training than in evaluation, and a
# step has no business changing that.


# %%
class Shift(nn.Module):
    """G(z) = z + θ, with θ of the shape of one z. θ is learned.

    Args:
        theta: float, the start.
    """

    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta.clone())

    def forward(self, z: Tensor) -> Tensor:
        """(N, …) → (N, …)."""
        return z + self.theta


class Diary(nn.Module):
    """A player that notes in `modes`, call by call, whether it is in training mode."""

    def __init__(self, player: nn.Module) -> None:
        super().__init__()
        self.player, self.modes = player, []

    def forward(self, x: Tensor) -> Tensor:
        self.modes.append(self.player.training)
        return self.player(x)


# %% [markdown]
# **Exercise 6** (2 points, 20 minutes). Write one step of the critic:
#
# 1. make fakes from the noise, cut off from the generator;
# 2. forget the gradients that the critic's weights still hold;
# 3. take the gradient of $\mathcal L_{\text{critic}} + \lambda \mathcal P$, with the two-sided
#    penalty, and let the optimiser step;
# 4. where a bound $c$ is given, clip the weights. This comes last: what the next player meets must
#    be in bounds.


# %% nbgrader={"grade": false, "grade_id": "critic_step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def critic_step(
    critic: nn.Module,
    generator: nn.Module,
    optimiser: torch.optim.Optimizer,
    real: Tensor,
    z: Tensor,
    weight: float,
    c: float | None,
) -> Tensor:
    """One step of the critic against a generator that stands still.

    Args:
        critic: real images → (N,). Moves by one step of `optimiser`; what its weights held as
            `.grad` before has no part in it. Both players are called in the mode (training or
            evaluation) that they are in, and stay in it.
        generator: z → images like `real`. Its weights and their `.grad` are afterwards what they
            were before, whatever they were; where there was no `.grad`, there is none.
        optimiser: of the critic's weights; it takes one step, by its own rule.
        real: float (N, …). z: the noise for N fakes. Neither is changed, nor marked for gradients.
        weight: λ, of the two-sided penalty between `real` and these fakes; 0 for none.
        c: after the step, all of the critic's weights are clipped to [−c, c]; None: they are not.

    Returns:
        float (), without a gradient: the critic's loss before the step, without the penalty.
    """
    ### BEGIN SOLUTION
    fake = generator(z).detach()
    loss = critic_loss(critic(real), critic(fake))
    total = loss + weight * gradient_penalty(critic, real, fake)
    optimiser.zero_grad()
    total.backward()
    optimiser.step()
    if c is not None:
        clip_weights(critic, c)
    return loss.detach()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "critic_step_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
real, z = torch.tensor([[1.0, 0.0], [3.0, 2.0]]), torch.zeros(2, 2)
hint = "The step is against the gradient of mean f(fake) − mean f(real) + λ(‖w‖ − 1)²."
for weight, c, wanted in (
    (0.0, None, [3.2, 4.0]), (0.5, None, [2.96, 3.68]), (0.0, 0.3, [0.3, 0.3]), (0.5, 3.5, [2.96, 3.5])
):  # fmt: skip
    critic, generator = LinearCritic(torch.tensor([3.0, 4.0])), Shift(torch.tensor([0.0, 1.0]))
    for module in (critic, generator):
        held = {name: torch.full((2,), 7.0) for name in check.parameters(module)}
        check.set_gradients(module, held)
    loss = critic_step(critic, generator, check.optimiser(critic, 0.1), real, z, weight, c)
    check.close(
        loss, -6.0, f"the loss before the step, λ = {weight:g}", hint="Without the penalty."
    )
    check.close(
        check.parameters(critic)["w"], wanted,
        f"the critic's weights after a step with λ = {weight:g} and c = {c}", hint=hint,
    )  # fmt: skip
    check.close(check.parameters(generator)["theta"], [0.0, 1.0], "the generator's weights")
    check.close(
        check.gradients(generator)["theta"], [7.0, 7.0], "the .grad of the generator, which was 7",
        hint="Cut the fakes off from the generator with detach().",
    )  # fmt: skip
print("critic_step: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "critic_step_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 6, 2 points.
### BEGIN HIDDEN TESTS
rng, points = check.generator(), {}
trials = []
for shape in ((6, 3), (1, 4), (5, 1, 3, 4), (9, 2)):
    for weight, c in (
        (0.0, None),
        (10.0, None),
        (0.7, None),
        (0.0, 0.4),
        (3.0, 0.2),
        (0.0, 0.01),
        (0.0, 5.0),
        (0.3, 1.1),
    ):
        w, theta = torch.randn(2, *shape[1:], generator=rng)
        w *= (3 if c == 1.1 else 0.5) + 2 * torch.rand((), generator=rng)
        trials.append(
            (
                w,
                theta,
                torch.randn(shape, generator=rng) + 1,
                torch.randn(shape, generator=rng),
                weight,
                c,
            )
        )
w, theta, *apart = torch.randn(4, 3, generator=rng)
trials.append((w, theta, 1e3 * apart[0][None], apart[1][None], 0.0, None))
with check.part(points, "the critic moves", 1):
    for w, theta, real_images, noise, weight, c in trials:
        judge, maker, lr = LinearCritic(w), Shift(theta), 0.05
        check.set_gradients(judge, {"w": torch.randn(w.shape, generator=rng)})  # of an earlier step
        driver, velocity = check.optimiser(judge, lr, momentum=0.6), torch.zeros_like(w)
        for step in range(2):
            slope = (noise + theta).mean(0) - real_images.mean(0)
            wanted = (w * slope).sum()
            velocity = 0.6 * velocity + slope + weight * 2 * (w.norm() - 1) * w / w.norm()
            w = w - lr * velocity
            w = w if c is None else w.clamp(-c, c)
            copies = real_images.clone(), noise.clone()
            loss = critic_step(judge, maker, driver, *copies, weight, c)
            what = f"step {step + 1}, images {tuple(real_images.shape)}, λ = {weight}, c = {c}"
            check.close(loss, wanted, f"the loss, {what}", rtol=1e-3, atol=1e-4)
            assert not loss.requires_grad, "the loss that is returned should have no gradient"
            check.close(
                check.parameters(judge)["w"], w, f"the weights, {what}", rtol=1e-3, atol=1e-4
            )
            for now, then in zip(copies, (real_images, noise), strict=True):
                assert torch.equal(now, then), "the step has changed its images or its noise"
                assert not now.requires_grad, "the step has marked its images or its noise"
    for c in (None, 0.05):  # a network, without a penalty
        judge, maker = PointCritic(3, 6), Shift(torch.randn(3, generator=rng))
        real_points, noise = torch.randn(2, 7, 3, generator=rng)
        made = (noise + check.parameters(maker)["theta"]).clone()
        up = check.parameter_gradients(judge, judge, made, torch.full((7,), 1 / 7))
        down = check.parameter_gradients(judge, judge, real_points, torch.full((7,), 1 / 7))
        before = check.parameters(judge)
        critic_step(judge, maker, check.optimiser(judge, 0.3), real_points, noise, 0.0, c)
        for name, value in check.parameters(judge).items():
            wanted = before[name] - 0.3 * (up[name] - down[name])
            wanted = wanted if c is None else wanted.clamp(-c, c)
            check.close(value, wanted, f"{name} of a network after a step", rtol=1e-3)
    for near, far in ((2, 4), (4, 2)):  # a bowl, ½‖x‖²: weight i tells the place t of point i
        n, axes = 200, torch.eye(200)
        judge, maker = QuadraticCritic(torch.ones(n)), Shift(torch.zeros(n))
        critic_step(judge, maker, check.optimiser(judge, 1.0), near * axes, far * axes, 2.0, None)
        slope = (1 - check.parameters(judge)["w"]) * n / 2  # (far² − near²)/4 + λ(t − 1)t
        t = 0.5 + (0.25 + (slope - (far**2 - near**2) / 4) / 2).sqrt()
        assert t.min() > 1.99 and t.max() < 4.01, "the penalty is not taken between real and fake"
        assert t.min() < 2.3 and t.max() > 3.7, "some places between are never looked at"
with check.part(points, "the generator stands still", 1):
    for w, theta, real_images, noise, weight, c in trials:
        for start in (2.0, 0.0):
            judge, maker = LinearCritic(w), Shift(theta)
            if start == 0:
                check.evaluate(judge)
                check.evaluate(maker)
            held = start * torch.randn(theta.shape, generator=rng)
            check.set_gradients(maker, {"theta": held})
            critic_step(judge, maker, check.optimiser(judge, 0.1), real_images, noise, weight, c)
            found = check.gradients(maker)["theta"]
            check.close(found, held, "the generator's .grad", rtol=0, atol=0)
            assert torch.equal(check.parameters(maker)["theta"], theta), "the generator has moved"
            assert judge.training == (start > 0), "the critic's mode has changed"
            assert maker.training == (start > 0), "the generator's mode has changed"
        learned = check.parameter_gradients(maker, maker, noise, torch.ones_like(noise))
        assert learned["theta"].any(), "the generator can no longer learn"
        assert not torch.equal(check.parameters(judge)["w"], w), "the critic has not moved"
    for training, other in ((True, False), (False, True)):
        judge, maker = Diary(PointCritic(3, 6)), Diary(Shift(torch.zeros(3)))
        judge.train(training)
        maker.train(other)
        images, noise = torch.randn(2, 5, 3, generator=rng)
        critic_step(judge, maker, check.optimiser(judge, 0.1), images, noise, 1.0, 0.5)
        assert all(mode == training for mode in judge.modes), "the critic is called in another mode"
        assert all(mode == other for mode in maker.modes), "the generator is called in another mode"
        found = check.gradients(maker).values()
        assert all(g is None for g in found), "the generator had no .grad and has one"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 7 · The generator's step
#
# In the generator's step the gradient has to pass *through* the critic: from its value back into
# the image, and on into the generator. So the critic can not be cut off. But `backward()` would
# leave a gradient in each of the critic's weights on the way. There are several ways out:
# `torch.autograd.grad` asks for the gradients of the generator's weights alone and writes nowhere,
# and one puts them into `.grad` oneself; or the critic's weights are told for the time of the step
# that they need no gradient, and afterwards that they do.
#
# **Exercise 7** (2 points, 20 minutes). Write one step of the generator.


# %% nbgrader={"grade": false, "grade_id": "generator_step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generator_step(
    critic: nn.Module, generator: nn.Module, optimiser: torch.optim.Optimizer, z: Tensor
) -> Tensor:
    """One step of the generator against a critic that stands still.

    Args:
        critic: images → (N,). Its weights and their `.grad` are afterwards what they were before,
            whatever they were; where there was no `.grad`, there is none. It can learn afterwards
            as before.
        generator: z → images. Moves by one step of `optimiser`; what its weights held as `.grad`
            before has no part in it. It uses all of its weights. Both players are called in the
            mode (training or evaluation) that they are in, and stay in it.
        optimiser: of the generator's weights; it takes one step, by its own rule.
        z: the noise for N fakes; not changed, nor marked for gradients.

    Returns:
        float (), without a gradient: the generator's loss before the step.
    """
    ### BEGIN SOLUTION
    loss = generator_loss(critic(generator(z)))
    weights = list(generator.parameters())
    for parameter, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        parameter.grad = gradient
    optimiser.step()
    return loss.detach()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "generator_step_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
critic, generator = LinearCritic(torch.tensor([3.0, 4.0])), Shift(torch.tensor([0.0, 1.0]))
check.set_gradients(critic, {"w": torch.full((2,), 7.0)})
check.set_gradients(generator, {"theta": torch.full((2,), 7.0)})
loss = generator_step(critic, generator, check.optimiser(generator, 0.1), torch.zeros(2, 2))
check.close(loss, -4.0, "the generator's loss before the step", hint="Minus the mean of f(G(z)).")
check.close(
    check.parameters(generator)["theta"], [0.3, 1.4], "the generator's weights after the step",
    hint="It moves to where f is larger. What .grad held before, 7, has no part in it.",
)  # fmt: skip
check.close(check.parameters(critic)["w"], [3.0, 4.0], "the critic's weights")
check.close(
    check.gradients(critic)["w"], [7.0, 7.0], "the .grad of the critic, which was 7",
    hint="backward() adds to the .grad of every weight on the way.",
)  # fmt: skip
learned = check.parameter_gradients(critic, critic, torch.ones(1, 2), torch.ones(1))
assert learned["w"].any(), "the critic can no longer learn; is it still told not to?"
print("generator_step: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "generator_step_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 7, 2 points.
### BEGIN HIDDEN TESTS
rng, points = check.generator(), {}
trials = []
for shape in ((6, 3), (1, 4), (5, 1, 3, 4), (9, 2)):
    for kind in (LinearCritic, QuadraticCritic):
        w, theta = torch.randn(2, *shape[1:], generator=rng)
        trials.append((kind, 2 * w, theta, torch.randn(shape, generator=rng)))
steep, theta, *noise = torch.randn(7, 4, generator=rng)
trials.append((LinearCritic, 100 * steep, theta, torch.stack(noise)))
with check.part(points, "the generator moves", 1):
    for kind, w, theta, noise in trials:
        judge, maker, lr = kind(w), Shift(theta), 0.07
        check.set_gradients(
            maker, {"theta": torch.randn(theta.shape, generator=rng)}
        )  # of an earlier step
        driver, velocity = check.optimiser(maker, lr, momentum=0.6), torch.zeros_like(theta)
        for step in range(2):
            made = noise + theta
            value = made if kind is LinearCritic else made**2 / 2
            wanted = -(w * value).flatten(1).sum(1).mean()
            velocity = 0.6 * velocity + w * (1 if kind is LinearCritic else made.mean(0))
            theta = theta + lr * velocity
            copy = noise.clone()
            loss = generator_step(judge, maker, driver, copy)
            what = f"step {step + 1}, images {tuple(noise.shape)}"
            check.close(loss, wanted, f"the loss, {what}", rtol=1e-3, atol=1e-4)
            assert not loss.requires_grad, "the loss that is returned should have no gradient"
            check.close(
                check.parameters(maker)["theta"],
                theta,
                f"the weights, {what}",
                rtol=1e-3,
                atol=1e-4,
            )
            assert torch.equal(copy, noise), "the step has changed its noise"
            assert not copy.requires_grad, "the step has marked its noise"
    for n in (5, 1):  # a generator of many weights: points (N, 3) → (N, 1)
        judge, maker, noise = PointCritic(1, 6), PointCritic(3, 4), torch.randn(n, 3, generator=rng)
        maker.layers.pop(-1)  # which flattens
        made, before = maker(noise).detach(), check.parameters(maker)
        _, (at_made,) = check.vjp(judge, made, torch.full((n,), -1 / n))
        slopes = check.parameter_gradients(maker, maker, noise, at_made)
        loss = generator_step(judge, maker, check.optimiser(maker, 3.0), noise)
        check.close(loss, -judge(made).mean(), "the loss of a network")
        for name, value in check.parameters(maker).items():
            wanted = before[name] - 3.0 * slopes[name]
            check.close(value, wanted, f"{name} of a network after a step", rtol=1e-3)
with check.part(points, "the critic stands still", 1):
    judges = [(kind(w), theta, noise) for kind, w, theta, noise in trials]
    for points_ in (3, 1):
        theta, noise = torch.randn(points_, generator=rng), torch.randn(4, points_, generator=rng)
        judges.append((PointCritic(points_, 6), theta, noise))
    for judge, theta, noise in judges:
        before = check.parameters(judge)
        for size in (2.0, 0.0):
            maker = Shift(theta)
            held = {n: size * torch.randn(v.shape, generator=rng) for n, v in before.items()}
            check.set_gradients(judge, held)
            if size == 0:
                check.evaluate(judge)
                check.evaluate(maker)
            for _ in range(2):
                generator_step(judge, maker, check.optimiser(maker, 0.1), noise)
            for name, value in check.gradients(judge).items():
                check.close(value, held[name], "the critic's .grad", rtol=0, atol=0)
            for name, value in check.parameters(judge).items():
                assert torch.equal(value, before[name]), "the critic has moved"
            assert not torch.equal(check.parameters(maker)["theta"], theta), (
                "the generator has not moved"
            )
            assert judge.training == (size > 0), "the critic's mode has changed"
            assert maker.training == (size > 0), "the generator's mode has changed"
        learned = check.parameter_gradients(judge, judge, noise, torch.ones(len(noise)))
        assert all(g.any() for n, g in learned.items() if "bias" not in n), (
            "the critic can no longer learn"
        )
    for training, other in ((True, False), (False, True)):
        judge, maker = Diary(PointCritic(3, 6)), Diary(Shift(torch.zeros(3)))
        judge.train(training)
        maker.train(other)
        noise = torch.randn(5, 3, generator=rng)
        generator_step(judge, maker, check.optimiser(maker, 0.1), noise)
        assert all(mode == training for mode in judge.modes), "the critic is called in another mode"
        assert all(mode == other for mode in maker.modes), "the generator is called in another mode"
        found = check.gradients(judge).values()
        assert all(g is None for g in found), "the critic had no .grad and has one"
        learned = check.parameter_gradients(judge, judge, noise, torch.ones(5))
        assert any(g.any() for g in learned.values()), "the critic can no longer learn"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 8 · A round of the game
#
# A generator's step is only as good as the critic that it follows. In a GAN a discriminator that
# is too good leaves no gradient. A critic that is better only knows the distance better, so it may
# take several steps for each one of the generator: $n_{\text{critic}}$ of them, each on a batch of
# its own.
#
# **Exercise 8** (2 points, 15 minutes). Write one round: $n_{\text{critic}}$ steps of the critic,
# then one of the generator.


# %% nbgrader={"grade": false, "grade_id": "play_round", "locked": false, "schema_version": 3, "solution": true, "task": false}
def play_round(
    critic: nn.Module,
    generator: nn.Module,
    optimisers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    real: Tensor,
    z: Tensor,
    weight: float,
    c: float | None,
) -> tuple[Tensor, Tensor]:
    """n_critic steps of the critic, then one step of the generator.

    Args:
        critic, generator: the players. They are called in the mode (training or evaluation) that
            they are in, and stay in it.
        optimisers: the critic's and the generator's, in this order.
        real: float (n_critic, N, …): critic step k sees the real images real[k].
        z: float (n_critic + 1, N, …), noise: critic step k sees fakes made from z[k], in order;
            the generator's step uses the last, z[n_critic].
        weight: λ. c: the bound of the critic's weights, or None.

    Returns:
        Two float () without a gradient: the critic's loss, averaged over its steps, and the
        generator's loss. Each is the loss before its step.

    Gulrajani et al. (2017), algorithm 1, lines 2 to 12.
    """
    ### BEGIN SOLUTION
    losses = [
        critic_step(critic, generator, optimisers[0], images, noise, weight, c)
        for images, noise in zip(real, z[:-1], strict=True)
    ]
    return torch.stack(losses).mean(), generator_step(critic, generator, optimisers[1], z[-1])
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "play_round_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
critic, generator = LinearCritic(torch.tensor([1.0])), Shift(torch.tensor([0.0]))
optimisers = check.optimiser(critic, 0.5), check.optimiser(generator, 0.1)
real, z = torch.tensor([[[2.0]], [[4.0]]]), torch.tensor([[[1.0]], [[0.0]], [[5.0]]])
losses = play_round(critic, generator, optimisers, real, z, 0.0, None)
check.close(
    check.parameters(critic)["w"], [3.5], "the critic's weight after two steps of its own",
    hint="It starts at 1 and moves by 0.5·(2 − 1), then by 0.5·(4 − 0).",
)  # fmt: skip
check.close(
    check.parameters(generator)["theta"], [0.35], "the generator's weight after one step",
    hint="One step a round, after all of the critic's: it moves by 0.1·3.5.",
)  # fmt: skip
check.close(
    losses[0], -3.5, "the critic's loss, averaged over both steps",
    hint="It is 1·(1 − 2) at the first step and 1.5·(0 − 4) at the second.",
)  # fmt: skip
check.close(losses[1], -17.5, "the generator's loss", hint="It uses the last noise: −3.5·5.")
print("play_round: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "play_round_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 8, 2 points.
### BEGIN HIDDEN TESTS
rng = check.generator()
for n_critic, *shape in ((3, 6, 3), (1, 4, 2), (5, 1, 1, 3, 4), (2, 7, 1), (4, 3, 2)):
    for weight, c in ((0.0, None), (2.0, None), (0.0, 0.3), (1.5, 0.2)):
        w, theta = torch.randn(2, *shape[1:], generator=rng)
        judge, maker = LinearCritic(w), Shift(theta)
        rates = 0.03 + 0.05 * torch.rand(2, generator=rng)
        drivers = [
            check.optimiser(player, float(rate), momentum=0.5)
            for player, rate in zip((judge, maker), rates, strict=True)
        ]
        velocities = torch.zeros(2, *shape[1:])
        for turn in range(2):
            real_images = torch.randn(n_critic, *shape, generator=rng) + 1
            noise = torch.randn(n_critic + 1, *shape, generator=rng)
            copies, seen = (real_images.clone(), noise.clone()), []
            losses = play_round(judge, maker, drivers, *copies, weight, c)
            for k in range(n_critic):
                slope = (noise[k] + theta).mean(0) - real_images[k].mean(0)
                seen.append((w * slope).sum())
                slope += weight * 2 * (w.norm() - 1) * w / w.norm()
                velocities[0] = 0.5 * velocities[0] + slope
                w = w - rates[0] * velocities[0]
                w = w if c is None else w.clamp(-c, c)
            last = -(w * (noise[-1] + theta)).flatten(1).sum(1).mean()
            velocities[1] = 0.5 * velocities[1] + w
            theta = theta + rates[1] * velocities[1]
            what = f"round {turn + 1} with {n_critic} critic steps, λ = {weight}, c = {c}"
            check.close(
                check.parameters(judge)["w"], w, f"the critic, {what}", rtol=1e-3, atol=2e-4
            )
            check.close(
                check.parameters(maker)["theta"],
                theta,
                f"the generator, {what}",
                rtol=1e-3,
                atol=2e-4,
            )
            assert len(losses) == 2, f"expected two losses, found {len(losses)}"
            assert not any(v.requires_grad for v in losses), "a loss should have no gradient"
            check.close(
                losses[0],
                torch.stack(seen).mean(),
                f"the critic's loss, {what}",
                rtol=1e-3,
                atol=2e-4,
            )
            check.close(losses[1], last, f"the generator's loss, {what}", rtol=1e-3, atol=2e-4)
            for now, then in zip(copies, (real_images, noise), strict=True):
                assert torch.equal(now, then), "the round has changed its images or its noise"
for training, other in ((True, False), (False, True)):
    judge, maker = Diary(PointCritic(3, 6)), Diary(Shift(torch.zeros(3)))
    judge.train(training)
    maker.train(other)
    drivers = check.optimiser(judge, 0.1), check.optimiser(maker, 0.1)
    images, noise = torch.randn(2, 5, 3, generator=rng), torch.randn(3, 5, 3, generator=rng)
    play_round(judge, maker, drivers, images, noise, 1.0, 0.5)
    assert all(mode == training for mode in judge.modes), "the critic is called in another mode"
    assert all(mode == other for mode in maker.modes), "the generator is called in another mode"
    assert judge.training == training and maker.training == other, "a player's mode has changed"
### END HIDDEN TESTS

# %% [markdown]
# ## Three games for pictures
#
# Now the clothes. Three pairs of players start from the same weights: the game of lab 31 with its
# non-saturating loss, the critic with clipping, and the critic with the gradient penalty. The
# networks are the same in all three. Only the rules differ. Layer norm stays in the discriminator
# of the GAN, too, so that nothing else changes.


# %%
class Generator(nn.Module):
    """Noise (N, NOISE) → images (N, 1, 28, 28) between −1 and 1. It may keep its batch norm."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(NOISE, width), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Linear(width, 2 * width), nn.BatchNorm1d(2 * width), nn.ReLU(),
            nn.Linear(2 * width, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


@torch.no_grad()
def sample(generator: nn.Module, n: int) -> Tensor:
    """n images as uint8 (n, 1, 28, 28), 500 at a time."""
    chunks = torch.randn(n, NOISE, device=profile.device()).split(500)
    return scores.to_pixels(torch.cat([generator(z) for z in chunks]), -1, 1)


# %% [markdown]
# A round of each game has the same arguments, so that one loop can play all three. The
# discriminator of the GAN gets as many steps a round as the critics.


# %%
Optimisers = tuple[torch.optim.Optimizer, torch.optim.Optimizer]


def gan_round(
    critic: nn.Module, generator: nn.Module, optimisers: Optimisers, real: Tensor, z: Tensor
) -> tuple[Tensor, Tensor]:
    """A round of the non-saturating game of Goodfellow et al. (2014); `critic` gives logits."""
    losses = []
    for images, noise in zip(real, z[:-1], strict=True):
        fake = generator(noise).detach()
        loss = F.softplus(-critic(images)).mean() + F.softplus(critic(fake)).mean()
        optimisers[0].zero_grad()
        loss.backward()
        optimisers[0].step()
        losses.append(loss.detach())
    fooled = F.softplus(-critic(generator(z[-1]))).mean()
    optimisers[1].zero_grad()
    fooled.backward()  # leaves gradients in the critic, which its next step forgets
    optimisers[1].step()
    return torch.stack(losses).mean(), fooled.detach()


# %%
class Rules(NamedTuple):
    """How a game is played."""

    play: Callable[..., tuple[Tensor, Tensor]]
    optimiser: Callable[..., torch.optim.Optimizer]
    lr: float
    rounds: int


adam = partial(torch.optim.Adam, betas=(0.5, 0.9))
clipped = partial(play_round, weight=0.0, c=CLIP)
penalised = partial(play_round, weight=PENALTY, c=None)
GAMES = {
    "GAN": Rules(gan_round, adam, 2e-3, SHORT_ROUNDS),
    "WGAN, clipped": Rules(clipped, torch.optim.RMSprop, 1e-3, SHORT_ROUNDS),
    "WGAN-GP": Rules(penalised, adam, 2e-3, ROUNDS),
}

# %% [markdown]
# How good the samples are is measured all along, at the end of each of several stages, by the
# Fréchet distance on the features of the course's classifier. Lab 32 derives it. With $m$ and $S$
# the mean and covariance of the features of each side,
#
# $$\|m_1 - m_2\|^2 + \mathrm{tr}\,S_1 + \mathrm{tr}\,S_2 - 2\,\mathrm{tr}\,(S_1 S_2)^{1/2} .$$


# %%
fashion = data.load(FASHION, "train", TRAIN_IMAGES)
fashion_test = data.load(FASHION, "test", TEST_IMAGES)
x_train = data.to_float(fashion.pixels, -1, 1)


@torch.no_grad()
def features(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (128,) and covariance (128, 128) of the classifier's features, in float64."""
    read = scores.classifier("fashion").features
    found = torch.cat([read(chunk) for chunk in pixels.split(500)]).double().cpu()
    return found.mean(0), found.T.cov()


def frechet(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    """The Fréchet distance of two Gaussians, each a mean and a covariance."""
    (m, S), (n, T) = one, other
    roots = torch.linalg.eigvals(S @ T).real.clamp(min=0).sqrt().sum()
    return float((m - n).square().sum() + S.trace() + T.trace() - 2 * roots)


# %% [markdown]
# The loop. The generator that draws is the moving average of the one that plays, which is steadier.


# %%
class Outcome(NamedTuple):
    """What a game left behind."""

    critic: nn.Module
    generator: nn.Module  # the average of its weights
    curves: dict[str, list[float]]  # one value a round
    distances: list[float]  # the Fréchet distance at the end of each stage
    seconds: float  # of playing, without scoring


# %%
def play(rules: Rules) -> Outcome:
    """Play a game in STAGES parts, and score the samples after each."""
    torch.manual_seed(SEED)
    device = profile.device()
    critic, generator = Critic(WIDTH).to(device), Generator(WIDTH).to(device)
    average = train.ema(generator, decay=0.99).eval()
    players = critic, generator
    optimisers = tuple(rules.optimiser(p.parameters(), lr=rules.lr) for p in players)
    order = data.batches(len(x_train), BATCH, seed=SEED)
    state = {"critic": critic, "generator": generator, "average": average}

    def step(k: int) -> dict[str, Tensor]:
        real = torch.stack([x_train[next(order)] for _ in range(N_CRITIC)])
        z = torch.randn(N_CRITIC + 1, BATCH, NOISE, device=device)
        losses = rules.play(critic, generator, optimisers, real, z)
        average.update_parameters(generator)
        return dict(zip(("critic", "generator"), losses, strict=True))

    curves, distances, seconds = {"critic": [], "generator": []}, [], 0.0
    goal = features(fashion_test.pixels[:STAGE_SAMPLES])
    for stage in range(STAGES):
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = rules.lr * (1 - stage / STAGES)
        history = train.run(step, rules.rounds // STAGES, state=state, seed=SEED + stage)
        for name, curve in curves.items():
            curve += history.curves[name]
        distances.append(frechet(features(sample(average, STAGE_SAMPLES)), goal))
        seconds += history.seconds
    return Outcome(critic, average, curves, distances, seconds)


# %% tags=["skip-execution"]
outcomes = {name: play(rules) for name, rules in GAMES.items()}
for name, outcome in outcomes.items():
    print(f"{name:14s} Fréchet distance {outcome.distances[-1]:6.1f}")

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
plot.grid(
    sample(outcomes["WGAN-GP"].generator, 64),
    "Sixty-four samples of the WGAN-GP: shirts, dresses, trousers, shoes and bags, a little grainy.",
)
plot.images(
    {name: sample(outcome.generator, 12) for name, outcome in outcomes.items()},
    "Twelve samples of each of the three games: those of WGAN-GP are the clearest clothes.",
)

# %% [markdown]
# ## What clipping does to the weights
#
# All weights of each critic's hidden layers, as histograms.

# %% tags=["skip-execution"]
made, axs = plot.figure(1, 2, (3.2, 2.4))
at_bound = {}
for ax, name in zip(axs[0], ("WGAN, clipped", "WGAN-GP"), strict=True):
    matrices = [p for p in outcomes[name].critic.parameters() if p.dim() > 1]
    weights = torch.cat([p.detach().flatten() for p in matrices]).cpu()
    at_bound[name] = float((weights.abs() > 0.999 * CLIP).float().mean())
    reach = CLIP * 1.1 if name == "WGAN, clipped" else 0.15
    ax.hist(weights.numpy(), 80, range=(-reach, reach), color=plot.COLOURS[0])
    ax.set(title=name, xlabel="weight", yticks=[])
plot.show(
    made,
    "Histograms of the critics' weights. Clipped: high walls at the two bounds and little between. "
    "With a gradient penalty: one smooth hump round zero.",
)
print(f"clipped: {at_bound['WGAN, clipped']:.0%} of the weights lie on a bound, ±{CLIP}")

# %% [markdown]
# The weights of the clipped critic pile up at the bounds. The reason is simple. The critic wants to
# be as steep as it may, since a steeper critic has a larger difference of means. Nothing holds it
# back but the bounds, so it pushes its weights against them. A weight that sits on a bound says no
# more than plus or minus, and a network of such weights can only learn simple functions. Choosing
# $c$ does not help: when $c$ is small, the gradient shrinks from layer to layer; when it is large,
# it grows, and the critic takes long to reach its bounds (Gulrajani et al., 2017).
#
# The penalty looks at the slope itself and leaves the weights free.
#
# ## A loss worth watching
#
# When should one stop? Someone who trains a GAN looks at samples, because its losses do not say.
# Here are the losses of the three games above the Fréchet distance at the end of each stage.

# %% tags=["skip-execution"]
METERS = {
    ("GAN", "critic"): "D's loss",
    ("GAN", "generator"): "G's loss",
    ("WGAN, clipped", "critic"): "critic's estimate",
    ("WGAN-GP", "critic"): "critic's estimate",
}


def meter(game: str, player: str) -> Tensor:
    """The loss of a player, averaged over each stage (STAGES,); a critic's with its sign turned."""
    curve = torch.tensor(outcomes[game].curves[player]).view(STAGES, -1).mean(1)
    return curve if game == "GAN" else -curve


made, axs = plot.figure(2, len(METERS), (2.4, 1.9))
correlations = {}
for i, ((game, player), label) in enumerate(METERS.items()):
    stages, distances = range(1, STAGES + 1), outcomes[game].distances
    correlations[game, player] = float(spearmanr(meter(game, player), distances).statistic)
    axs[0, i].plot(stages, meter(game, player), "o-", markersize=3, color=plot.COLOURS[i])
    axs[0, i].set_title(f"{game}\n{label}", fontsize=8)
    axs[1, i].plot(stages, distances, "o-", markersize=3, color="#555555")
    axs[1, i].set(xlabel="stage", ylim=(0, None))
axs[1, 0].set_ylabel("Fréchet distance")
plot.show(
    made,
    "Losses over the stages of training, above the Fréchet distance of the samples, which falls in "
    "all three games. D's loss in the GAN starts low and rises, G's falls at first and then wavers; "
    "the clipped critic's estimate goes its own way; that of WGAN-GP falls with the distance.",
)
for (game, player), label in METERS.items():
    found = correlations[game, player]
    print(f"{game:14s} {label:18s} rank correlation with the Fréchet distance {found:+.2f}")

# %% [markdown]
# Read each column from top to bottom. For WGAN-GP both curves go down together: where the estimate
# is small the samples are good, and where it no longer falls there is little left to gain.
#
# The losses of the GAN are scores of a game between two players who both improve. $D$'s loss is
# smallest when the samples are worst, since they are easy to tell from real ones: whoever stopped
# where it is small would stop at the start. Near $\log 4$ it says that $D$ can not tell fakes from
# real images, because the fakes are good or because $D$ is bad. $G$'s loss is large while $D$ is far
# ahead, and falls with that lead. That is most of its fall, and the rank correlation counts it;
# afterwards it wavers while the samples go on improving.
#
# The clipped critic's estimate is no such guide, either. It is $K$ times a distance, and $K$ changes
# while the critic pushes its weights against the bounds.
#
# The estimate of WGAN-GP has limits of its own. It is a distance up to the error of a critic that
# makes a few steps a round. A critic that learns to see better while the generator stands still
# reports a larger distance, so let the generator learn slowly enough, and the curve may rise while
# the samples improve. Values of other critics or another $\lambda$ can not be compared. And a rank
# correlation over a handful of stages is a small sample.
#
# **Exercise 9** (2 points, 15 minutes; graded by hand). In your own words: (a) A friend trains a
# critic with neither clipping nor a penalty. What does its loss do, and why does the discriminator
# of a GAN not have this trouble? (b) Another friend trains with a gradient penalty and a critic
# full of batch norm. What does the penalty measure then, and what should be used in its place?

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) It falls without end. Whatever separates real from fake a little can be multiplied by two,
# and the difference of the means doubles: without a limit on the slope there is no best critic,
# the estimate means nothing, and the generator's gradients grow with it. A discriminator's answer
# passes through a sigmoid: it lies between 0 and 1 and its loss can not fall below 0. The price
# is that it saturates: when all answers are right, its slope is gone.
#
# (b) With batch norm the value of one image depends on all images of the batch. The gradient of
# the sum of all values in one image then holds its influence on the values of the others, so its
# length is not the slope of a function of one image, and that is what the duality limits. Layer
# norm normalises within each image and keeps the images apart.
# ### END SOLUTION

# %% [markdown]
# ## Record
#
# The last cell writes the numbers of this run to a file, with profile, seed, hardware and
# versions. The tables of the book are made from such files.

# %% tags=["skip-execution"]
generator = outcomes["WGAN-GP"].generator
torch.manual_seed(SEED)
quality = {
    name: scores.score(sample(outcome.generator, SAMPLES), fashion_test.pixels, features="fashion")
    for name, outcome in outcomes.items()
}
for name, found in quality.items():
    print(f"{name:14s} Fréchet {found['fid_course']:7.2f}   IS {found['is_course']:.2f}")
numbers = {
    **quality["WGAN-GP"],
    "clipped_fid_course": quality["WGAN, clipped"]["fid_course"],
    "clipped_is_course": quality["WGAN, clipped"]["is_course"],
    "gan_fid_course": quality["GAN"]["fid_course"],
    "gan_is_course": quality["GAN"]["is_course"],
    "wgan_gp_rank_correlation": correlations["WGAN-GP", "critic"],
    "clipped_rank_correlation": correlations["WGAN, clipped", "critic"],
    "gan_discriminator_rank_correlation": correlations["GAN", "critic"],
    "gan_generator_rank_correlation": correlations["GAN", "generator"],
    "stages": STAGES,
    "clipped_share_at_bound": at_bound["WGAN, clipped"],
    "line_w1": true_w1,
    "line_one_sided_100": estimates["one-sided, λ = 100"],
    "line_one_sided_10": estimates["one-sided, λ = 10"],
    "line_two_sided_10": estimates["two-sided, λ = 10"],
    "line_clipped_at_01": estimates["clipped at 0.1"],
    "line_clipped_at_02": estimates["clipped at 0.2"],
    "parameters": records.parameter_count(outcomes["WGAN-GP"].critic, Generator(WIDTH)),
    "wgan_gp_train_seconds": outcomes["WGAN-GP"].seconds,
    "train_seconds": sum(outcome.seconds for outcome in outcomes.values())
    + sum(seconds for _, seconds in line_fits.values()),
    "milliseconds_per_sample_1": records.milliseconds_per_sample(lambda n: sample(generator, n), 1),
    "milliseconds_per_sample_256": records.milliseconds_per_sample(
        lambda n: sample(generator, n), 256
    ),
}
records.write("35_wgan", numbers, seed=SEED)
print("recorded: " + ", ".join(numbers))
