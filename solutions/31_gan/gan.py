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
# # Lab 31 · Generative adversarial network
#
# In this lab you build a generative adversarial network (GAN). First its theory is put to the
# test where everything is known: on densities in one dimension. Then two networks play the game,
# first for points on a line, then for pictures of clothes.
# The page [Two players](../../book/31_gan.md) derives everything that you write here.
#
# You write nine answers, worth 20 points together. After each stands a check that you can run at
# once. It looks at your answer from several sides and says what it finds. The points are given
# later, by tests that you do not see and that try more cases.

# %%
import copy
import math

import torch
from scipy import integrate, stats
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, Normal
from torch.nn import functional as F

from gmlib import check, data, plot, profile, records, scores, train

# %% [markdown]
# ## Sizes
#
# All sizes of the lab stand here, one for each profile. Nothing below knows which profile runs.

# %%
SEED = 0
NOISE = 64  # dimensions of the noise that a picture is made from
FASHION = profile.choose(test="fashion_small", quick="fashion_small", full="fashion")
TRAIN_IMAGES = profile.choose(test=512, quick=None, full=None)  # None: all there are
TEST_IMAGES = profile.choose(test=256, quick=2_000, full=10_000)
POINTS = profile.choose(test=512, quick=20_000, full=20_000)  # of the game on a line
FIXED_STEPS = profile.choose(test=3, quick=1_000, full=5_000)  # D alone, against a fixed G
FIRST_STEPS = profile.choose(test=3, quick=100, full=100)  # D alone, on pictures
LINE_ROUNDS = profile.choose(test=40, quick=600, full=4_000)
HEAD_START = profile.choose(test=3, quick=300, full=300)  # of D, against a G that is far off
FAR_ROUNDS = profile.choose(test=4, quick=300, full=300)
BATCH = profile.choose(test=32, quick=64, full=128)
ROUNDS = profile.choose(test=4, quick=1_800, full=20_000)
RATE = profile.choose(test=7e-4, quick=7e-4, full=3e-4)  # of learning, for both players
AVERAGE = profile.choose(test=0.5, quick=0.98, full=0.999)  # the average forgets so slowly
STAGES = profile.choose(test=2, quick=6, full=10)  # how often the samples are scored
SAMPLES = profile.choose(test=256, quick=2_000, full=10_000)  # drawn for each score

# %% [markdown]
# ## A question with two answers
#
# No likelihood is computed in this lab. A *generator* $G$ turns noise $z$ into a sample $G(z)$:
# that defines a density $q$ of samples, which nobody can write down. How does $G$ learn that $q$
# should be like the density $p$ of the data?
#
# It gets an opponent. A *discriminator* $D$ is shown one $x$ after another and answers a single
# question: is this one real, drawn from $p$, or fake, drawn from $q$? That is binary
# classification, the most ordinary task there is. The label of a real $x$ is 1, of a fake one 0.
#
# For now $p$ and $q$ are known, and points on a line. $q$ does not learn yet.

# %%
p = MixtureSameFamily(
    Categorical(torch.tensor([0.6, 0.4])),
    Normal(torch.tensor([-1.5, 2.0]), torch.tensor([0.5, 0.8])),
)
q = Normal(0.5, 1.0)
line = torch.linspace(-6, 6, 1_001, dtype=torch.float64)
torch.manual_seed(SEED)
line_real, line_fake = (d.sample((POINTS, 1)).to(profile.device()) for d in (p, q))

made, axs = plot.figure(size=(5.2, 2.4))
for name, density, drawn, colour in (
    ("real, p", p, line_real, plot.COLOURS[0]),
    ("fake, q", q, line_fake, plot.COLOURS[1]),
):
    axs[0, 0].hist(
        drawn[:, 0].cpu().numpy(), 60, range=(-6, 6), density=True, color=colour, alpha=0.35
    )
    axs[0, 0].plot(line, density.log_prob(line).exp(), color=colour, label=name)
axs[0, 0].set(xlabel="x", ylabel="density")
axs[0, 0].legend(frameon=False)
plot.show(
    made,
    "Two densities on a line with histograms of points drawn from them: p, the real one, has two "
    "humps; q, the fake one, is one wide hump between them.",
)

# %% [markdown]
# ## 1 · The discriminator's loss
#
# $D$ ends in one number for each $x$, the *logit* $\ell(x)$. Its probability that $x$ is real is
# $D(x) = \sigma(\ell(x)) = 1/(1 + e^{-\ell(x)})$. The probability of the right answer is $D(x)$
# for a real $x$ and $1 - D(x)$ for a fake one. $D$ minimises minus its mean logarithm, the
# *binary cross-entropy*.
#
# **Exercise 1** (2 points, 10 minutes). Write it for a batch of $N$ real and a batch of $M$ fake
# ones. Each batch has its own mean, and the two means are added:
#
# $$\mathcal L_D = -\frac1N\sum_{n=1}^N \log D(x_n) - \frac1M\sum_{m=1}^M \log\big(1 - D(G(z_m))\big).$$
#
# The arguments are logits. Do not turn them into probabilities on the way: in 32 bits
# $\sigma(20)$ is exactly 1, and $\log(1 - 1)$ is $-\infty$. PyTorch has functions that take a
# logit and never form the probability.


# %% nbgrader={"grade": false, "grade_id": "discriminator_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Binary cross-entropy of D, the mean over the real batch plus the mean over the fake one.

    Args:
        real_logits, fake_logits: float, any shape, such as (N,) and (M, 1); the two may differ in
            shape and in size. Of any value: ±10,000 gives neither infinity nor a gradient of NaN.

    Returns:
        float (), in nats, differentiable in both arguments. Smaller is better for D.

    Goodfellow et al. (2014), equation 1 with the sign turned.
    """
    ### BEGIN SOLUTION
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "discriminator_loss_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
zeros = torch.zeros(4, 1)
check.close(
    discriminator_loss(zeros, zeros), 2 * math.log(2), "the loss of a D that says 1/2 to all",
    hint="Each batch adds −log 1/2. The two means are added, not averaged, and logits go in.",
)  # fmt: skip
check.close(
    discriminator_loss(zeros + 3, zeros - 3), 2 * math.log(1 + math.exp(-3)),
    "the loss of a D that is right (logit 3 for real, −3 for fake)",
    hint="Real is label 1. Was the sigmoid applied twice?",
)  # fmt: skip
check.close(
    discriminator_loss(zeros - 100, zeros + 50), 150.0, "the loss of a D that is sure and wrong",
    hint="σ(50) is rounded to 1, and log(1 − 1) is −∞: use a function that takes logits.",
)  # fmt: skip
check.close(
    discriminator_loss(torch.tensor([1.0, -1.0, 0.0]), torch.tensor([[2.0]])), 2.900155,
    "the loss of three real logits and one fake one",
    hint="Each batch has a mean of its own, whatever its size.",
)  # fmt: skip
_, (d_real, d_fake) = check.vjp(discriminator_loss, (zeros, zeros), torch.tensor(1.0))
check.close(d_real, zeros - 0.125, "the gradient in the real logits", hint="It is −(1 − D)/N.")
check.close(d_fake, zeros + 0.125, "the gradient in the fake logits", hint="It is D/M.")
print("discriminator_loss: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "discriminator_loss_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 1, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def cross_entropy(logits: Tensor, label: float) -> Tensor:
    """The mean, in 64 bits."""
    logits = logits.double()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


shapes = (
    ((8, 1), (8, 1)),
    ((5,), (9,)),
    ((1,), (1,)),
    ((1, 1), (7, 1)),
    ((2, 1, 3, 4), (3, 1, 3, 4)),
)
with check.part(points, "the value", 1):
    for real_shape, fake_shape in shapes:
        for size in (0.3, 3.0, 100.0, 1e4):
            logits = [torch.randn(s, generator=generator) * size for s in (real_shape, fake_shape)]
            copies = [t.clone() for t in logits]
            expected = cross_entropy(logits[0], 1.0) + cross_entropy(logits[1], 0.0)
            found = discriminator_loss(*copies)
            check.close(found, expected, f"the loss of logits {real_shape} and {fake_shape}")
            for copy_, before in zip(copies, logits, strict=True):
                assert torch.equal(copy_, before), "the function has changed its arguments"
    for size in (6.0, 15.0, 25.0, 100.0, 1e4):  # one of the terms alone, where it is small or large
        for real_sign, fake_sign in ((1, -1), (1, 1), (-1, -1)):
            real_logits = torch.full((3, 1), real_sign * size)
            fake_logits = torch.full((2, 1), fake_sign * size)
            expected = cross_entropy(real_logits, 1.0) + cross_entropy(fake_logits, 0.0)
            found = discriminator_loss(real_logits, fake_logits)
            check.close(found, expected, "the loss of sure logits", atol=1e-6)
with check.part(points, "the gradient", 1):
    for real_shape, fake_shape in shapes:
        for size in (0.0, 1.0, 60.0, 1e4):
            logits = [torch.randn(s, generator=generator) * size for s in (real_shape, fake_shape)]
            cotangent = torch.randn((), generator=generator)
            _, (d_real, d_fake) = check.vjp(discriminator_loss, logits, cotangent)
            wanted = -cotangent * torch.sigmoid(-logits[0]) / logits[0].numel()
            check.close(d_real, wanted, "the gradient in the real logits")
            wanted = cotangent * torch.sigmoid(logits[1]) / logits[1].numel()
            check.close(d_fake, wanted, "the gradient in the fake logits")
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 2 · The best discriminator
#
# A network trained on this loss should learn the right answers. Which are they? Where both
# densities are positive, both answers can be true, and the best $D$ gives odds. The page shows
# that for given $p$ and $q$, and with any function allowed, the best is
#
# $$D^*(x) = \frac{p(x)}{p(x) + q(x)}.$$
#
# **Exercise 2** (2 points, 10 minutes). Write $D^*$. The densities come as logarithms, for a good
# reason. In many dimensions a density is as small as $e^{-1000}$, which a float rounds to 0, and
# $0/(0+0)$ is not a number. Rearrange the fraction until only a difference of logarithms is left.


# %% nbgrader={"grade": false, "grade_id": "optimal_discriminator", "locked": false, "schema_version": 3, "solution": true, "task": false}
def optimal_discriminator(log_p: Tensor, log_q: Tensor) -> Tensor:
    """D*(x) = p(x) / (p(x) + q(x)), the probability that x is real.

    Args:
        log_p, log_q: float32 or float64, equal shapes, any shape; the logarithms of the two
            densities at the same places. Of any size: −1000 is no exception. One of them may be
            −∞, where its density is zero; never both at one place.

    Returns:
        float of the same shape and dtype, in [0, 1].

    Goodfellow et al. (2014), proposition 1.
    """
    ### BEGIN SOLUTION
    return torch.sigmoid(log_p - log_q)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "optimal_discriminator_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
log_p, log_q = torch.tensor([0.3, 0.2, 0.6]).log(), torch.tensor([0.3, 0.6, 0.2]).log()
check.close(
    optimal_discriminator(log_p, log_q), [0.5, 0.25, 0.75],
    "D* for p = 0.3, 0.2, 0.6 and q = 0.3, 0.6, 0.2",
    hint="It is the share of p in p + q, and the arguments are logarithms.",
)  # fmt: skip
check.close(
    optimal_discriminator(log_p - 1000, log_q - 1000), [0.5, 0.25, 0.75],
    "D* where both densities are e^1000 times smaller",
    hint="Divide above and below by p. What is left depends on log p − log q alone.",
)  # fmt: skip
nothing = torch.tensor([-math.inf])
check.close(optimal_discriminator(nothing, log_q[:1]), [0.0], "D* where there is nothing real")
check.close(optimal_discriminator(log_p[:1], nothing), [1.0], "D* where nothing is fake")
print("optimal_discriminator: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "optimal_discriminator_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 2, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def share(log_p: Tensor, log_q: Tensor) -> Tensor:
    """p / (p + q) in 64 bits, both raised so that the larger is 1."""
    log_p, log_q = log_p.double(), log_q.double()
    top = torch.maximum(log_p, log_q)
    return (log_p - top).exp() / ((log_p - top).exp() + (log_q - top).exp())


with check.part(points, "ordinary densities", 1):
    for shape in ((9,), (1,), (4, 3), (2, 3, 4), ()):
        for dtype in (torch.float32, torch.float64):
            some, other = torch.randn(2, *shape, generator=generator, dtype=dtype) * 2
            copies = some.clone(), other.clone()
            found = optimal_discriminator(*copies)
            near = {"rtol": 0, "atol": 1e-6 if dtype == torch.float32 else 1e-12}
            check.close(found, share(some, other), f"D* of densities {shape}", **near)
            assert found.dtype == dtype, f"D* should be {dtype} like its arguments"
            for copy_, before in zip(copies, (some, other), strict=True):
                assert torch.equal(copy_, before), "the function has changed its arguments"
with check.part(points, "densities of any size", 1):
    for dtype, error in ((torch.float32, 1e-4), (torch.float64, 1e-12)):
        levels = (-2_000.0, -90.0, 90.0, 2_000.0)  # 2000 as float32 has an error of 1e-4
        for level in levels if dtype == torch.float32 else (-1e6, *levels, 1e6):
            some, other = torch.randn(2, 7, generator=generator, dtype=dtype) * 3 + level
            found = optimal_discriminator(some, other)
            near = 10 * error * max(1, abs(level) / 2_000)
            what = f"D* about log p = {level:g}"
            check.close(found, share(some, other), what, rtol=0, atol=near)
        other = torch.randn(5, generator=generator, dtype=dtype)
        gap = torch.tensor([-3_000.0, -30.0, 12.0, 30.0, 3_000.0], dtype=dtype)
        found = optimal_discriminator(other + gap, other)
        wanted = gap.double().sigmoid()
        check.close(found, wanted, "D* of unlike densities", rtol=0, atol=error / 100)
        empty = torch.full((5,), -math.inf, dtype=dtype)
        for there in (other, other - 5_000):
            check.close(optimal_discriminator(empty, there), torch.zeros(5), "D* where p = 0")
            check.close(optimal_discriminator(there, empty), torch.ones(5), "D* where q = 0")
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# Does a network find it? $G$ stands still: $q$ is the hump from above. $D$ is a small network that
# has never heard of a density. It sees points and labels.


# %%
class Discriminator(nn.Module):
    """Points (N, points) → logits (N, 1)."""

    def __init__(self, points: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(points, width), nn.LeakyReLU(0.2),
            nn.Linear(width, width), nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def classification(discriminator: nn.Module, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """The loss of D on a batch of real and a batch of fake points."""
    return {"loss": discriminator_loss(discriminator(real), discriminator(fake))}


@torch.no_grad()
def probability(discriminator: nn.Module, x: Tensor) -> Tensor:
    """D(x) for places on the line, (M,) → (M,)."""
    places = x.float()[:, None].to(profile.device())
    return torch.sigmoid(discriminator(places))[:, 0].cpu()


# %% tags=["skip-execution"]
torch.manual_seed(SEED)
fixed = Discriminator(points=1, width=32)
fixed_history = train.fit(
    fixed,
    classification,
    (line_real, line_fake),
    steps=FIXED_STEPS,
    batch_size=128,
    lr=5e-3,
    seed=SEED,
)
made, axs = plot.figure(size=(5.2, 2.6))
best = optimal_discriminator(p.log_prob(line), q.log_prob(line))
axs[0, 0].plot(line, best, color="#777777", linewidth=3, label="D*, from the densities")
axs[0, 0].plot(line, probability(fixed, line), color=plot.COLOURS[5], label="D, trained on points")
axs[0, 0].set(xlabel="x", ylabel="probability that x is real", ylim=(0, 1))
axs[0, 0].legend(frameon=False)
plot.show(
    made,
    "The best discriminator over the line, and on top of it the network's answers: they agree "
    "where points are, and part at the ends of the line, where there are hardly any.",
)

# %% [markdown]
# The network agrees with the formula where there are points to learn from. Far out there are
# hardly any, and there it says what it likes. Remember that: **$D$ knows the ratio of two
# densities, and only where there is data.**
#
# ## 3 · What the game is worth
#
# $G$ wants the opposite of what $D$ wants. In the game as first proposed, both act on one number,
# the *value* of the game. $D$ makes it large and $G$ makes it small:
#
# $$\min_G \max_D V(G, D), \qquad V(G, D) = \mathbb E_{x\sim p}\big[\log D(x)\big]
#   + \mathbb E_{x\sim q}\big[\log(1 - D(x))\big].$$
#
# Put in $D^*$. Then, as the page shows, what $G$ minimises is a distance between $p$ and $q$:
#
# $$V(G, D^*) = 2\,\mathrm{JS}(p, q) - \log 4.$$
#
# **Exercise 3** (2 points, 15 minutes). On a line both averages are integrals, so $V$ can be
# computed with no samples at all:
#
# $$V = \int \Big(p(x)\,\log D(x) + q(x)\,\log\big(1 - D(x)\big)\Big)\,dx .$$
#
# Write it by the trapezoidal rule, in which $f$ is a straight line between neighbouring places:
# $\int f\,dx \approx \sum_i \tfrac12\,(f_i + f_{i+1})\,(x_{i+1} - x_i)$. $D$ comes as logits, for
# the reason that you know. Where a density is zero its term is zero, even if the logarithm beside
# it is infinite: nothing ever happens there.


# %% nbgrader={"grade": false, "grade_id": "game_value", "locked": false, "schema_version": 3, "solution": true, "task": false}
def game_value(x: Tensor, log_p: Tensor, log_q: Tensor, logits: Tensor) -> Tensor:
    """V(G, D) = E_p[log D] + E_q[log(1 − D)] on a line, by the trapezoidal rule.

    Args:
        x: float64 (M,), M ≥ 2 places in rising order, not always evenly spaced; two equal ones in
            a row mark a jump.
        log_p, log_q: float64 (M,), the logarithms of the densities of real and fake points
            there; −∞ where a density is zero.
        logits: float64 (M,), of D: D(x) = σ(logit). Of any size, ±∞ too; at a jump ±∞ only where
            D is right.

    Returns:
        float64 (), in nats, not positive; −∞ where D is sure of what is false.
    """
    ### BEGIN SOLUTION
    real = torch.where(log_p > -math.inf, log_p.exp() * F.logsigmoid(logits), 0.0)
    fake = torch.where(log_q > -math.inf, log_q.exp() * F.logsigmoid(-logits), 0.0)
    return torch.trapezoid(real + fake, x)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "game_value_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
even, uneven = torch.linspace(0, 1, 11).double(), torch.tensor([0.0, 0.1, 0.2, 0.6, 1.0]).double()
for name, x in (("eleven even places", even), ("five uneven places", uneven)):
    flat = torch.zeros_like(x)  # both densities are 1 between 0 and 1
    check.close(
        game_value(x, flat, flat, flat), -math.log(4), f"V for p = q and D = 1/2, {name}",
        hint="It is log 1/2 + log 1/2: an integral with dx, not a sum or a mean over places.",
    )  # fmt: skip
    check.close(
        game_value(x, flat, flat, flat + 2), -4 - 2 * math.log1p(math.exp(-2)) + 2,
        f"V for p = q and logits of 2, {name}", hint="It is log σ(2) + log(1 − σ(2)).",
    )  # fmt: skip
left = torch.tensor([0.0, 0.0, -math.inf, -math.inf]).double()
right, sure = left.flip(0), torch.tensor([math.inf, math.inf, -math.inf, -math.inf]).double()
check.close(
    game_value(torch.tensor([0.0, 1.0, 1.0, 2.0]).double(), left, right, sure), 0.0,
    "V for densities that do not overlap and a D that knows it",
    hint="Zero times infinity is NaN to a computer. Where a density is zero, its term is zero.",
)  # fmt: skip
print("game_value: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "game_value_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 3, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def uniform(*sizes: int) -> Tensor:
    return torch.rand(sizes, generator=generator, dtype=torch.float64)


def trapezoids(x: Tensor, log_p: Tensor, log_q: Tensor, logits: Tensor) -> Tensor:
    """V with log(1 + eˡ) written as logaddexp, and terms of no density left out."""
    f, zero = torch.zeros_like(x), torch.zeros_like(x)
    for density, cost in ((log_p.exp(), -logits), (log_q.exp(), logits)):
        f -= torch.where(density > 0, density * torch.logaddexp(zero, cost), zero)
    return ((f[1:] + f[:-1]) * x.diff()).sum() / 2


def overlap(t: float, p: torch.distributions.Normal, q: torch.distributions.Normal) -> float:
    """p log(p/m) + q log(q/m) at t, with m the mean of both."""
    a, b = (density.log_prob(torch.tensor(t).double()) for density in (p, q))
    middle = torch.logaddexp(a, b) - math.log(2)
    return float(a.exp() * (a - middle) + b.exp() * (b - middle))


with check.part(points, "any densities, any discriminator", 1):
    for places, size in ((2, 1.0), (30, 1.0), (30, 8.0), (7, 60.0), (9, 5e3)):
        x = uniform(places).cumsum(0) - 3
        inputs = (
            x,
            uniform(places) * 3 - 2,
            uniform(places) * 3 - 2,
            (uniform(places) - 0.5) * 2 * size,
        )
        copies = [t.clone() for t in inputs]
        found = game_value(*copies)
        check.close(
            found, trapezoids(*inputs), f"V on {places} uneven places", rtol=1e-10, atol=1e-12
        )
        assert found.dtype == torch.float64, f"V should be float64; found {found.dtype}"
        for copy_, before in zip(copies, inputs, strict=True):
            assert torch.equal(copy_, before), "the function has changed its arguments"
    swapped = inputs[0], inputs[2], inputs[1], -inputs[3]
    check.close(game_value(*swapped), trapezoids(*inputs), "V with real and fake exchanged")
with check.part(points, "the best discriminator", 1):
    x = torch.linspace(-30, 30, 6_001, dtype=torch.float64)
    for _ in range(3):
        means, widths = 4 * uniform(2) - 2, 0.4 + 1.6 * uniform(2)
        pair = tuple(Normal(m, w) for m, w in zip(means, widths, strict=True))
        log_p, log_q = (density.log_prob(x) for density in pair)
        twice_js, _ = integrate.quad(overlap, -30, 30, pair, limit=400, points=means.tolist())
        value = game_value(x, log_p, log_q, log_p - log_q)
        check.close(value, twice_js - math.log(4), "V(G, D*)", rtol=0, atol=1e-4)
    edge = 0.2 + 0.6 * float(uniform(1))
    x = torch.tensor([0.0, edge, edge, 1.0, 1.0, 2.0]).double()
    log_p = torch.tensor([0.0, 0.0, 0.0, 0.0, -math.inf, -math.inf]).double()
    log_q = torch.tensor([-math.inf, -math.inf, 0.0, 0.0, 0.0, 0.0]).double()
    wanted = -(1 - edge) * math.log(4)
    check.close(game_value(x, log_p, log_q, log_p - log_q), wanted, "V where densities are zero")
    for size in (1.0, 300.0):  # gaps in p, in q and in both, at the ends and between
        x = 0.3 * (uniform(12) * (torch.arange(12) % 4 > 0)).cumsum(0)  # with jumps
        log_p, log_q, logits = uniform(12) - 1, uniform(12) - 1, (uniform(12) - 0.5) * size
        log_p[[0, 3, 4, 8]] = log_q[[4, 6, 8, 11]] = -math.inf
        wanted = trapezoids(x, log_p, log_q, logits)
        check.close(game_value(x, log_p, log_q, logits), wanted, "V of densities with gaps")
        logits[[0, 3]], logits[[6, 11]] = -math.inf, math.inf
        wanted = trapezoids(x, log_p, log_q, logits)
        check.close(game_value(x, log_p, log_q, logits), wanted, "V where D is sure, and right")
        logits[6] = -math.inf
        assert game_value(x, log_p, log_q, logits) == -math.inf, "V where D is sure, and wrong"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# Now the theorem as numbers. The Jensen–Shannon divergence is an integral as well, with
# $m = \tfrac12(p + q)$:
#
# $$\mathrm{JS}(p, q) = \tfrac12\int p\,\log\frac pm\,dx + \tfrac12\int q\,\log\frac qm\,dx .$$


# %%
def jensen_shannon(x: Tensor, log_p: Tensor, log_q: Tensor) -> Tensor:
    """JS(p, q) in nats by the trapezoidal rule; float64 (M,) each, densities positive."""
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    terms = log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)
    return 0.5 * torch.trapezoid(terms, x)


# %% tags=["skip-execution", "nbval-check-output"]
wide = torch.linspace(-20, 20, 20_001, dtype=torch.float64)
log_p = p.log_prob(wide)
print("q            V(G, D*)   2 JS − log 4   V(G, 1/2)")
for mean, width in ((0.5, 1.0), (0.0, 2.0), (2.0, 0.8), (-1.5, 0.5), (4.5, 0.5), (6.0, 0.5)):
    log_q = Normal(mean, width).log_prob(wide)
    value = game_value(wide, log_p, log_q, log_p - log_q)
    distance = 2 * jensen_shannon(wide, log_p, log_q) - math.log(4)
    blind = game_value(wide, log_p, log_q, 0 * wide)
    print(f"N({mean:4.1f}, {width}²) {value:9.5f} {distance:12.5f} {blind:12.5f}")
    check.close(value, distance, "V(G, D*)", rtol=0, atol=1e-3, hint="It is 2 JS − log 4.")
same = game_value(wide, log_p, log_p, 0 * wide)
print(f"p itself    {same:9.5f} = −log 4, the least that G can reach")

# %% [markdown]
# The two columns agree to all digits. The value lies between $-\log 4 = -1.386$, where $q = p$,
# and 0, where $D$ is always right.
#
# Look at the last rows. The densities hardly overlap, the value is almost 0, and it hardly changes
# when $q$ moves nearer. Lab 11 saw the same of the JS divergence. For $G$ that is bad news: it
# learns from the slope.
#
# ## 4 · Two goals for G
#
# $G$ takes part in the value through its second term only. With $V$ as its goal, $G$ minimises
#
# $$\mathcal L_G^{\text{minimax}} = \frac1M\sum_{m=1}^M \log\big(1 - D(G(z_m))\big).$$
#
# What does it feel of that? At the beginning its samples are bad, $D$ is sure that they are fake,
# and $D(G(z))$ is near 0. There $\log(1 - D)$ is flat. So Goodfellow et al. propose another goal,
# the *non-saturating* one: instead of making the answer "fake" less probable, make the answer
# "real" more probable:
#
# $$\mathcal L_G^{\text{non-saturating}} = -\frac1M\sum_{m=1}^M \log D(G(z_m)).$$
#
# **Exercise 4** (2 points, 10 minutes). Write both. $G$ minimises both, so mind the signs.


# %% nbgrader={"grade": false, "grade_id": "generator_losses", "locked": false, "schema_version": 3, "solution": true, "task": false}
def minimax_loss(fake_logits: Tensor) -> Tensor:
    """G's loss in the minimax game: the mean of log(1 − D(G(z))).

    Args:
        fake_logits: float, any shape, such as (M,) or (M, 1), and any value: ±10,000 gives
            neither infinity nor a gradient of NaN.

    Returns:
        float (), in nats, not positive, differentiable. Smaller is better for G.
    """
    ### BEGIN SOLUTION
    return -F.softplus(fake_logits).mean()
    ### END SOLUTION


def nonsaturating_loss(fake_logits: Tensor) -> Tensor:
    """G's loss in the non-saturating game: the mean of −log D(G(z)).

    Args:
        fake_logits: as above.

    Returns:
        float (), in nats, not negative, differentiable. Smaller is better for G.

    Goodfellow et al. (2014), end of section 3.
    """
    ### BEGIN SOLUTION
    return F.softplus(-fake_logits).mean()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "generator_losses_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
half, sure_fake = torch.zeros(2, 1), torch.full((2, 1), -100.0)
for name, loss, value in (("minimax", minimax_loss, -1), ("non-saturating", nonsaturating_loss, 1)):
    check.close(
        loss(half), value * math.log(2), f"the {name} loss at D(G(z)) = 1/2",
        hint="log(1 − D) is negative, −log D is positive; the mean over the batch.",
    )  # fmt: skip
    _, (slope,) = check.vjp(loss, half, torch.tensor(1.0))
    check.close(
        slope, half - 0.25, f"the gradient of the {name} loss at D(G(z)) = 1/2",
        hint="It is −1/2 for each of the two: both losses fall when D is fooled more.",
    )  # fmt: skip
check.close(
    nonsaturating_loss(sure_fake), 100.0, "the non-saturating loss where D is sure: fake",
    hint="A softplus or log-sigmoid of the logit never forms D.",
)  # fmt: skip
check.close(minimax_loss(-sure_fake), -100.0, "the minimax loss where D is sure: real")
d = torch.tensor([[0.01]])
for name, loss in (("minimax", minimax_loss), ("non-saturating", nonsaturating_loss)):
    _, (slope,) = check.vjp(loss, d.logit(), torch.tensor(1.0))
    print(f"gradient in the logit at D(G(z)) = 0.01: {name:15s} {slope.item():.2f}")
print("generator losses: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "generator_losses_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 4, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
for name, loss, sign in (
    ("the minimax loss", minimax_loss, -1),
    ("the non-saturating loss", nonsaturating_loss, 1),
):
    with check.part(points, name, 1):
        for shape in ((8, 1), (5,), (1,), (1, 1), (3, 1, 4, 5)):
            for size in (0.0, 0.3, 3.0, 100.0, 1e4):
                logits = torch.randn(shape, generator=generator) * size
                copy_, cotangent = logits.clone(), torch.randn((), generator=generator)
                # minimax: −softplus(ℓ); non-saturating: softplus(−ℓ)
                expected = sign * torch.logaddexp(-sign * logits.double(), torch.zeros(())).mean()
                check.close(loss(copy_), expected, f"{name} of logits {shape}")
                assert torch.equal(copy_, logits), "the function has changed its argument"
                _, (slope,) = check.vjp(loss, logits, cotangent)
                wanted = -cotangent * torch.sigmoid(-sign * logits) / logits.numel()
                check.close(slope, wanted, f"the gradient of {name}")
        for size in (-1e4, -100.0, -25.0, -15.0, -6.0, 6.0, 15.0, 25.0, 100.0, 1e4):
            logits = torch.full((3, 1), size)
            expected = sign * torch.logaddexp(-sign * logits.double(), torch.zeros(())).mean()
            check.close(loss(logits), expected, f"{name} at {size:g}", atol=1e-6)
            _, (slope,) = check.vjp(loss, logits, torch.ones(()))
            wanted = -torch.sigmoid(-sign * logits) / 3
            check.close(slope, wanted, f"its gradient at {size:g}", atol=1e-6)
check.total(points)
### END HIDDEN TESTS

# %%
LOSSES = {"minimax": minimax_loss, "non-saturating": nonsaturating_loss}

# %% tags=["skip-execution"]
logits = torch.linspace(-7, 7, 200)
probabilities = torch.sigmoid(logits)
made, axs = plot.figure(1, 2, (3.4, 2.6))
for i, (name, loss) in enumerate(LOSSES.items()):
    values = torch.stack([loss(logit) for logit in logits])
    slopes = torch.func.vmap(torch.func.grad(loss))(logits).abs()
    at_start = torch.func.grad(loss)(torch.tensor(0.01).logit()).abs()
    axs[0, 0].plot(probabilities, values, color=plot.COLOURS[i], label=name)
    axs[0, 1].plot(probabilities, slopes, color=plot.COLOURS[i], label=name)
    axs[0, 1].plot(0.01, at_start, "o", color=plot.COLOURS[i], label=f"at D = 0.01: {at_start:.2f}")
axs[0, 0].set(xlabel="D(G(z))", ylabel="loss of G")
axs[0, 1].set(xlabel="D(G(z))", ylabel="size of the gradient in the logit")
for ax in axs[0]:
    ax.legend(frameon=False, fontsize=7)
plot.show(
    made,
    "Left: both losses of G fall as D(G(z)) grows; minimax is flat on the left, non-saturating is "
    "flat on the right. Right: the size of their gradients in the logit, two straight lines that "
    "cross at 1/2. At D = 0.01, marked by dots, minimax leaves 0.01 and non-saturating 0.99.",
)

# %% [markdown]
# Both losses fall in the same direction, so both push $G$ the same way. What differs is how hard.
# The gradient in the logit is $-D$ under minimax and $-(1 - D)$ under the other. Where $D$ is
# sure that a sample is fake, minimax whispers and the non-saturating loss shouts. Where $D$ is
# fooled already, it is the other way round.
#
# The price: what $G$ minimises now is no longer minus what $D$ minimises. There is no single value
# that one player raises and the other lowers. The theorem above is about the old game, and the
# page shows what the new goal amounts to.
#
# ## 5 · The gradient that arrives
#
# The logit is not the end of the way. The gradient travels on through $D$ into the sample, and
# from there into $G$. How much of it arrives at a sample?
#
# Here are the players of the lab: a generator of points, and a pair for pictures. They are plain
# networks of linear layers, and what matters of them is what goes in and what comes out. Two
# layers make training steadier. *Batch normalisation* brings each unit of $G$ to mean 0 and
# variance 1 over the batch. *Dropout* blinds a random 30 % of the units of $D$ at each call, so
# that it does not learn the training pictures by heart. Lab 33 does better, with convolutions.


# %%
class Generator(nn.Module):
    """Noise (N, noise) → points (N, points)."""

    def __init__(self, noise: int, points: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(noise, width), nn.Tanh(),
            nn.Linear(width, width), nn.Tanh(),
            nn.Linear(width, points),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class ImageGenerator(nn.Module):
    """Noise (N, noise) → pictures (N, 1, 28, 28) in [−1, 1]."""

    def __init__(self, noise: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(noise, 256), nn.BatchNorm1d(256), nn.ReLU(),
            nn.Linear(256, 512), nn.BatchNorm1d(512), nn.ReLU(),
            nn.Linear(512, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class ImageDiscriminator(nn.Module):
    """Pictures (N, 1, 28, 28) in [−1, 1] → logits (N, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(784, 512), nn.LeakyReLU(0.2), nn.Dropout(0.3),
            nn.Linear(512, 256), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(256, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


# %% [markdown]
# **Exercise 5** (2 points, 20 minutes). For each of $M$ samples $x_m$ compute the Euclidean length
# of the gradient of *its own* term of $G$'s loss, over all the numbers that the sample has:
#
# $$g_m = \Big\| \frac{\partial}{\partial x_m}\, \log\big(1 - D(x_m)\big) \Big\|
#   \quad\text{or}\quad \Big\| \frac{\partial}{\partial x_m}\, \log D(x_m) \Big\| .$$
#
# A loss is a mean over the batch, so a factor $M$ has to be undone: $g_m$ must not depend on how
# many samples stand beside $x_m$. And this is a measurement. It must leave no trace in $D$:
# `backward()` would leave gradients in the `.grad` of all of $D$'s weights. `torch.autograd.grad`
# hands over the gradient that is asked for and writes nowhere.


# %% nbgrader={"grade": false, "grade_id": "gradient_norms", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gradient_norms(discriminator: nn.Module, samples: Tensor, loss: str) -> Tensor:
    """The length of the gradient that reaches each sample, for its own term of G's loss.

    Args:
        discriminator: samples (M, …) → logits (M, 1), of any value; treats each sample by itself.
            Its weights and their `.grad` are afterwards what they were before, whatever they
            were; where there was no `.grad`, there is none. It is called in the mode (training or
            evaluation) that it is in, and stays in it.
        samples: float (M, …), such as (M, 2) or (M, 1, 28, 28); requires no gradient, and is not
            changed in any way.
        loss: "minimax" or "non-saturating", a name in LOSSES.

    Returns:
        float (M,), not negative, with no gradient of its own.

    Raises:
        KeyError: another name of a loss.
    """
    ### BEGIN SOLUTION
    x = samples.detach().clone().requires_grad_()
    value = LOSSES[loss](discriminator(x)) * len(x)
    (gradient,) = torch.autograd.grad(value, x)
    return gradient.flatten(1).norm(dim=1)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "gradient_norms_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
judge = Discriminator(points=2, width=8)
held = {name: torch.randn_like(p) for name, p in judge.named_parameters()}
check.set_gradients(judge, held)
weights, samples = check.parameters(judge), torch.randn(5, 2)
norms = {name: gradient_norms(judge, samples, name) for name in LOSSES}
d = torch.sigmoid(judge(samples))[:, 0].detach()
for name, found in norms.items():
    check.shape(found, (5,), f"the lengths of five gradients, {name}")
check.close(
    norms["minimax"] / norms["non-saturating"], d / (1 - d),
    "the ratio of the lengths, minimax to non-saturating",
    hint="The gradients in the logit are D and 1 − D; the way from there on is the same.",
)  # fmt: skip
check.close(
    gradient_norms(judge, samples[:1], "minimax"), norms["minimax"][:1],
    "the length for a sample alone",
    hint="The loss is a mean: a sample's own term is divided by the size of the batch.",
)  # fmt: skip
step = samples[0] + 1e-2 * torch.eye(2)
slope = (judge(step) - judge(samples[:1]))[:, 0].detach() / 1e-2
check.close(
    norms["minimax"][0], d[0] * slope.norm(), "the length, from small steps of a sample", rtol=0.05,
    hint="It is D(x) times the length of the gradient of the logit in x.",
)  # fmt: skip
for name, gradient in check.gradients(judge).items():
    check.close(
        gradient, held[name], f"the .grad of D's {name} after the measurement", rtol=0, atol=0,
        hint="It should be what it was before. backward() adds to it.",
    )  # fmt: skip
print("gradient_norms: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "gradient_norms_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 5, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
cases = []
for n, size, width in ((6, 2, 7), (1, 3, 5), (4, 4, 6), (9, 1, 16)):
    judge, samples = Discriminator(size, width), torch.randn(n, size, generator=generator)
    start = check.state(judge)
    start["layers.4.bias"] += 1.5  # D does not say 1/2 to everything
    start["layers.4.weight"] *= 5
    check.load_state(judge, start)
    cases.append((judge, samples))
judge, samples = ImageDiscriminator(), torch.randn(3, 1, 28, 28, generator=generator)
check.evaluate(judge)
cases.append((judge, samples))
cases.append((judge, torch.randn(3, 4, 14, 14, generator=generator)))  # four channels
sure = []
for bias in (-300.0, 300.0):  # a steep D that is sure
    judge, samples = Discriminator(3, 8), torch.randn(6, 3, generator=generator)
    start = check.state(judge)
    start["layers.4.weight"] *= 200
    check.load_state(judge, start | {"layers.4.bias": start["layers.4.bias"] + bias})
    sure.append((judge, samples))
with check.part(points, "the lengths", 1):
    for judge, samples in cases + sure:
        logits = judge(samples).detach()
        for name, sizes in (
            ("minimax", torch.sigmoid(logits)),
            ("non-saturating", torch.sigmoid(-logits)),
        ):
            _, (gradient,) = check.vjp(judge, samples, sizes)
            wanted = gradient.flatten(1).square().sum(1).sqrt()
            found = gradient_norms(judge, samples.clone(), name)
            check.close(found, wanted, f"the lengths of {len(samples)} gradients, {name}")
with check.part(points, "no trace", 1):
    for judge, samples in cases:
        before = check.state(judge)
        held = {
            name: torch.randn(p.shape, generator=generator)
            for name, p in check.parameters(judge).items()
        }
        check.set_gradients(judge, held)
        for name in ("minimax", "non-saturating"):
            copy_ = samples.clone()
            first = gradient_norms(judge, copy_, name)
            assert first.max() > 0, "no gradient arrives"
            assert not first.requires_grad, "the lengths should have no gradient of their own"
            assert torch.equal(copy_, samples), "the function has changed the samples"
            assert not copy_.requires_grad, "the function has marked the samples for gradients"
            check.close(gradient_norms(judge, copy_, name), first, "the same lengths again")
        for name, gradient in check.gradients(judge).items():
            check.close(gradient, held[name], f"the gradient held by {name}", rtol=0, atol=0)
        for name, value in check.state(judge).items():
            assert torch.equal(value, before[name]), f"{name} of the discriminator has changed"
        cotangent = torch.randn(len(samples), 1, generator=generator)
        found = check.parameter_gradients(judge, judge, samples, cotangent)
        assert all(g.any() for g in found.values()), "D can no longer learn"
    judge, images = ImageDiscriminator(), torch.randn(3, 1, 28, 28, generator=generator)
    one, other = (gradient_norms(judge, images, "minimax") for _ in range(2))
    assert not torch.equal(one, other), "D, in training mode, is called in another"
    assert not torch.equal(judge(images), judge(images)), "D has left training mode"
    found = check.gradients(judge).values()
    assert all(g is None for g in found), "D had no .grad and has one"
    try:
        gradient_norms(judge, images, "hinge")
    except KeyError:
        pass
    else:
        raise AssertionError("there is no KeyError for a loss of another name")
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# Now a measurement where it matters, at the very beginning. $G$ is untrained and makes grey noise.
# $D$ has seen a few batches of that noise and of clothes.

# %% tags=["skip-execution"]
fashion = data.load(FASHION, "train", TRAIN_IMAGES)
fashion_test = data.load(FASHION, "test", TEST_IMAGES)
x_train, x_test = (data.to_float(images.pixels, -1, 1) for images in (fashion, fashion_test))

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
start_g = ImageGenerator(NOISE).to(profile.device())
start_d = ImageDiscriminator()
with torch.no_grad():
    grey = start_g(torch.randn(2_000, NOISE, device=profile.device()))[: len(x_train)]
train.fit(
    start_d, classification, (x_train[: len(grey)], grey), steps=FIRST_STEPS, batch_size=32, lr=3e-4,
    seed=SEED,
)  # fmt: skip
start_d.eval()
judged = torch.sigmoid(start_d(grey[:200]))[:, 0].detach().cpu()
made, axs = plot.figure(size=(5.2, 2.8))
for i, name in enumerate(LOSSES):
    arriving = gradient_norms(start_d, grey[:200], name).cpu()
    axs[0, 0].loglog(judged, arriving, ".", color=plot.COLOURS[i], label=name)
axs[0, 0].set(xlabel="D(G(z))", ylabel="gradient that arrives at G(z)")
axs[0, 0].legend(frameon=False)
plot.show(
    made,
    "Two hundred samples of an untrained generator, by D(G(z)) and by the length of the gradient "
    "that arrives, both on logarithmic scales. Under minimax the gradient falls in proportion to "
    "D(G(z)); under the non-saturating loss it stays at one height far above.",
)
print(f"mean D(G(z)): {judged.mean():.4f}")

# %% [markdown]
# A hundred steps, and $D$ is nearly sure. Under minimax the gradient is as small as $D(G(z))$
# itself, so the better $D$ gets, the less it teaches. Under the other loss it does not depend on
# how sure $D$ is. This is why the better opponent is no longer the worse teacher, and why nearly
# everybody trains with the second loss.
#
# ## 6 · A move of each player
#
# Two networks, two losses, two optimisers. The gradient of $D$'s loss flows back through $D$ into
# the fake samples and on into $G$, where it would teach $G$ to make $D$'s work *easier*. The
# gradient of $G$'s loss has to flow through $D$ to reach $G$, but must not move $D$. So each move
# needs care: **it moves one player and leaves the other as it was**, its weights and also the
# gradients that lie in the `.grad` of its weights, for those would be added to its next move.
#
# There are several ways to keep the other player out. `G(z).detach()`, or calling $G$ under
# `torch.no_grad()`, cuts the path into $G$. It is right in $D$'s move, and in $G$'s it would leave
# nothing to learn from. `torch.autograd.grad(loss, weights)` gives the gradients of the weights
# that it is asked for, and of no others. `D.requires_grad_(False)` freezes the weights of $D$ while
# the gradient still passes through to its input; afterwards they have to be thawed.
#
# **Exercise 6** (3 points, 20 minutes). Write a move of $D$: one step of its optimiser on
#
# $$\mathcal L_D = -\frac1N\sum_n \log D(x_n) - \frac1M\sum_m \log\big(1 - D(G(z_m))\big).$$


# %% nbgrader={"grade": false, "grade_id": "discriminator_step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def discriminator_step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimiser: torch.optim.Optimizer,
    real: Tensor,
    noise: Tensor,
) -> Tensor:
    """One step of D on its loss; G stays as it is.

    The step follows the gradient of this loss alone, whatever `.grad` of D held before. G's
    weights, and the `.grad` of G's weights, are afterwards what they were before, whatever they
    were; where there was no `.grad`, there is none. Both players can go on learning. They are called in the mode (training or evaluation)
    that they are in, and stay in it. The tensors that are passed in are not changed.

    Args:
        generator: noise (M, Z) → samples (M, …). discriminator: samples (N, …) → logits (N, 1),
            of any value.
        optimiser: of D's weights; it takes one step, by its own rule.
        real: float (N, …). noise: float (M, Z); M need not be N.

    Returns:
        float (), D's loss before the step, with no gradient of its own.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        fake = generator(noise)
    loss = discriminator_loss(discriminator(real), discriminator(fake))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "discriminator_step_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
maker, judge = Generator(3, 2, 8), Discriminator(2, 8)
some_real, noise = torch.randn(6, 2) + 2, torch.randn(4, 3)
held = {name: torch.ones_like(p) for name, p in maker.named_parameters()}
check.set_gradients(maker, held)
check.set_gradients(judge, {name: 9 * torch.ones_like(p) for name, p in judge.named_parameters()})
weights, before = check.parameters(maker), check.parameters(judge)
copied = copy.deepcopy(judge)
wanted = discriminator_loss(copied(some_real), copied(maker(noise).detach()))
wanted.backward()
found = discriminator_step(maker, judge, check.optimiser(judge, lr=0.1), some_real, noise)
check.close(
    found, wanted.item(), "the loss that D's move returns", hint="It is D's loss before the step."
)
for name, gradient in check.gradients(copied).items():
    moved = (before[name] - check.parameters(judge)[name]) / 0.1
    check.close(
        moved, gradient, f"the move of D's {name}, divided by −lr",
        hint="It is the gradient of D's loss. Gradients from before have to be cleared.",
    )  # fmt: skip
for name, value in check.parameters(maker).items():
    assert torch.equal(value, weights[name]), f"D's move has changed G's {name}"
    check.close(
        check.gradients(maker)[name], held[name], f"the .grad of G's {name} after D's move",
        hint="It should be what it was before. Does the gradient flow through the fake samples?",
    )  # fmt: skip
print("discriminator_step: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "discriminator_step_test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 6, 3 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def random_gradients(player: nn.Module) -> dict[str, Tensor]:
    return {name: normal(*p.shape) for name, p in check.parameters(player).items()}


def gradient_of_d(maker: nn.Module, judge: nn.Module, real: Tensor, noise: Tensor) -> tuple:
    """D's loss and the gradient in its weights."""
    fake = maker(noise).detach()
    on_real, on_fake = judge(real).detach(), judge(fake).detach()
    loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
    slopes = -torch.sigmoid(-on_real) / len(real), torch.sigmoid(on_fake) / len(fake)
    first, second = (
        check.parameter_gradients(judge, judge, x, slope)
        for x, slope in zip((real, fake), slopes, strict=True)
    )
    return loss, {name: first[name] + second[name] for name in first}


trials = []
for n, m, z, size, lr, bias in (
    (6, 6, 3, 2, 0.1, 0.0), (5, 8, 2, 3, 0.3, 0.0), (1, 1, 4, 1, 0.05, 0.0), (7, 1, 1, 4, 1.0, 0.0),
    (4, 3, 2, 2, 0.1, 150.0), (3, 5, 2, 3, 0.1, -150.0),  # D is sure, and half of it is wrong
):  # fmt: skip
    maker, judge = Generator(z, size, 6), Discriminator(size, 7)
    start = check.state(judge)
    check.load_state(judge, start | {"layers.4.bias": start["layers.4.bias"] + bias})
    trials.append((maker, judge, lr, normal(n, size) * 2 + 1, normal(m, z)))
trials.append((Generator(2, 3, 6), Discriminator(3, 7), 1e-4, 1e3 * normal(5, 3), normal(4, 2)))
with check.part(points, "the move of D", 1):
    for maker, judge, lr, real, noise in trials:
        start, optimiser = check.state(judge), check.optimiser(judge, lr, momentum=0.5)
        velocity = {name: 0 * value for name, value in check.parameters(judge).items()}
        for turn in range(3):  # in a row: no gradient is left over from the move before
            if turn:
                check.set_gradients(judge, random_gradients(judge))
            loss, gradient = gradient_of_d(maker, judge, real, noise)
            before = check.parameters(judge)
            inputs = real.clone(), noise.clone()
            found = discriminator_step(maker, judge, optimiser, *inputs)
            check.close(found, loss, "the loss that D's move returns")
            assert not found.requires_grad, "the loss should have no gradient of its own"
            for name, value in check.parameters(judge).items():
                velocity[name] = 0.5 * velocity[name] + gradient[name]
                wanted = before[name] - lr * velocity[name]
                check.close(value, wanted, f"D's {name} after its move")
            for copy_, was in zip(inputs, (real, noise), strict=True):
                assert torch.equal(copy_, was), "D's move has changed its arguments"
                assert not copy_.requires_grad, "D's move has marked its arguments for gradients"
        check.load_state(judge, start)
with check.part(points, "G stays as it is", 1):
    for maker, judge, lr, real, noise in trials:
        optimiser, weights, before = (
            check.optimiser(judge, lr),
            check.state(maker),
            check.state(judge),
        )
        for held in ({name: 0 * p for name, p in weights.items()}, random_gradients(maker)):
            check.set_gradients(maker, held)
            discriminator_step(maker, judge, optimiser, real, noise)
            for name, value in check.state(maker).items():
                assert torch.equal(value, weights[name]), f"D's move has changed G's {name}"
            for name, gradient in check.gradients(maker).items():
                check.close(gradient, held[name], f"the .grad of G's {name}", rtol=0, atol=0)
        moved = [not torch.equal(v, before[name]) for name, v in check.state(judge).items()]
        assert all(moved), "D has not moved"
        found = check.parameter_gradients(maker, maker, noise, torch.ones_like(maker(noise)))
        assert all(g.any() for g in found.values()), "after D's move G can no longer learn"
    maker, judge = ImageGenerator(5), ImageDiscriminator()
    held = random_gradients(maker)
    check.set_gradients(maker, held)
    images, noise = normal(4, 1, 28, 28), normal(4, 5)
    weights = check.parameters(maker)
    discriminator_step(maker, judge, check.optimiser(judge, 0.1), images, noise)
    for name, value in check.parameters(maker).items():
        assert torch.equal(value, weights[name]), f"D's move has changed G's {name}"
        found = check.gradients(maker)[name]
        check.close(found, held[name], f"the .grad of G's {name}", rtol=0, atol=0)
    assert not torch.equal(judge(images), judge(images)), "D has left training mode"
    alone = (maker(noise)[:2] - maker(noise[:2])).abs().max()
    assert alone > 1e-3, "G has left training mode"
    check.evaluate(maker)
    check.evaluate(judge)
    discriminator_step(maker, judge, check.optimiser(judge, 0.1), images, noise)
    check.close(judge(images), judge(images), "D in evaluation mode, after a move")
    check.close(
        maker(noise)[:2], maker(noise[:2]), "G in evaluation mode, after D's move", atol=1e-4
    )
    maker, judge = Generator(3, 2, 6), Discriminator(2, 7)
    discriminator_step(maker, judge, check.optimiser(judge, 0.1), normal(4, 2), normal(4, 3))
    found = check.gradients(maker).values()
    assert all(g is None for g in found), "G had no .grad and has one"
with check.part(points, "modes", 1):  # batch norm tells the mode of G, dropout that of D
    for mode in ("training", "evaluation"):
        maker, judge = ImageGenerator(5), ImageDiscriminator()
        start, still = check.state(judge), check.optimiser(judge, 0.0)
        check.load_state(judge, start | {"layers.7.weight": 30 * start["layers.7.weight"]})
        images, noise = normal(4, 1, 28, 28), normal(4, 5)
        if mode == "evaluation":
            check.evaluate(maker)
        one, other = (discriminator_step(maker, judge, still, images, noise) for _ in range(2))
        assert not torch.equal(one, other), "D, in training mode, is called in another"
        check.evaluate(judge)
        loss, _ = gradient_of_d(maker, judge, images, noise)
        found = discriminator_step(maker, judge, still, images, noise)
        check.close(found, loss, f"the loss of D in evaluation mode, with G in {mode} mode")
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# **Exercise 7** (2 points, 20 minutes). Write a move of $G$: one step of its optimiser on one of
# its two losses. No real sample takes part. All that $G$ learns about the data it learns through
# $D$.


# %% nbgrader={"grade": false, "grade_id": "generator_step", "locked": false, "schema_version": 3, "solution": true, "task": false}
def generator_step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimiser: torch.optim.Optimizer,
    noise: Tensor,
    loss: str,
) -> Tensor:
    """One step of G on its loss; D stays as it is.

    The step follows the gradient of this loss alone, whatever `.grad` of G held before. D's
    weights, and the `.grad` of D's weights, are afterwards what they were before, whatever they
    were; where there was no `.grad`, there is none. Both players can go on learning. They are called in the mode (training or evaluation)
    that they are in, and stay in it. The tensors that are passed in are not changed.

    Args:
        generator: noise (M, Z) → samples (M, …). discriminator: samples (M, …) → logits (M, 1),
            of any value.
        optimiser: of G's weights; it takes one step, by its own rule.
        noise: float (M, Z), or noise of another shape that the generator takes.
        loss: "minimax" or "non-saturating", a name in LOSSES.

    Returns:
        float (), G's loss before the step, with no gradient of its own.
    """
    ### BEGIN SOLUTION
    value = LOSSES[loss](discriminator(generator(noise)))
    weights = list(generator.parameters())
    gradients = torch.autograd.grad(value, weights)  # of G's weights and no others
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    optimiser.step()
    return value.detach()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "generator_step_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
maker, judge, noise = Generator(3, 2, 8), Discriminator(2, 8), torch.randn(4, 3)
held = {name: torch.ones_like(p) for name, p in judge.named_parameters()}
for name, loss in LOSSES.items():
    check.set_gradients(judge, held)
    check.set_gradients(maker, {n: 9 * torch.ones_like(p) for n, p in maker.named_parameters()})
    weights, before, copied = check.parameters(judge), check.parameters(maker), copy.deepcopy(maker)
    copied.zero_grad()
    wanted = loss(copy.deepcopy(judge)(copied(noise)))
    wanted.backward()
    found = generator_step(maker, judge, check.optimiser(maker, lr=0.1), noise, name)
    check.close(found, wanted.item(), f"the {name} loss that G's move returns")
    for n, gradient in check.gradients(copied).items():
        moved = (before[n] - check.parameters(maker)[n]) / 0.1
        check.close(
            moved, gradient, f"the move of G's {n} under the {name} loss, divided by −lr",
            hint="It is the gradient of G's loss, through D into G. Is something detached?",
        )  # fmt: skip
    for n, value in check.parameters(judge).items():
        assert torch.equal(value, weights[n]), f"G's move has changed D's {n}"
        check.close(
            check.gradients(judge)[n], held[n], f"the .grad of D's {n} after G's move",
            hint="It should be what it was before. backward() adds to every weight on its way.",
        )  # fmt: skip
print("generator_step: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "generator_step_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 7, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def random_gradients(player: nn.Module) -> dict[str, Tensor]:
    return {name: normal(*p.shape) for name, p in check.parameters(player).items()}


def gradient_of_g(maker: nn.Module, judge: nn.Module, noise: Tensor, loss: str) -> tuple:
    """G's loss and the gradient in its weights."""
    fake = maker(noise).detach()
    logits, sign = judge(fake).detach(), 1 if loss == "non-saturating" else -1
    slopes = -torch.sigmoid(-sign * logits) / len(noise)
    _, (at_fake,) = check.vjp(judge, fake, slopes)
    value = sign * F.softplus(-sign * logits).mean()
    return value, check.parameter_gradients(maker, maker, noise, at_fake)


trials = []
for m, z, size, lr in ((6, 3, 2, 0.1), (8, 2, 3, 0.3), (1, 4, 1, 0.05), (3, 1, 4, 1.0)):
    maker, judge, noise = Generator(z, size, 6), Discriminator(size, 7), normal(m, z)
    start = check.state(judge)
    start["layers.4.bias"] += normal(1) + 1  # D does not say 1/2 to everything
    start["layers.4.weight"] *= 5
    check.load_state(judge, start)
    trials += [(maker, judge, lr, noise, loss) for loss in ("minimax", "non-saturating")]
for bias, loss in ((300.0, "minimax"), (-300.0, "non-saturating")):  # a steep D that is sure
    maker, judge = Generator(2, 3, 6), Discriminator(3, 7)
    start = check.state(judge)
    start["layers.4.weight"] *= 200
    check.load_state(judge, start | {"layers.4.bias": start["layers.4.bias"] + bias})
    trials.append((maker, judge, 0.01, normal(4, 2), loss))
maker, judge = Generator(28, 28, 6), ImageDiscriminator()  # noise of another shape
check.evaluate(judge)
trials.append((maker, judge, 0.1, normal(3, 1, 28, 28), "non-saturating"))
with check.part(points, "the move of G", 1):
    for maker, judge, lr, noise, loss in trials:
        start, optimiser = check.state(maker), check.optimiser(maker, lr, momentum=0.5)
        velocity = {name: 0 * weight for name, weight in check.parameters(maker).items()}
        for turn in range(3):
            if turn:
                check.set_gradients(maker, random_gradients(maker))
            value, gradient = gradient_of_g(maker, judge, noise, loss)
            before, copy_ = check.parameters(maker), noise.clone()
            found = generator_step(maker, judge, optimiser, copy_, loss)
            check.close(found, value, f"the {loss} loss that G's move returns")
            assert not found.requires_grad, "the loss should have no gradient of its own"
            for name, weight in check.parameters(maker).items():
                velocity[name] = 0.5 * velocity[name] + gradient[name]
                wanted = before[name] - lr * velocity[name]
                check.close(weight, wanted, f"G's {name} after its move, {loss}")
            assert torch.equal(copy_, noise), "G's move has changed its argument"
            assert not copy_.requires_grad, "G's move has marked its argument for gradients"
        check.load_state(maker, start)
with check.part(points, "D stays as it is", 1):
    for maker, judge, lr, noise, loss in trials:
        optimiser, weights, before = (
            check.optimiser(maker, lr),
            check.state(judge),
            check.state(maker),
        )
        for held in ({name: 0 * p for name, p in weights.items()}, random_gradients(judge)):
            check.set_gradients(judge, held)
            generator_step(maker, judge, optimiser, noise, loss)
            for name, value in check.state(judge).items():
                assert torch.equal(value, weights[name]), f"G's move has changed D's {name}"
            for name, gradient in check.gradients(judge).items():
                check.close(gradient, held[name], f"the .grad of D's {name}", rtol=0, atol=0)
        moved = [not torch.equal(v, before[name]) for name, v in check.state(maker).items()]
        assert all(moved), "G has not moved"
        fake = maker(noise).detach()
        found = check.parameter_gradients(judge, judge, fake, torch.ones(len(noise), 1))
        assert all(g.any() for g in found.values()), "after G's move D can no longer learn"
    images, noise = normal(4, 1, 28, 28), normal(4, 5)
    maker, judge = ImageGenerator(5), ImageDiscriminator()
    check.evaluate(maker)
    held, weights = random_gradients(judge), check.state(judge)
    check.set_gradients(judge, held)
    generator_step(maker, judge, check.optimiser(maker, 0.01), noise, "non-saturating")
    for name, value in check.state(judge).items():
        assert torch.equal(value, weights[name]), f"G's move has changed D's {name}"
        found = check.gradients(judge)[name]
        check.close(found, held[name], f"the .grad of D's {name}", rtol=0, atol=0)
    assert not torch.equal(judge(images), judge(images)), "D has left training mode"
    alone = maker(noise[:2])
    check.close(maker(noise)[:2], alone, "G in evaluation mode, after its move", atol=1e-3)
    check.evaluate(judge)
    generator_step(maker, judge, check.optimiser(maker, 0.01), noise, "non-saturating")
    check.close(judge(images), judge(images), "D in evaluation mode, after G's move")
    maker, judge = Generator(3, 2, 6), Discriminator(2, 7)
    generator_step(maker, judge, check.optimiser(maker, 0.1), normal(4, 3), "minimax")
    found = check.gradients(judge).values()
    assert all(g is None for g in found), "D had no .grad and has one"
    maker, judge = ImageDiscriminator(), Discriminator(1, 7)  # a player with dropout as G
    generator_step(maker, judge, check.optimiser(maker, 0.01), images, "non-saturating")
    assert not torch.equal(maker(images), maker(images)), "G has left training mode"
    still = check.optimiser(maker, 0.0)
    one, other = (generator_step(maker, judge, still, images, "minimax") for _ in range(2))
    assert not torch.equal(one, other), "G, in training mode, is called in another"
    maker, judge = ImageGenerator(5), ImageDiscriminator()
    start, still = check.state(judge), check.optimiser(maker, 0.0)
    check.load_state(judge, start | {"layers.7.weight": 30 * start["layers.7.weight"]})
    check.evaluate(maker)
    one, other = (generator_step(maker, judge, still, noise, "minimax") for _ in range(2))
    assert not torch.equal(one, other), "D, in training mode, is called in another"
    check.evaluate(judge)
    loss, _ = gradient_of_g(maker, judge, noise, "minimax")
    found = generator_step(maker, judge, still, noise, "minimax")
    check.close(found, loss, "the loss with both players in evaluation mode")
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 7 · The game
#
# The theory wants $D$ at its best before $G$ moves. Training $D$ to its end for every move of $G$
# would take for ever. Algorithm 1 of Goodfellow et al. takes the middle way, in rounds: $D$ moves
# $k$ times, then $G$ moves once. If $G$ moves slowly, $D$ stays near its best.
#
# **Exercise 8** (3 points, 25 minutes). Write one round. $D$ moves first. Every move of $D$ gets
# a batch of real samples drawn anew and noise drawn anew, and $G$'s move gets new noise as well.
# It is tempting to reuse a batch. But $D$ would train on a handful of samples that it soon knows
# by heart, and $G$ would be judged on samples that $D$ was just trained on.


# %% nbgrader={"grade": false, "grade_id": "play_round", "locked": false, "schema_version": 3, "solution": true, "task": false}
def play_round(
    generator: nn.Module,
    discriminator: nn.Module,
    generator_optimiser: torch.optim.Optimizer,
    discriminator_optimiser: torch.optim.Optimizer,
    x: Tensor,
    *,
    k: int,
    batch_size: int,
    noise_size: int,
    loss: str,
) -> dict[str, Tensor]:
    """One round of the game: k moves of D, then one move of G.

    All randomness comes from torch's global generator, which is not seeded here. So two rounds
    in a row differ. G is called with k + 1 batches of noise, each drawn anew. The players stay in
    the mode (training or evaluation) that they are in, and x is not changed.

    Args:
        generator, discriminator, and an optimiser of the weights of each.
        x: float (N, …), all real samples. Each move of D gets `batch_size` random rows of it,
            drawn anew for that move; every row may come. N ≥ `batch_size`.
        k: how often D moves, 1 or more.
        batch_size: how many real and how many fake samples a move gets.
        noise_size: Z; the noise of a batch is (batch_size, Z) numbers from N(0, 1).
        loss: G's loss, "minimax" or "non-saturating".

    Returns:
        {"discriminator": D's loss in its last move, "generator": G's loss}, each float ().

    Goodfellow et al. (2014), algorithm 1.
    """
    ### BEGIN SOLUTION

    def noise() -> Tensor:
        return torch.randn(batch_size, noise_size, device=x.device)

    for _ in range(k):
        real = x[torch.randint(len(x), (batch_size,), device=x.device)]
        d_loss = discriminator_step(
            generator, discriminator, discriminator_optimiser, real, noise()
        )
    g_loss = generator_step(generator, discriminator, generator_optimiser, noise(), loss)
    return {"discriminator": d_loss, "generator": g_loss}
    ### END SOLUTION


# %% [markdown]
# How can one look into a loop? With players that keep a diary.


# %%
class Diary(nn.Module):
    """A player that writes down every row it is given, in order; its state holds them."""

    def __init__(self, player: nn.Module) -> None:
        super().__init__()
        self.player, self.rows = player, []

    def forward(self, x: Tensor) -> Tensor:
        self.rows += x.detach().tolist()
        return self.player(x)

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.rows)

    def set_extra_state(self, rows: Tensor) -> None:
        self.rows = rows.tolist()


# %% nbgrader={"grade": false, "grade_id": "play_round_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
maker, judge = Diary(Generator(2, 3, 8)), Diary(Discriminator(3, 8))
optimisers = check.optimiser(maker, lr=0.1), check.optimiser(judge, lr=0.1)
rows, k, rounds = torch.randn(50, 3), 4, 25
for _ in range(rounds):
    before = check.parameters(maker), check.parameters(judge)
    losses = play_round(
        maker, judge, *optimisers, rows, k=k, batch_size=5, noise_size=2, loss="non-saturating"
    )
    for player, weights, name in zip((maker, judge), before, "GD", strict=True):
        for part, value in check.parameters(player).items():
            assert not torch.equal(value, weights[part]), f"{name}'s {part} did not move"
assert set(losses) == {"discriminator", "generator"}, f"unexpected names: {sorted(losses)}"
noise, shown = check.state(maker)["_extra_state"], check.state(judge)["_extra_state"]
check.shape(noise, (rounds * (k + 1) * 5, 2), "the noise in G's diary, over all rounds")
assert len(noise.unique(dim=0)) == len(noise), "G was given the same noise twice"
check.close(noise.std(), 1.0, "the standard deviation of the noise", atol=0.15)
at = (shown[:, None] == rows).all(-1)  # which line of D's diary is which row of the data
assert at.any(0).all(), "there are rows of the data that D never saw"
seen = at.float().argmax(1)[at.any(1)].reshape(rounds, k, -1)
check.shape(seen, (rounds, k, 5), "the real rows in D's diary: rounds, moves of D, a batch")
assert not (seen[:, 1:] == seen[:, :1]).all(-1).any(), "D saw the same real batch twice in a round"
print("play_round: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "play_round_test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 8, 3 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def game(rows: Tensor, rounds: int, seed: int, z: int, lrs: tuple[float, float], **options) -> dict:
    """Plays, and gives what the players were, what they became and what their diaries say."""
    torch.manual_seed(seed)
    maker, judge = Diary(Generator(z, rows.shape[1], 6)), Diary(Discriminator(rows.shape[1], 7))
    before = check.parameters(maker), check.parameters(judge)
    optimisers = check.optimiser(maker, lrs[0]), check.optimiser(judge, lrs[1])
    torch.manual_seed(seed + 1)
    losses = [
        play_round(maker, judge, *optimisers, rows, noise_size=z, **options) for _ in range(rounds)
    ]
    noise, shown = check.state(maker)["_extra_state"], check.state(judge)["_extra_state"]
    at = (shown[:, None] == rows).all(-1)
    return {
        "before": before, "after": (check.parameters(maker), check.parameters(judge)),
        "losses": losses, "noise": noise, "seen": at.float().argmax(1)[at.any(1)],
    }  # fmt: skip


def replay(
    played: dict, rows: Tensor, rounds: int, z: int, lrs: tuple, k: int, size: int, loss: str
):
    """The same game from the diaries: the weights that the players should have, and the losses."""
    maker, judge = Generator(z, rows.shape[1], 6), Discriminator(rows.shape[1], 7)
    for player, saved in zip((maker, judge), played["before"], strict=True):
        check.load_state(player, {n.removeprefix("player."): v for n, v in saved.items()})
    noise, seen, losses = list(played["noise"].split(size)), list(played["seen"].split(size)), []
    for _ in range(rounds):
        for _ in range(k):
            real, fake = rows[seen.pop(0)], maker(noise.pop(0)).detach()
            on_real, on_fake = judge(real).detach(), judge(fake).detach()
            d_loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
            slopes = torch.cat([-torch.sigmoid(-on_real), torch.sigmoid(on_fake)]) / size
            check.descend(judge, judge, torch.cat([real, fake]), slopes, lrs[1])
        z_batch = noise.pop(0)
        fake = maker(z_batch).detach()
        logits, sign = judge(fake).detach(), 1 if loss == "non-saturating" else -1
        losses.append((d_loss, sign * F.softplus(-sign * logits).mean()))
        _, (at_fake,) = check.vjp(judge, fake, -torch.sigmoid(-sign * logits) / size)
        check.descend(maker, maker, z_batch, at_fake, lrs[0])
    return (check.parameters(maker), check.parameters(judge)), losses


trials = [
    (rounds, z, k, size, loss, lrs)
    for loss, lrs in (("non-saturating", (0.1, 0.05)), ("minimax", (0.05, 0.2)))
    for rounds, z, k, size in ((2, 2, 1, 4), (3, 3, 3, 5), (2, 1, 5, 1))
]
with check.part(points, "k moves of D, then one of G", 2):
    for rounds, z, k, size, loss, lrs in trials:
        rows = torch.randn(40, 3, generator=generator)
        seed = int(torch.randint(2**30, (), generator=generator))
        copy_, options = rows.clone(), {"k": k, "batch_size": size, "loss": loss}
        played = game(copy_, rounds, seed, z, lrs, **options)
        assert torch.equal(copy_, rows), "the data have been changed"
        check.shape(played["noise"], (rounds * (k + 1) * size, z), "all noise of the game")
        check.shape(played["seen"], (rounds * k * size,), "all real rows of the game")
        wanted, losses = replay(played, rows, rounds, z, lrs, k, size, loss)
        for name, found, expected in zip("GD", played["after"], wanted, strict=True):
            for part, value in expected.items():
                check.close(
                    found[f"player.{part}"], value, f"{name}'s {part} after {rounds} rounds"
                )
        for found, (d_loss, g_loss) in zip(played["losses"], losses, strict=True):
            assert set(found) == {"discriminator", "generator"}, "the losses have other names"
            check.close(found["discriminator"], d_loss, "D's loss in its last move")
            check.close(found["generator"], g_loss, "G's loss")
with check.part(points, "fresh data and noise", 1):
    for k, size, rounds, n in ((3, 4, 90, 64), (1, 2, 150, 20), (2, 8, 40, 8)):
        rows = torch.randn(n, 3, generator=generator)
        seed = int(torch.randint(2**30, (), generator=generator))
        options = {"k": k, "batch_size": size, "loss": "non-saturating"}
        played = game(rows, rounds, seed, 2, (1e-3, 1e-3), **options)
        other = game(rows, 1, seed + 7, 2, (1e-3, 1e-3), **options)
        noise, seen = played["noise"], played["seen"].reshape(rounds, k, size)
        check.shape(noise, (rounds * (k + 1) * size, 2), "all noise of the game")
        assert len(noise.abs().unique(dim=0)) == len(noise), "some noise came twice"
        assert not torch.equal(noise[:size], other["noise"][:size]), "two games have the same noise"
        again = game(rows, 1, seed, 2, (1e-3, 1e-3), **options)
        for what, first in (("noise", noise[: (k + 1) * size]), ("seen", seen[0].flatten())):
            assert torch.equal(again[what], first), "another game, though torch has the same seed"
        for batch in noise.reshape(rounds, k + 1, size, 2).transpose(0, 1).flatten(1, 2):
            check.close(batch.mean(0), torch.zeros(2), "the mean of the noise", atol=0.4)
            check.close(batch.T.cov(), torch.eye(2), "the covariance of the noise", atol=0.5)
            assert batch.abs().max() > 2, "the noise has no tails: it is not Gaussian"
        counts = seen.flatten().bincount(minlength=n)
        assert counts.min() > 0, "some rows of the data never come"
        assert counts.max() < 3 * counts.float().mean(), "some rows of the data come far too often"
        for i in range(k - 1):
            same = (seen[:, i] == seen[:, i + 1]).all(1)
            assert same.float().mean() < 0.5, "D's moves in a round see the same real rows"
        same = (seen[1:, 0] == seen[:-1, 0]).all(1)
        assert same.float().mean() < 0.5, "two rounds in a row see the same real rows"
        alike = (seen == seen[..., :1]).all(-1)
        assert alike.float().mean() < 0.5, "a batch holds one row many times"
        following = (seen[..., 1:] == (seen[..., :-1] + 1) % n).all(-1)
        assert following.float().mean() < 0.5, "the rows come in the order of the data"
    options = {"k": 2, "batch_size": 4, "noise_size": 3, "loss": "minimax"}
    maker, judge = ImageGenerator(3), ImageDiscriminator()  # with batch norm and with dropout
    images, noise = torch.randn(9, 1, 28, 28, generator=generator), torch.randn(6, 3)
    players = maker, judge, check.optimiser(maker, 0.1), check.optimiser(judge, 0.1)
    play_round(*players, images, **options)
    gap = (maker(noise)[:2] - maker(noise[:2])).abs().max()
    assert gap > 1e-3 and not torch.equal(judge(images), judge(images)), "training mode is left"
    check.evaluate(maker)
    check.evaluate(judge)
    play_round(*players, images, **options)
    gap = (maker(noise)[:2] - maker(noise[:2])).abs().max()
    assert gap < 1e-3 and torch.equal(judge(images), judge(images)), "evaluation mode is left"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## Play: points on a line
#
# First the game whose real density we know: the two humps from above. $G$ turns two numbers of
# noise into a point. Nobody tells it where the humps are. It is played twice, with $k = 1$ and with
# $k = 5$. In every round we measure how far $q$ is from $p$: by the earth mover's distance $W_1$ of
# lab 11, which on a line is the mean gap between sorted points.


# %%
def adam(player: nn.Module, lr: float = 1e-3) -> torch.optim.Optimizer:
    """Adam with a short memory of past gradients: the opponent makes them stale."""
    return torch.optim.Adam(player.parameters(), lr=lr, betas=(0.5, 0.999))


@torch.no_grad()
def distance(maker: nn.Module) -> Tensor:
    """W1 between 2,000 samples and as many real points."""
    made = maker(torch.randn(2_000, 2, device=line_real.device))
    chosen = line_real[torch.randint(len(line_real), (2_000,), device=line_real.device)]
    return (made.sort(0).values - chosen.sort(0).values).abs().mean()


def play_on_line(players, optimiser, rounds: int, *, k: int, loss: str, keep=()):
    """Play; gives the curves, and copies of both players from the rounds in `keep`."""
    optimisers, kept = [optimiser(player) for player in players], {}

    def step(i: int) -> dict[str, Tensor]:
        if i in keep:
            kept[i] = copy.deepcopy(players)
        losses = play_round(
            *players, *optimisers, line_real, k=k, batch_size=128, noise_size=2, loss=loss
        )
        return losses | {"W1": distance(players[0])}

    return train.run(step, rounds, state={}, seed=SEED), kept


# %% tags=["skip-execution"]
shown = (0, LINE_ROUNDS // 20, LINE_ROUNDS // 8, LINE_ROUNDS - 1)
line_runs = {}
for k in (1, 5):
    torch.manual_seed(SEED)
    players = Generator(2, 1, 32).to(profile.device()), Discriminator(1, 32).to(profile.device())
    line_runs[f"k = {k}"] = play_on_line(
        players, adam, LINE_ROUNDS, k=k, loss="non-saturating", keep=shown
    )
plot.curves(
    {name: history.curves["W1"] for name, (history, _) in line_runs.items()},
    "The distance between samples and real points over the rounds, for one and for five moves of D "
    "a round: both fall fast and then go on swaying; with five moves the distance ends smaller.",
    ylabel="W₁ to the data", xlabel="round", smooth=10,
)  # fmt: skip

# %% tags=["skip-execution"]
made, axs = plot.figure(2, len(shown), (1.9, 1.6))
for column, (i, (maker, judge)) in enumerate(line_runs["k = 5"][1].items()):
    with torch.no_grad():
        drawn = maker(torch.randn(POINTS, 2, device=profile.device()))[:, 0].cpu().numpy()
    log_q = torch.from_numpy(stats.gaussian_kde(drawn, 0.08).logpdf(line.numpy()))
    above, below = axs[:, column]
    above.hist(drawn, 80, range=(-4, 5), density=True, color=plot.COLOURS[1], alpha=0.6)
    above.plot(line, p.log_prob(line).exp(), color=plot.COLOURS[0])
    above.set(title=f"round {i}", xlim=(-4, 5), ylim=(0, 0.8), yticks=[])
    best = optimal_discriminator(p.log_prob(line), log_q)
    below.plot(line, best, color="#aaaaaa", linewidth=3)
    below.plot(line, probability(judge, line), color=plot.COLOURS[5])
    below.set(xlim=(-4, 5), ylim=(0, 1), yticks=[0, 0.5, 1], xlabel="x")
axs[0, 0].set(ylabel="p and q")
axs[1, 0].set(ylabel="D* and D")
plot.show(
    made,
    "Four rounds of the game with k = 5, from left to right. Above, samples of G as a histogram and "
    "p as a curve: first one spike between the two humps, at last two humps like those of the "
    "curve. Below, D* in grey and D in red: first D* is 0 at the spike and 1 elsewhere, at last both "
    "are nearer to one half where the points are.",
)

# %% [markdown]
# Read the panels from left to right. Where $D$ (below) is high there are too few samples; where it
# is low there are too many. The samples (above) climb its slope. Once they lie right, $D^*$ is
# about one half wherever there are points, and $D$ has nothing more to say.
#
# The curves of $W_1$ never come to rest. $G$ moves to where $D$ is high, $D$ then lowers that
# place, $G$ moves on. With $k = 5$ moves $D$ keeps up better, at the price of more work in every
# round.
#
# ### When D is too good
#
# Now $G$ starts far off, at $x = 6$, and $D$ gets a head start. Then both move in turn by plain
# gradient descent, once under each loss of $G$. (Adam would hide some of what follows: it divides
# by the size of the gradients.)

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
far_g, far_d = Generator(2, 1, 32).to(profile.device()), Discriminator(1, 32)
with torch.no_grad():
    far_g.layers[-1].bias.fill_(6.0)
    far = far_g(torch.randn(len(line_real), 2, device=profile.device()))
train.fit(
    far_d, classification, (line_real, far), steps=HEAD_START, batch_size=128, lr=5e-3, seed=SEED
)  # fmt: skip


def descent(player: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(player.parameters(), lr=0.05)


far_runs = {}
for loss in LOSSES:
    players = copy.deepcopy((far_g, far_d))
    far_runs[loss], _ = play_on_line(players, descent, FAR_ROUNDS, k=1, loss=loss)
plot.curves(
    {name: history.curves["W1"] for name, history in far_runs.items()},
    "The distance to the data over the rounds after a head start of D: under minimax G hardly "
    "moves from its start at distance six; under the non-saturating loss it is near within a few "
    "dozen rounds.",
    ylabel="W₁ to the data", xlabel="round", smooth=5,
)  # fmt: skip

# %% [markdown]
# The same players, the same start, the same steps: only the loss of $G$ differs. Under minimax $G$
# sits in the dark, because $D$ is too sure. Under the other loss it finds its way at once.
#
# ## Play: clothes
#
# Now pictures. Three things are watched in training: both losses; how many of the samples, of the
# training pictures and of test pictures that it never saw $D$ gets right; and a *moving average*
# of $G$'s weights. Two players that circle around a point are seldom at it. The average of where
# $G$ has been lately is often closer to it than $G$ itself (Yazıcı et al., 2019).


# %%
@torch.no_grad()
def accuracies(maker: nn.Module, judge: nn.Module) -> dict[str, Tensor]:
    """The share that D gets right, of training pictures, test pictures and samples."""
    judge.eval()
    chosen = torch.randint(len(x_train), (500,), device=x_train.device)
    noise = torch.randn(500, NOISE, device=x_train.device)
    found = {
        "training pictures": (judge(x_train[chosen]) > 0).float().mean(),
        "test pictures": (judge(x_test[:500]) > 0).float().mean(),
        "samples": (judge(maker(noise)) < 0).float().mean(),
    }
    judge.train()
    return found


@torch.no_grad()
def sample(maker: nn.Module, n: int) -> Tensor:
    """n pictures (n, 1, 28, 28) in [0, 1], 500 at a time; `maker` in evaluation mode."""
    noise = torch.randn(n, NOISE, device=profile.device())
    return torch.cat([(maker(z) + 1) / 2 for z in noise.split(500)])


# %% tags=["skip-execution"]
torch.manual_seed(SEED)
image_g = ImageGenerator(NOISE).to(profile.device())
image_d = ImageDiscriminator().to(profile.device())
average = train.ema(image_g, AVERAGE).eval()
image_optimisers = adam(image_g, RATE), adam(image_d, RATE)
stages, watched = {}, {}


def image_step(i: int) -> dict[str, Tensor]:
    losses = play_round(
        image_g, image_d, *image_optimisers, x_train,
        k=1, batch_size=BATCH, noise_size=NOISE, loss="non-saturating",
    )  # fmt: skip
    average.update_parameters(image_g)
    if i % 20 == 0:
        watched.update(accuracies(image_g, image_d))
    if (i + 1) % (ROUNDS // STAGES) == 0:
        stages[i + 1] = sample(average, SAMPLES)
    return losses | watched


history = train.run(image_step, ROUNDS, state={}, seed=SEED)
image_g.eval()

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
plot.grid(
    sample(average, 64),
    "Sixty-four samples of the averaged generator: T-shirts, pullovers, dresses, trousers, shoes "
    "and bags, with grain, some of them torn or mixed.",
)

# %% [markdown]
# They are clothes. They have grain, and here and there one is torn, or half of one kind and half of
# another. No picture of the training set was ever shown to $G$. It learned all of this from the
# opinions of $D$.
#
# ## When to stop
#
# A loss that falls tells how far one is. Here are the losses of both players.

# %% tags=["skip-execution"]
plot.curves(
    {"D": history.curves["discriminator"], "G": history.curves["generator"]},
    "The losses of D and of G over the rounds: a wild beginning, after which both change slowly.",
    ylabel="loss, nats", xlabel="round", smooth=20,
)  # fmt: skip
plot.curves(
    {name: history.curves[name] for name in ("training pictures", "test pictures", "samples")},
    "The share that D gets right over the rounds, of training pictures, of test pictures and of "
    "samples: after the beginning all three sway, and when D is right about more of the pictures "
    "it is right about fewer of the samples.",
    ylabel="share that D gets right", xlabel="round", smooth=60,
)  # fmt: skip

# %% tags=["skip-execution"]
print("round   loss of D   loss of G   D right: real   fake   Fréchet      IS")
scored = {}
for i, pictures in stages.items():
    recent = {
        n: sum(curve[max(i - 100, 0) : i]) / len(curve[max(i - 100, 0) : i])
        for n, curve in history.curves.items()
    }
    scored[i] = scores.score(scores.to_pixels(pictures), fashion_test.pixels, features="fashion")
    print(
        f"{i:5d} {recent['discriminator']:11.3f} {recent['generator']:11.3f} "
        f"{recent['training pictures']:15.2f} {recent['samples']:6.2f} "
        f"{scored[i]['fid_course']:9.2f} {scored[i]['is_course']:7.2f}"
    )
plot.images(
    {f"{i}": pictures[:14] for i, pictures in stages.items()},
    "Samples of the averaged generator at several times of the training, one row for each: at first "
    "vague shapes of clothes, later with necks, sleeves and heels.",
)

# %% [markdown]
# The losses do not say when to stop. Each is measured against an opponent that changes all the
# time. $D$'s loss may rise because $D$ gets worse or because $G$ gets better, and where both stay
# level, both may be getting better or nothing may happen at all.
#
# The accuracy of $D$ says a little more. If it is right about everything, $G$ has little to learn
# from. At one half, $D$ can no longer tell the two apart, which may be the merit of $G$ or the
# fault of $D$. In between, see how the curves sway against each other: $D$ leans now towards "real"
# and now towards "fake", and $G$ follows. That is the circling of the page, in a large game.
#
# So one judges the samples. The last columns do it with the *Fréchet distance on the course's
# features* (smaller is better; lab 32 builds it). One saves $G$ now and then, keeps the best, and
# stops when it has not become better for a while. Lab 35 has a loss that does tell.

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
quality = scored[max(scored)]
last = scores.score(
    scores.to_pixels(sample(image_g, SAMPLES)), fashion_test.pixels, features="fashion"
)
truth = scores.score(fashion.pixels[:SAMPLES], fashion_test.pixels, features="fashion")
for name, found in (
    ("averaged G", quality),
    ("G of the last round", last),
    ("training pictures", truth),
):
    print(f"{name:20s} Fréchet {found['fid_course']:7.2f}   IS {found['is_course']:.2f}")

# %% [markdown]
# **Exercise 9** (2 points, 15 minutes; graded by hand). In your own words: (a) After some hundred
# rounds of the minimax game $D$ is right about every sample and every picture, and $G$'s loss is
# $-0.001$ and does not change. What has happened, and what are two things that you could do? (b)
# In another run $D$ is right half of the time. Does that prove that $G$ has learned the data's
# distribution? How would you decide when to stop?

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) D has won: D(G(z)) is near 0 for every sample, so log(1 − D) is near 0 and flat. The gradient
# in the logit is D(G(z)), so next to nothing reaches G, and it stays where it is. Remedies: the
# non-saturating loss, whose gradient is 1 − D there; a weaker D, by fewer moves k, a smaller
# learning rate, dropout or noise on its input; a start nearer to the data.
#
# (b) No. At the equilibrium D* is 1/2, but D can also say 1/2 because it is too weak, has stopped
# learning, or is a step behind a G that has just moved on. Half of the answers right also says
# nothing on samples of a kind that G has dropped. The losses do not tell either, as each is
# measured against an opponent that changes. One looks at samples, measures their distance to
# held-out data (Fréchet distance and the like) at regular times, keeps the best G, and stops when
# the distance no longer falls.
# ### END SOLUTION

# %% [markdown]
# ## Record
#
# The last cell writes the numbers of this run to a file, with profile, seed, hardware and
# versions. The tables of the book are made from such files.

# %% tags=["skip-execution"]
runs = [fixed_history, history, *far_runs.values(), *(run for run, _ in line_runs.values())]
final = {n: sum(c[-100:]) / len(c[-100:]) for n, c in history.curves.items()}
numbers = {
    **quality,
    "last_round_fid_course": last["fid_course"],
    "real_fid_course": truth["fid_course"],
    "accuracy_train": final["training pictures"],
    "accuracy_test": final["test pictures"],
    "accuracy_samples": final["samples"],
    "discriminator_loss": final["discriminator"],
    "generator_loss": final["generator"],
    **{
        f"w1_k_{k}": sum(line_runs[f"k = {k}"][0].curves["W1"][-100:]) / min(100, LINE_ROUNDS)
        for k in (1, 5)
    },
    "w1_far_minimax": far_runs["minimax"].curves["W1"][-1],
    "w1_far_non_saturating": far_runs["non-saturating"].curves["W1"][-1],
    "rounds": ROUNDS,
    "parameters": records.parameter_count(image_g, image_d),
    "train_seconds": sum(run.seconds for run in runs),
    "milliseconds_per_sample_1": records.milliseconds_per_sample(lambda n: sample(average, n), 1),
    "milliseconds_per_sample_256": records.milliseconds_per_sample(
        lambda n: sample(average, n), 256
    ),
}
records.write("31_gan", numbers, seed=SEED)
print("recorded: " + ", ".join(numbers))
