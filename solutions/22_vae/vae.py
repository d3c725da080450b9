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
# # Lab 22 · Variational autoencoder
#
# In this lab you build a variational autoencoder (VAE) from its equations, prove on a small
# model that the equations hold, train it on pictures of clothes and measure what it learned.
# The page [Variational inference](../../book/22_vae.md) derives everything that you write here.
#
# You write nine answers, worth 20 points together. After each stands a check that you can run at
# once. It looks at your answer from several sides and says what it finds. The points are given
# later, by tests that you do not see and that try more cases.

# %%
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gmlib import check, data, plot, profile, records, scores, train

# %% [markdown]
# ## Sizes
#
# All sizes of the lab stand here, one for each profile. Nothing below knows which profile runs.

# %%
SEED = 0
LEVELS = 8  # grey levels of a clothes pixel
LATENTS = 16  # dimensions of a code
FASHION = profile.choose(test="fashion_small", quick="fashion_small", full="fashion")
MNIST = profile.choose(test="mnist_small", quick="mnist_small", full="mnist")
TRAIN_IMAGES = profile.choose(test=512, quick=None, full=None)  # None: all there are
TEST_IMAGES = profile.choose(test=256, quick=2_000, full=10_000)
BATCH = profile.choose(test=48, quick=48, full=128)
STEPS = profile.choose(test=3, quick=860, full=12_000)
MAP_STEPS = profile.choose(test=3, quick=300, full=6_000)
MNIST_STEPS = profile.choose(test=3, quick=360, full=12_000)
PIXEL_STEPS = profile.choose(test=3, quick=200, full=4_000)
LR = profile.choose(test=2e-3, quick=3e-3, full=2e-3)  # the highest rate of learning
PIXEL_LR = profile.choose(test=2e-3, quick=5e-3, full=2e-3)
SAMPLES = profile.choose(test=256, quick=2_000, full=10_000)  # drawn for the scores
IMPORTANCE_IMAGES = profile.choose(test=4, quick=200, full=2_000)
IMPORTANCE_SAMPLES = profile.choose(test=8, quick=500, full=5_000)
PIXEL_SAMPLES = profile.choose(test=1, quick=32, full=64)

# %% [markdown]
# ## Images as grey levels
#
# A pixel of Fashion-MNIST has 256 grey levels. We keep eight. With few levels, the model can
# give every level of every pixel its own probability, and $\log p(x)$ is a true log-probability
# in nats. It can then be compared with that of any other model of this course.
#
# An image is a tensor of whole numbers between 0 and 7.

# %%
fashion = data.load(FASHION, "train", TRAIN_IMAGES)
fashion_test = data.load(FASHION, "test", TEST_IMAGES)
x_train = data.to_levels(fashion.pixels, LEVELS)
x_test = data.to_levels(fashion_test.pixels, LEVELS)

plot.images(
    {
        "256 levels": fashion_test.pixels[:12],
        "8 levels": x_test[:12] / (LEVELS - 1),
    },
    "Twelve pieces of clothing with 256 and with 8 grey levels: hardly to be told apart.",
)

# %% [markdown]
# ## 1 · The distance to the prior
#
# The encoder turns an image $x$ into a Gaussian $q(z\mid x) = \mathcal N(\mu, \mathrm{diag}\,
# \sigma^2)$ over codes $z \in \mathbb R^D$. The prior is $p(z) = \mathcal N(0, I)$. The second
# term of the bound that we maximise is the distance from the one to the other.
#
# **Exercise 1** (2 points, 10 minutes). Write the Kullback–Leibler divergence in closed form:
#
# $$\mathrm{KL}\big(q(z\mid x)\,\|\,p(z)\big)
#   = \tfrac12 \sum_{d=1}^{D} \big(\mu_d^2 + \sigma_d^2 - \log \sigma_d^2 - 1\big).$$
#
# The encoder gives $\log\sigma^2$ and not $\sigma$: every real number is allowed, and no
# variance can become negative.


# %% nbgrader={"grade": false, "grade_id": "kl_to_prior", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl_to_prior(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL divergence from N(μ, diag σ²) to N(0, I), one value a code, in nats.

    Args:
        mu: float (N, D), the means.
        logvar: float (N, D), log σ².

    Returns:
        float (N,), not negative, differentiable in both arguments.

    Kingma and Welling (2014), appendix B.
    """
    ### BEGIN SOLUTION
    return 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum(dim=1)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "kl_to_prior_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
zero, one = torch.zeros(1, 3), torch.ones(1, 3)
check.close(kl_to_prior(zero, zero), [0.0], "KL of the prior to itself")
check.close(
    kl_to_prior(2 * one, zero), [6.0], "KL for μ = 2 in three dimensions, σ = 1",
    hint="Each dimension adds μ²/2; the dimensions are summed, not averaged.",
)  # fmt: skip
for size in (2.0, -2.0):
    check.close(
        kl_to_prior(zero, size * one), [1.5 * (math.exp(size) - size - 1)],
        f"KL for log σ² = {size:g}, μ = 0",
        hint="The second argument is log σ²: σ² is its exponential. Nothing is clamped.",
    )  # fmt: skip
check.shape(kl_to_prior(torch.zeros(5, 3), torch.zeros(5, 3)), (5,), "KL of five codes")
_, (d_mu, d_logvar) = check.vjp(kl_to_prior, (2 * one, 2 * one), torch.ones(1))
check.close(d_mu, 2 * one, "the gradient of the KL in μ", hint="Is there a detach or a .data?")
check.close(
    d_logvar, (math.exp(2) - 1) / 2 * one, "the gradient of the KL in log σ²",
    hint="Is there a detach or a .data?",
)  # fmt: skip
print("kl_to_prior: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "kl_to_prior_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 1, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
mu = torch.randn(64, 5, generator=generator) * 2
logvar = torch.randn(64, 5, generator=generator) * 3
mu[:2], logvar[:2] = mu[:2] / 20, logvar[:2] / 20  # almost the prior
logvar[2], logvar[3] = -15, 12
wide = torch.randn(2, 3, 40, generator=generator) - torch.tensor([0.0, 4.0]).view(2, 1, 1)


def true_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    q = torch.distributions.Normal(mu, (logvar / 2).exp())
    return torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)


expected = true_kl(mu, logvar)
with check.part(points, "the value", 1):
    for name, inputs in {
        "64 codes": (mu, logvar),
        "one code": (mu[:1], logvar[:1]),
        "as many codes as dimensions": (mu[:5], logvar[:5]),
        "codes of 40 dimensions": wide,
    }.items():
        copies = [t.clone() for t in inputs]
        check.close(kl_to_prior(*copies), true_kl(*inputs), f"KL of {name}", atol=3e-5)
        for copy, before in zip(copies, inputs, strict=True):
            assert torch.equal(copy, before), "the function has changed its arguments"
with check.part(points, "the gradient", 1):
    cotangent = torch.randn(64, generator=generator)
    (value,), (d_mu, d_logvar) = check.vjp(kl_to_prior, (mu, logvar), cotangent)
    check.close(value, expected, "KL of random codes", atol=3e-5)
    check.close(d_mu, cotangent[:, None] * mu, "the gradient in μ")
    check.close(d_logvar, cotangent[:, None] * (logvar.exp() - 1) / 2, "the gradient in log σ²")
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 2 · A sample that can be differentiated
#
# The first term of the bound is an average over $z \sim q(z\mid x)$. To learn the encoder, the
# gradient has to pass through the sample back to $\mu$ and $\sigma$. Drawing a number is not a
# differentiable act. Scaling and shifting one is.
#
# **Exercise 2** (2 points, 10 minutes). Draw $z$ by scaling and shifting noise that depends on
# nothing:
#
# $$z = \mu + \sigma \odot \varepsilon, \qquad \varepsilon \sim \mathcal N(0, I).$$


# %% nbgrader={"grade": false, "grade_id": "reparameterise", "locked": false, "schema_version": 3, "solution": true, "task": false}
def reparameterise(mu: Tensor, logvar: Tensor) -> Tensor:
    """One sample of N(μ, diag σ²) for each row, differentiable in both arguments.

    Args:
        mu: float (N, D). logvar: float (N, D), log σ².

    Returns:
        float (N, D); every entry has noise of its own.

    Kingma and Welling (2014), section 2.4.
    """
    ### BEGIN SOLUTION
    return mu + (logvar / 2).exp() * torch.randn_like(mu)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "reparameterise_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
mu, logvar = torch.full((20_000, 2), 3.0), torch.full((20_000, 2), math.log(4.0))
many = reparameterise(mu, logvar)
check.shape(many, (20_000, 2), "the samples")
assert many.dtype == mu.dtype, f"the samples should be {mu.dtype} like μ; found {many.dtype}"
check.close(many.mean(0), [3.0, 3.0], "the mean of many samples with μ = 3", atol=0.1)
check.close(
    many.std(0), [2.0, 2.0], "the standard deviation of many samples with log σ² = log 4",
    atol=0.1, hint="The standard deviation is σ = exp(log σ² / 2).",
)  # fmt: skip
assert not torch.equal(many[:, 0], many[:, 1]), "every entry of a row should have its own noise"
assert not torch.equal(many[0], many[1]), "every row should have its own noise"
assert not torch.equal(many, reparameterise(mu, logvar)), "every call should draw new noise"
within = ((many - 3).abs() < 2).float().mean()
check.close(
    within, 0.683, "the share of samples within one σ of μ", atol=0.02,
    hint="The noise is Gaussian, not uniform.",
)  # fmt: skip
(z,), (d_mu, d_logvar) = check.vjp(reparameterise, (mu, logvar), torch.ones_like(mu))
check.close(d_mu, torch.ones_like(mu), "the gradient of z in μ", hint="z = μ + …")
check.close(
    d_logvar, (z - mu) / 2, "the gradient of z in log σ²",
    hint="It is (z − μ)/2. Is σ detached, or was z drawn by a function with no gradient?",
)  # fmt: skip
print("reparameterise: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "reparameterise_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 2, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
mu = torch.randn(1, 4, generator=generator).repeat(40_000, 1)
logvar = torch.tensor([[-12.0, -1.0, 3.0, 12.0]]).repeat(40_000, 1)
with check.part(points, "the distribution", 1):
    z = reparameterise(mu.clone(), logvar.clone())
    check.shape(z, (40_000, 4), "the samples")
    assert z.dtype == mu.dtype, f"samples should have the dtype of μ, {mu.dtype}; found {z.dtype}"
    noise = (z - mu) / (logvar / 2).exp()
    for power, moment in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        found = (noise**power).mean(0)
        check.close(found, torch.full((4,), moment), f"moment {power} of the noise", atol=0.35)
    check.close(noise.T.cov(), torch.eye(4), "the covariance of the noise", atol=0.05)
    again = reparameterise(mu, logvar)
    assert (again - z).abs().mean() > 0.01, "the noise must be new"
    for n, d in ((3, 3), (1, 2)):  # all entries of a batch, seen over many batches
        with torch.no_grad():
            drawn = [reparameterise(torch.ones(n, d), torch.zeros(n, d)) for _ in range(300)]
        check.shape(drawn[0], (n, d), "the samples")
        noise = torch.stack(drawn).reshape(300, n * d) - 1
        check.close(noise.mean(0), torch.zeros(n * d), "the mean of the noise", atol=0.35)
        check.close(noise.T.cov(), torch.eye(n * d), "noise of a batch: covariance", atol=0.55)
with check.part(points, "the gradient", 1):
    cotangent = torch.randn(40_000, 4, generator=generator)
    inputs = mu.clone(), logvar.clone()
    (z,), (d_mu, d_logvar) = check.vjp(reparameterise, (mu, logvar), cotangent)
    check.close(d_mu, cotangent, "the gradient in μ")
    check.close(d_logvar, cotangent * (z - mu) / 2, "the gradient in log σ²", rtol=1e-3, atol=1e-4)
    spread = ((z - mu) / (logvar / 2).exp()).std()
    check.close(spread, 1.0, "the standard deviation of the noise", atol=0.05)
    reparameterise(*inputs)
    for copy, before in zip(inputs, (mu, logvar), strict=True):
        assert torch.equal(copy, before), "the function has changed its arguments"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 3 · Encoder and decoder
#
# **Exercise 3** (3 points, 25 minutes). Write both networks as one module. The encoder reads an
# image and gives $\mu$ and $\log\sigma^2$. The decoder reads a code and gives, for every pixel,
# one *logit* for each grey level: numbers whose softmax are the probabilities.
#
# A good start: two convolutions of stride 2 (28 → 14 → 7), 32 and 64 maps, then a linear layer
# to $2D$ numbers; and the same way back with transposed convolutions. Feed the encoder with
# levels scaled to $[-1, 1]$. Put no activation after the last layer of either network: a
# logarithm of a variance and a logit may take any sign.


# %% nbgrader={"grade": false, "grade_id": "vae", "locked": false, "schema_version": 3, "solution": true, "task": false}
class VAE(nn.Module):
    """Encoder q(z|x) and decoder p(x|z) for images of 28×28 pixels.

    Args:
        latents: D, the dimensions of a code.
        levels: L, the grey levels of a pixel.
    """

    ### BEGIN SOLUTION
    def __init__(self, latents: int, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(64 * 7 * 7, 256), nn.SiLU(), nn.Linear(256, 2 * latents),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(latents, 256), nn.SiLU(), nn.Linear(256, 64 * 7 * 7), nn.SiLU(),
            nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1), nn.SiLU(),
            nn.ConvTranspose2d(32, levels, 4, stride=2, padding=1),
        )  # fmt: skip

    ### END SOLUTION

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """int64 (N, 1, 28, 28) in 0 … L−1 → μ and log σ², each float (N, D)."""
        ### BEGIN SOLUTION
        scaled = 2 * x.float() / (self.levels - 1) - 1
        return self.encoder(scaled).chunk(2, dim=1)
        ### END SOLUTION

    def decode(self, z: Tensor) -> Tensor:
        """float (N, D) → logits (N, L, 28, 28)."""
        ### BEGIN SOLUTION
        return self.decoder(z)
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "vae_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
model, x, z = VAE(latents=5, levels=4), torch.randint(4, (6, 1, 28, 28)), torch.randn(6, 5)
mu, logvar = model.encode(x)
check.shape(mu, (6, 5), "μ of six images")
check.shape(logvar, (6, 5), "log σ² of six images")
check.shape(model.decode(z), (6, 4, 28, 28), "the logits of six codes")
check.evaluate(model)
push = torch.randn(6, 4, 28, 28)
check.descend(model.encode, model, x, list(torch.randn(2, 6, 5)), lr=1e-4)
check.descend(model.decode, model, z, push, lr=1e-4)
mu, logvar = model.encode(x)
for name, value in (("μ", mu), ("log σ²", logvar), ("a logit", model.decode(z))):
    assert value.min() < 0, f"{name} should be able to be negative; is an activation after it?"
check.close(
    model.encode(x)[0], mu, "μ of the same images, in evaluation mode", atol=1e-4,
    hint="encode gives the parameters of q(z|x). The sample is drawn elsewhere.",
)  # fmt: skip
check.close(
    model.encode(x[:1])[0], mu[:1], "μ of an image alone", atol=1e-3,
    hint="In evaluation mode an image must not depend on the others of its batch.",
)  # fmt: skip
greys = model.encode(torch.arange(4)[:, None, None, None].expand(-1, 1, 28, 28))[0]
assert len(greys.unique(dim=0)) == 4, "two grey levels look the same; a whole-number division?"
ones = torch.ones_like(mu)
for name, cotangents in (("μ", (ones, 0 * ones)), ("log σ²", (0 * ones, ones))):
    found = check.parameter_gradients(model.encode, model, x, cotangents)
    assert any(g.any() for g in found.values()), f"no weight learns from {name}; is it detached?"
found = check.parameter_gradients(model.decode, model, z, push)
assert any(g.any() for g in found.values()), "no weight learns from the logits; is one detached?"
_, (d_z,) = check.vjp(model.decode, z, push)
for d in range(5):
    assert d_z[:, d].any(), f"the logits have no gradient in z[{d}]; is z detached or cut?"
print("VAE: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "vae_test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 3, 3 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
latents, levels = 7, 8  # the last part has others


def images(n: int, levels: int) -> Tensor:
    return torch.randint(levels, (n, 1, 28, 28), generator=generator)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def gap(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a share of the spread of `a` over its rows."""
    return ((a - b).abs().max() / a.std(0).mean()).item()


def rank(value: Tensor) -> int:
    """How many of the columns vary independently of one another."""
    value = value.double()
    return int(torch.linalg.matrix_rank(value - value.mean(0), rtol=1e-5))


with check.part(points, "the encoder", 1):
    model, x, new = VAE(latents, levels), images(12, levels), images(1, levels)
    check.evaluate(model)
    x[3] %= 2
    copy = x.clone()
    found = model.encode(copy)
    assert len(found) == 2, f"expected μ and log σ², found {len(found)} outputs"
    assert torch.equal(copy, x), "the encoder has changed its images"
    check.descend(model.encode, model, x, [normal(12, latents)] * 2, lr=1e-4)
    outputs, alone = model.encode(x), model.encode(x[3:4])
    changed = x[3].repeat(5, 1, 1, 1)  # a quarter drawn anew, and the image mirrored
    for i, (row, column) in enumerate(((0, 0), (0, 14), (14, 0), (14, 14))):
        quarter = (0, slice(row, row + 14), slice(column, column + 14))
        changed[i][quarter] = new[0][quarter]
    changed[4] = changed[4].flip(2)
    changed = model.encode(changed)
    plain = model.encode(torch.arange(levels)[:, None, None, None].expand(-1, 1, 28, 28))
    for i, name in enumerate(("μ", "log σ²")):
        value = outputs[i]
        check.shape(value, (12, latents), name)
        assert gap(value, model.encode(x)[i]) < 0.01, f"{name} of the same images differs"
        spread = value.std(0).mean()
        assert (value[3] - alone[i][0]).abs().max() < 0.01 * spread, (
            f"{name} of an image depends on the others"
        )
        assert rank(value) == latents, f"a dimension of {name} says nothing of its own"
        moved = (changed[i] - alone[i]).abs().amax(1)
        assert moved.min() > 1e-4 * spread, f"{name} does not see all of an image"
        steps = (plain[i][1:] - plain[i][:-1]).abs().amax(1)
        assert steps.min() > 1e-4 * spread, f"two grey levels look the same to {name}"
    assert gap(*outputs) > 0.01, "μ and log σ² are the same numbers"
with check.part(points, "the decoder", 1):
    model, z = VAE(latents, levels), normal(6, latents)
    check.evaluate(model)
    copy = z.clone()
    check.shape(model.decode(copy), (6, levels, 28, 28), "the logits")
    assert torch.equal(copy, z), "the decoder has changed its codes"
    check.descend(model.decode, model, z, normal(6, levels, 28, 28), lr=1e-4)
    (logits,), (gradient,) = check.vjp(model.decode, z, normal(6, levels, 28, 28))
    model.encode(images(6, levels))  # must leave no trace in the decoder
    again, spread = model.decode(z[3:4])[0], logits.std(0).mean()
    assert (logits[3] - again).abs().max() < 0.01 * spread, "logits depend on more than the code"
    effects = model.decode(z[3] + 3 * torch.eye(latents)) - again
    for d, effect in enumerate(effects[:, :-1] - effects[:, 1:]):
        assert effect.abs().max() > 1e-4 * spread, f"z[{d}] has no effect on the probabilities"
        for axis in (1, 2):
            varies = effect - effect.mean(axis, keepdim=True)
            assert varies.abs().max() > 1e-4 * spread, "all rows, or all columns, are the same"
        assert gradient[:, d].abs().max() > 0, f"the gradient in z[{d}] is zero"
    free = rank((logits - logits.mean(1, keepdim=True)).movedim(1, -1).reshape(-1, levels))
    assert free >= levels - 1, f"{levels} levels, but their logits vary in {free} ways only"
with check.part(points, "both networks learn", 1):
    model, other, x, z = VAE(12, 2), VAE(12, 2), images(3, 2), normal(3, 12)
    check.evaluate(model)
    check.evaluate(other)
    start = check.state(model)
    check.load_state(other, start)
    for value, copy in zip(model.encode(x), other.encode(x), strict=True):
        check.close(copy, value, "the encoder of a model with the same state", atol=1e-4)
    check.close(other.decode(z), model.decode(z), "the decoder with the same state", atol=1e-4)
    for sign in (1, -1):
        check.load_state(model, start)
        for step in range(11):  # ever longer
            lowest = [(sign * value).min() for value in model.encode(x[:1])]
            if min(lowest) > 2:
                break
            pull = [torch.full((1, 12), -1.0 * sign)] * 2
            check.descend(model.encode, model, x[:1], pull, lr=1e-5 * 4**step)
        for name, value in zip(("μ", "log σ²"), lowest, strict=True):
            assert value > 2, f"{name} can not learn to be {2 * sign}: is it bounded or detached?"
    for level in (0, 1):
        check.load_state(model, start)
        pull = torch.ones(1, 2, 28, 28)
        pull[:, level] = -1
        for step in range(11):
            logits = model.decode(z[:1])
            margin = (logits[:, level] - logits[:, 1 - level]).min()
            if margin > 4 and logits.min() < -1:
                break
            check.descend(model.decode, model, z[:1], pull, lr=1e-5 * 4**step)
        assert margin > 4, "the decoder can not learn to be sure of a level; is it bounded?"
        assert logits.min() < -1, "a logit can not learn to be negative"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 4 · The bound
#
# The decoder says how probable each level of each pixel is. Given the code, the pixels are
# independent, so the log-probability of an image is a sum over its pixels.
#
# **Exercise 4** (2 points, 10 minutes). With the logits $\ell$ of a pixel,
# $p(x_i = k \mid z) = e^{\ell_{ik}} / \sum_j e^{\ell_{ij}}$. Write
#
# $$\log p(x \mid z) = \sum_{i=1}^{784} \log p(x_i \mid z).$$


# %% nbgrader={"grade": false, "grade_id": "log_likelihood", "locked": false, "schema_version": 3, "solution": true, "task": false}
def log_likelihood(x: Tensor, logits: Tensor) -> Tensor:
    """log p(x|z) of each image, in nats.

    Args:
        x: int64 (N, 1, H, W), grey levels 0 … L−1.
        logits: float (N, L, H, W), of any size: −1000 must not give infinity.

    Returns:
        float (N,), not positive: the sum over pixels, not the mean.
    """
    ### BEGIN SOLUTION
    return -F.cross_entropy(logits, x[:, 0], reduction="none").sum(dim=(1, 2))
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "log_likelihood_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
x = torch.tensor([[[[0, 1], [2, 3]]]])
flat = torch.zeros(1, 4, 2, 2)
check.close(
    log_likelihood(x, flat), [-4 * math.log(4)], "log p of four pixels, four equal levels",
    hint="Each pixel adds −log 4; pixels are summed.",
)  # fmt: skip
sure = flat.scatter(1, x, 1000.0)
check.close(
    log_likelihood(x, sure), [0.0], "log p of pixels that the decoder is sure of",
    hint="Is the softmax over the levels, dimension 1?",
)  # fmt: skip
check.close(
    log_likelihood(x.flip(2), sure), [-4000.0], "log p where the decoder is sure and wrong",
    hint="A softmax rounds e^−1000 to 0, whose logarithm is −∞: use log-softmax.",
)  # fmt: skip
check.shape(log_likelihood(x.expand(5, -1, -1, -1), flat.expand(5, -1, -1, -1)), (5,), "log p")
_, (gradient,) = check.vjp(lambda logits: log_likelihood(x, logits), flat, torch.ones(1))
check.close(
    gradient, F.one_hot(x[:, 0], 4).permute(0, 3, 1, 2) - 0.25, "the gradient in the logits",
    hint="It is 1 − p for the level that is there and −p for the others.",
)  # fmt: skip
print("log_likelihood: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "log_likelihood_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 4, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def random_images(levels: int, *sizes: int) -> tuple[Tensor, Tensor, Tensor]:
    """x (N, 1, H, W), logits (N, L, H, W) and log p of each image, (N,)."""
    x = torch.randint(levels, (sizes[0], 1, *sizes[1:]), generator=generator)
    logits = torch.randn(sizes[0], levels, *sizes[1:], generator=generator) * 3
    pixels = torch.distributions.Categorical(logits=logits.permute(0, 2, 3, 1))
    return x, logits, pixels.log_prob(x[:, 0]).sum((1, 2))


x, logits, expected = random_images(6, 9, 5, 7)
with check.part(points, "the value", 1):
    for levels, *sizes in ((6, 9, 5, 7), (12, 1, 5, 7), (3, 4, 4, 4), (5, 1, 1, 6), (2, 2, 30, 31)):
        some, theirs, wanted = random_images(levels, *sizes)
        copies = some.clone(), theirs.clone()
        what = f"log p of {sizes[0]} images of {sizes[1]}×{sizes[2]} pixels, {levels} levels"
        check.close(log_likelihood(*copies), wanted, what)
        for copy, before in zip(copies, (some, theirs), strict=True):
            assert torch.equal(copy, before), "the function has changed its arguments"
    check.close(
        log_likelihood(x, logits + 50), expected, "log p with all logits raised by 50", rtol=1e-3
    )
    two = torch.randint(2, (9, 1, 5, 7), generator=generator)
    bernoulli = torch.distributions.Bernoulli(logits=logits[:, 1:2] - logits[:, :1])
    check.close(
        log_likelihood(two, logits[:, :2]),
        bernoulli.log_prob(two.float()).sum((1, 2, 3)),
        "log p of two levels",
    )
with check.part(points, "gradient and extremes", 1):
    cotangent = torch.randn(9, generator=generator)
    onehot = F.one_hot(x[:, 0], 6).permute(0, 3, 1, 2)
    wanted = cotangent[:, None, None, None] * (onehot - logits.softmax(1))
    _, (gradient,) = check.vjp(lambda l: log_likelihood(x, l), logits, cotangent)
    check.close(gradient, wanted, "the gradient in the logits")
    (value,), (gradient,) = check.vjp(lambda l: log_likelihood(x, l), 400 * logits, cotangent)
    extreme = torch.distributions.Categorical(logits=400 * logits.permute(0, 2, 3, 1))
    check.close(value, extreme.log_prob(x[:, 0]).sum((1, 2)), "log p of extreme logits")
    assert gradient.isfinite().all(), "the gradient at extreme logits is not finite"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# **Exercise 5** (2 points, 10 minutes). Put both terms together. For one sample $z$ of
# $q(z\mid x)$ and the logits that the decoder gives for it, write the estimate of the evidence
# lower bound
#
# $$\mathcal L(x) = \log p(x\mid z) - \mathrm{KL}\big(q(z\mid x)\,\|\,p(z)\big)
#   \;\lesssim\; \log p(x).$$


# %% nbgrader={"grade": false, "grade_id": "elbo", "locked": false, "schema_version": 3, "solution": true, "task": false}
def elbo(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """One-sample estimate of the evidence lower bound of each image, in nats.

    Args:
        x: int64 (N, 1, H, W), grey levels 0 … L−1.
        logits: float (N, L, H, W), decoded from one sample of q(z|x) for each image.
        mu, logvar: float (N, D), the parameters of q(z|x).

    Returns:
        float (N,): larger is better.

    Kingma and Welling (2014), equation 10 with one sample.
    """
    ### BEGIN SOLUTION
    return log_likelihood(x, logits) - kl_to_prior(mu, logvar)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "elbo_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
x = torch.zeros(3, 1, 2, 2, dtype=torch.long)
even, nothing = torch.zeros(3, 2, 2, 2), torch.zeros(3, 5)
check.close(
    elbo(x, even, nothing, nothing), [-4 * math.log(2)] * 3, "ELBO where q is the prior",
    hint="Then only the reconstruction term is left.",
)  # fmt: skip
shifts = torch.tensor([0.0, 1.0, 2.0])
check.close(
    elbo(x, even, nothing + shifts[:, None], nothing), -4 * math.log(2) - 2.5 * shifts**2,
    "ELBO of images with μ = 0, 1 and 2",
    hint="A code further from the prior lowers the bound, of its own image only.",
)  # fmt: skip
_, (d_mu,) = check.vjp(lambda mu: elbo(x, even, mu, nothing), nothing + 1, torch.ones(3))
check.close(
    d_mu, -torch.ones(3, 5), "the gradient of the ELBO in μ",
    hint="With the logits held, it is −μ, from the KL. Is something detached?",
)  # fmt: skip
print("elbo: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "elbo_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 5, 2 points.
### BEGIN HIDDEN TESTS
generator = check.generator()
x = torch.randint(6, (9, 1, 5, 7), generator=generator)
onehot = F.one_hot(x[:, 0], 6).permute(0, 3, 1, 2)
logits = torch.randn(9, 6, 5, 7, generator=generator)
logits[0], logits[1] = 30 * onehot[0], 300 * logits[1]  # sure and right, sure and wrong
mu, logvar = torch.randn(2, 9, 4, generator=generator)
mu[0], logvar[0], logvar[2] = mu[0] / 20, logvar[0] / 20, torch.tensor([-12.0, -6.0, 6.0, 8.0])
pixels = torch.distributions.Categorical(logits=logits.permute(0, 2, 3, 1))
q = torch.distributions.Normal(mu, (logvar / 2).exp())
kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
expected = pixels.log_prob(x[:, 0]).sum((1, 2)) - kl
cotangent = torch.randn(9, generator=generator)
(value,), (d_logits, d_mu, d_logvar) = check.vjp(
    lambda *inputs: elbo(x, *inputs), (logits, mu, logvar), cotangent
)
check.close(value, expected, "the ELBO of random images")
wanted = cotangent[:, None, None, None] * (onehot - logits.softmax(1))
check.close(d_logits, wanted, "the gradient in the logits")
check.close(d_mu, -cotangent[:, None] * mu, "the gradient in μ")
check.close(d_logvar, -cotangent[:, None] * (logvar.exp() - 1) / 2, "the gradient in log σ²")
inputs = [t[3:4].clone() for t in (x, logits, mu, logvar)]
check.close(elbo(*inputs), expected[3:4], "the ELBO of one image")
for copy, before in zip(inputs, (x, logits, mu, logvar), strict=True):
    assert torch.equal(copy, before[3:4]), "the function has changed its arguments"
### END HIDDEN TESTS

# %% [markdown]
# ## 5 · A model in which everything is known
#
# Is the bound a bound? In a VAE nobody can say, because $\log p(x)$ is not known. There is one
# model in which it is: linear, with Gaussian noise.
#
# $$z \sim \mathcal N(0, I_D), \qquad x \mid z \sim \mathcal N(Wz + b,\; s^2 I_P).$$
#
# Its posterior is a Gaussian again, and $x$ itself is Gaussian (Tipping and Bishop, 1999):
#
# $$\begin{aligned}
# p(z\mid x) &= \mathcal N\big(S\,W^\top (x-b)/s^2,\; S\big), \quad
#   S = \big(I + W^\top W / s^2\big)^{-1}, \\
# p(x) &= \mathcal N\big(b,\; W W^\top + s^2 I\big).
# \end{aligned}$$
#
# For any Gaussian $q(z) = \mathcal N(\mu, \mathrm{diag}\,\sigma^2)$ the first term of the bound
# has a closed form as well, with $w_d$ the columns of $W$:
#
# $$\mathbb E_q \log p(x\mid z) = -\tfrac P2 \log(2\pi s^2)
#   - \tfrac{1}{2 s^2}\Big(\|x - b - W\mu\|^2 + \textstyle\sum_d \sigma_d^2 \|w_d\|^2\Big).$$
#
# **Exercise 6** (3 points, 30 minutes). Write the posterior, $\log p(x)$ and the exact bound.
# The check then adds $\mathrm{KL}(q \| p(z\mid x))$ to your bound and finds $\log p(x)$, to
# five digits, whatever $q$ is. That sum is the second derivation on the page, as numbers.


# %% nbgrader={"grade": false, "grade_id": "linear_gaussian", "locked": false, "schema_version": 3, "solution": true, "task": false}
def linear_posterior(x: Tensor, W: Tensor, b: Tensor, s: float) -> tuple[Tensor, Tensor]:
    """Mean (N, D) and covariance (D, D) of p(z|x) for z ~ N(0, I), x|z ~ N(Wz + b, s²I).

    Args: x: float64 (N, P). W: (P, D). b: (P,). s: the standard deviation of the noise.
    """
    ### BEGIN SOLUTION
    identity = torch.eye(W.shape[1], dtype=W.dtype)
    covariance = torch.linalg.inv(identity + W.T @ W / s**2)
    return (x - b) @ W @ covariance / s**2, covariance
    ### END SOLUTION


def linear_log_marginal(x: Tensor, W: Tensor, b: Tensor, s: float) -> Tensor:
    """log p(x) in nats, (N,), of the same model; arguments as above."""
    ### BEGIN SOLUTION
    covariance = W @ W.T + s**2 * torch.eye(len(b), dtype=W.dtype)
    return torch.distributions.MultivariateNormal(b, covariance).log_prob(x)
    ### END SOLUTION


def linear_elbo(x: Tensor, mu: Tensor, logvar: Tensor, W: Tensor, b: Tensor, s: float) -> Tensor:
    """The exact ELBO in nats, (N,), for q(z) = N(μ, diag σ²) with mu, logvar (N, D)."""
    ### BEGIN SOLUTION
    squares = ((x - b - mu @ W.T) ** 2).sum(1) + logvar.exp() @ (W**2).sum(0)
    expected = -0.5 * (len(b) * math.log(2 * math.pi * s**2) + squares / s**2)
    return expected - kl_to_prior(mu, logvar)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "linear_gaussian_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
W, b, s = torch.randn(6, 2, dtype=torch.float64), torch.randn(6, dtype=torch.float64), 0.7
x, mu, logvar = (torch.randn(4, d, dtype=torch.float64) for d in (6, 2, 2))
mean, covariance = linear_posterior(x, W, b, s)
posterior = torch.distributions.MultivariateNormal(mean, covariance)
q = torch.distributions.MultivariateNormal(mu, torch.diag_embed(logvar.exp()))
gap = torch.distributions.kl_divergence(q, posterior)
bound, evidence = linear_elbo(x, mu, logvar, W, b, s), linear_log_marginal(x, W, b, s)
for i in range(4):
    print(
        f"ELBO {bound[i]:9.4f} + KL(q, posterior) {gap[i]:9.4f} = {bound[i] + gap[i]:9.4f}", end=""
    )
    print(f"    log p(x) {evidence[i]:9.4f}")
check.close(bound + gap, evidence, "ELBO + KL(q ‖ posterior)", rtol=1e-8, hint="It is log p(x).")
print("linear-Gaussian model: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "linear_gaussian_test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 6, 3 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
Normal = torch.distributions.MultivariateNormal
exact = {"rtol": 1e-9, "atol": 1e-9}


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


for N, P, D, s in ((8, 5, 3, 0.4), (1, 4, 4, 1.7)):
    W, b, x, mu, logvar = draw(P, D), draw(P), draw(N, P) * 2, draw(N, D), draw(N, D) * 2
    noise, eye = s**2 * torch.eye(P).double(), torch.eye(D).double()
    evidence = Normal(b, W @ W.T + noise).log_prob(x)
    S = torch.linalg.inv(eye + W.T @ W / s**2)
    posterior = Normal((x - b) @ W @ S / s**2, S)
    q = Normal(mu, torch.diag_embed(logvar.exp()))
    bound = evidence - torch.distributions.kl_divergence(q, posterior)
    inputs = x, mu, logvar, W, b
    copies = x1, mu1, logvar1, W1, b1 = [t.clone() for t in inputs]
    with check.part(points, f"the posterior, {P} pixels", 0.5):
        mean, covariance = linear_posterior(x1, W1, b1, s)
        check.close(mean, posterior.mean, "the posterior's mean", **exact)
        check.close(covariance, S, "the posterior's covariance", **exact)
        z = draw(N, D)
        joint = Normal(torch.zeros(D).double(), eye).log_prob(z)
        joint = joint + Normal(z @ W.T + b, noise).log_prob(x)
        found = joint - Normal(mean, covariance).log_prob(z)
        check.close(found, evidence, "Bayes' rule", rtol=1e-6)
    with check.part(points, f"log p(x), {P} pixels", 0.5):
        check.close(linear_log_marginal(x1, W1, b1, s), evidence, "log p(x)", **exact)
    with check.part(points, f"the bound, {P} pixels", 0.5):
        check.close(linear_elbo(x1, mu1, logvar1, W1, b1, s), bound, "the ELBO", **exact)
        for copy, before in zip(copies, inputs, strict=True):
            assert torch.equal(copy, before), "a function has changed its arguments"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## Train
#
# The loss is minus the ELBO. Both of its terms are recorded, because their sum hides what
# happens: a model that has stopped using its code has a KL of zero and looks healthy otherwise.


# %%
def vae_loss(model: VAE, x: Tensor) -> dict[str, Tensor]:
    """−ELBO averaged over a batch x, int64 (N, 1, 28, 28), with its two terms, in nats."""
    mu, logvar = model.encode(x)
    logits = model.decode(reparameterise(mu, logvar))
    return {
        "loss": -elbo(x, logits, mu, logvar).mean(),
        "reconstruction": -log_likelihood(x, logits).mean(),
        "KL": kl_to_prior(mu, logvar).mean(),
    }


# %% tags=["skip-execution"]
torch.manual_seed(SEED)
vae = VAE(LATENTS, LEVELS)
history = train.fit(
    vae, vae_loss, (x_train,), steps=STEPS, batch_size=BATCH, lr=LR, seed=SEED,
    checkpoint="22_vae_fashion",
)  # fmt: skip
vae.eval()
plot.curves(
    {name: history.curves[name] for name in ("reconstruction", "KL")},
    "Reconstruction term and KL over the steps of training, side by side: the first falls; the KL "
    "starts at zero, shoots up, falls back and then rises slowly.",
    ylabel="nats an image", smooth=10, apart=True,
)  # fmt: skip

# %% [markdown]
# Read the curves from the left. For the first steps the decoder learns what clothes look like on
# average, and the KL stays near zero: the code says nothing. Then the code becomes useful. The KL
# shoots up while the encoder is still clumsy, falls back, and from there rises slowly: more and
# more information about the image passes through the code. The reconstruction term pays that
# back many times over.
#
# ## Look
#
# A decoder gives probabilities, not a picture. The picture that is usually shown is the expected
# grey level of each pixel.


# %%
def picture(logits: Tensor) -> Tensor:
    """The expected grey level of each pixel: logits (N, L, H, W) → (N, 1, H, W) in [0, 1]."""
    levels = torch.linspace(0, 1, logits.shape[1], device=logits.device)
    return torch.einsum("nlhw,l->nhw", logits.softmax(1), levels)[:, None]


# %% tags=["skip-execution"]
with torch.no_grad():
    mu, logvar = vae.encode(x_test[:12])
    reconstructions = picture(vae.decode(mu))
plot.images(
    {"original": x_test[:12] / (LEVELS - 1), "decoded": reconstructions},
    "Twelve test images over their reconstructions: kind and shape of the clothes are kept, fine "
    "patterns and writing are not.",
)

# %% [markdown]
# To draw a new image, draw a code from the prior and decode it. No encoder takes part.


# %%
@torch.no_grad()
def sample(model: VAE, n: int) -> Tensor:
    """n pictures (n, 1, 28, 28) in [0, 1], decoded from codes z ~ N(0, I), 500 at a time."""
    z = torch.randn(n, LATENTS, device=profile.device())
    return torch.cat([picture(model.decode(chunk)) for chunk in z.split(500)])


# %% tags=["skip-execution"]
torch.manual_seed(SEED)
plot.grid(
    sample(vae, 64),
    "Sixty-four samples of the VAE: shirts, trousers, dresses, shoes and bags with soft edges.",
)

# %% [markdown]
# They are clothes, and they are blurred. A code fixes the kind and the shape. What it leaves
# open, the decoder has to cover with one distribution per pixel, and the expected level is the
# average of everything that fits. The edge of a sleeve that might be here or one pixel further
# becomes a grey slope.
#
# ## The map of the codes
#
# Where does the encoder put the kinds of clothes? Sixteen dimensions can not be drawn. So we
# train a second VAE whose code has two, and see all of its code space at once.

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
map_vae = VAE(latents=2, levels=LEVELS)
map_history = train.fit(
    map_vae, vae_loss, (x_train,), steps=MAP_STEPS, batch_size=BATCH, lr=LR, seed=SEED,
    checkpoint="22_vae_map",
)  # fmt: skip
map_vae.eval()
with torch.no_grad():
    codes = map_vae.encode(x_test)[0]
plot.latent_map(
    codes,
    fashion_test.labels,
    fashion_test.classes,
    "Codes of the test images in two dimensions, coloured by class: trousers, shoes, bags and "
    "tops lie in regions of their own; pullovers, coats and shirts share one.",
)

# %% [markdown]
# No label was used in training, and yet trousers lie with trousers. What looks alike lies close,
# so pullovers, coats and shirts share a region. Now decode the points of a regular grid in the
# same plane. Neighbours look alike, and between two kinds lies something in between. That is
# what the KL term buys: it pulls all codes together around zero, so that no empty land is left
# between them. Lab 21 shows what becomes of the map without it.

# %% tags=["skip-execution"]
steps = torch.linspace(-3, 3, 12, device=codes.device)
across, up = torch.meshgrid(steps, steps.flip(0), indexing="xy")
with torch.no_grad():
    decoded = picture(map_vae.decode(torch.stack([across, up], -1).reshape(-1, 2)))
plot.grid(
    decoded,
    "Decoded points of a regular grid over the same plane, from −3 to 3 in both dimensions: "
    "clothes change smoothly from one kind into another.",
    columns=12,
)

# %% [markdown]
# ## 6 · How far is the bound from the truth?
#
# The ELBO is below $\log p(x)$ by an amount that we do not know. With several codes for each
# image we get closer. Draw $z_1, \dots, z_K$ from $q(z\mid x)$ and weigh each by
#
# $$w_k = \frac{p(x\mid z_k)\, p(z_k)}{q(z_k\mid x)}, \qquad
#   \mathcal L_K(x) = \log \frac1K \sum_{k=1}^K w_k .$$
#
# With $K = 1$ this is the ELBO, in an estimate that samples its KL term too. The bound
# $\mathbb E\,\mathcal L_K$ never falls as $K$ grows, and it tends to $\log p(x)$ (Burda et al.,
# 2016). Published results quote it with $K = 5000$ as the negative log-likelihood of a model.
#
# **Exercise 7** (2 points, 20 minutes). Write the logarithm of a weight, and the bound from the
# logarithms of all weights. A weight of an image is about $e^{-100}$ to $e^{-1000}$. As a float
# it is zero, so it must never be formed: stay with logarithms throughout.


# %% nbgrader={"grade": false, "grade_id": "iwae", "locked": false, "schema_version": 3, "solution": true, "task": false}
def log_weight(x: Tensor, logits: Tensor, z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """log p(x|z) + log p(z) − log q(z|x) of each image, in nats.

    Args:
        x: int64 (N, 1, H, W). logits: float (N, L, H, W), decoded from z.
        z: float (N, D), drawn from q(z|x) = N(μ, diag σ²). mu, logvar: float (N, D).

    Returns:
        float (N,).
    """
    ### BEGIN SOLUTION
    log_prior = -0.5 * (z**2 + math.log(2 * math.pi)).sum(1)
    squares = (z - mu) ** 2 / logvar.exp()
    log_posterior = -0.5 * (squares + logvar + math.log(2 * math.pi)).sum(1)
    return log_likelihood(x, logits) + log_prior - log_posterior
    ### END SOLUTION


def iwae_bound(log_weights: Tensor) -> Tensor:
    """log of the mean weight over K samples, from the logarithms of the weights.

    Args:
        log_weights: float (K, N), of any size.

    Returns:
        float (N,), in nats. Burda et al. (2016), equation 8.
    """
    ### BEGIN SOLUTION
    return torch.logsumexp(log_weights, dim=0) - math.log(len(log_weights))
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "iwae_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
check.close(
    iwae_bound(torch.tensor([[-1000.0, 0.0], [-1000.0, math.log(3)]])), [-1000.0, math.log(2)],
    "the bound of two images", hint="It is the log of the mean weight, not the mean of the logs.",
)  # fmt: skip
x, even = torch.zeros(3, 1, 2, 2, dtype=torch.long), torch.zeros(3, 2, 2, 2)
code, nothing = torch.ones(3, 5), torch.zeros(3, 5)
check.close(
    log_weight(x, even, code, nothing, nothing), [-4 * math.log(2)] * 3,
    "log w where q is the prior", hint="Then p(z) and q(z|x) cancel.",
)  # fmt: skip
check.close(
    log_weight(x, even, code, code, nothing), [-4 * math.log(2) - 2.5] * 3,
    "log w for z = μ = 1", hint="Each dimension adds log N(1; 0, 1) − log N(1; 1, 1) = −1/2.",
)  # fmt: skip
print("log_weight and iwae_bound: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "iwae_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 7, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
with check.part(points, "the weight", 1):
    for n, d in ((9, 4), (1, 4), (5, 5)):
        x = torch.randint(6, (n, 1, 5, 7), generator=generator)
        logits = torch.randn(n, 6, 5, 7, generator=generator)
        logits[0] *= 200  # the first weight is smaller than any float
        mu, logvar, noise = torch.randn(3, n, d, generator=generator)
        logvar[-1, :3] = torch.tensor([-8.0, 0.0, 8.0])
        z = mu + 2 * (logvar / 2).exp() * noise
        pixels = torch.distributions.Categorical(logits=logits.permute(0, 2, 3, 1))
        log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
        log_q = torch.distributions.Normal(mu, (logvar / 2).exp()).log_prob(z).sum(1)
        expected = pixels.log_prob(x[:, 0]).sum((1, 2)) + log_prior - log_q
        inputs = x, logits, z, mu, logvar
        copies = [t.clone() for t in inputs]
        check.close(log_weight(*copies), expected, f"log w of {n} codes", rtol=1e-5, atol=5e-4)
        for copy, before in zip(copies, inputs, strict=True):
            assert torch.equal(copy, before), "the function has changed its arguments"
with check.part(points, "the bound", 1):
    for samples, images, size in ((7, 11, 1.0), (7, 11, 300.0), (5, 5, 3.0), (7, 1, 3_000.0)):
        weights = torch.randn(samples, images, generator=generator) * size - 3 * size
        copy, cotangent = weights.clone(), torch.randn(images, generator=generator)
        expected = torch.logsumexp(weights.double(), 0) - math.log(samples)
        check.close(iwae_bound(copy), expected, "the bound of random weights", atol=1e-3)
        assert torch.equal(copy, weights), "the function has changed its argument"
        _, (gradient,) = check.vjp(iwae_bound, weights, cotangent)
        wanted = cotangent * weights.double().softmax(0)
        check.close(gradient, wanted, "the gradient of the bound", rtol=2e-3)
    check.close(iwae_bound(weights[:1]), weights[0], "the bound with one sample")
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## Measure: handwritten digits
#
# Likelihoods are published for MNIST with two levels, so there we can compare. The same code
# runs, with $L = 2$. Each pixel was drawn once as black or white with its grey value as the
# probability.


# %%
@torch.no_grad()
def importance_nll(model: VAE, x: Tensor, samples: int) -> Tensor:
    """−L_K of each image x, int64 (N, 1, 28, 28), with K = `samples`; (N,) in nats."""
    found = []
    for image in x.split(1):
        mu, logvar = model.encode(image)
        chunks = []
        for k in torch.ones(samples, dtype=torch.long).split(500):
            many = [t.expand(len(k), *t.shape[1:]) for t in (image, mu, logvar)]
            z = reparameterise(*many[1:])
            chunks.append(log_weight(many[0], model.decode(z), z, *many[1:]))
        found.append(-iwae_bound(torch.cat(chunks)[:, None]))
    return torch.cat(found)


@torch.no_grad()
def mean_elbo(model: VAE, x: Tensor) -> float:
    """The ELBO averaged over images x, int64 (N, 1, 28, 28), in nats."""
    bounds = []
    for chunk in x.split(500):
        mu, logvar = model.encode(chunk)
        bounds.append(elbo(chunk, model.decode(reparameterise(mu, logvar)), mu, logvar))
    return float(torch.cat(bounds).mean())


# %% tags=["skip-execution"]
digits = data.binarise(data.load(MNIST, "train", TRAIN_IMAGES).pixels, seed=SEED)
digits_test = data.binarise(data.load(MNIST, "test", TEST_IMAGES).pixels, seed=SEED + 1)
torch.manual_seed(SEED)
digits_vae = VAE(LATENTS, levels=2)
digits_history = train.fit(
    digits_vae, vae_loss, (digits,), steps=MNIST_STEPS, batch_size=BATCH, lr=LR, seed=SEED,
    checkpoint="22_vae_mnist",
)  # fmt: skip
digits_vae.eval()
plot.grid(
    sample(digits_vae, 32),
    "Thirty-two samples of the VAE trained on binarised MNIST: soft handwritten digits.",
)

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
digits_elbo = mean_elbo(digits_vae, digits_test)
nll = importance_nll(digits_vae, digits_test[:IMPORTANCE_IMAGES], IMPORTANCE_SAMPLES)
same_elbo = mean_elbo(digits_vae, digits_test[:IMPORTANCE_IMAGES])
print(f"−ELBO on all {len(digits_test)} test images: {-digits_elbo:.2f} nats")
print(f"on {len(nll)} of them: −ELBO {-same_elbo:.2f}, NLL {nll.mean():.2f} nats", end=" ")
print(f"with {IMPORTANCE_SAMPLES} samples each (standard error {nll.std() / len(nll) ** 0.5:.2f})")

# %% [markdown]
# Burda et al. (2016) report a negative log-likelihood of 86.76 nats for a VAE with one layer of
# 50 latent variables, and 84.78 for the same model trained on the bound with $K = 50$. Three
# things differ here: the binarisation is our own draw, the quick profile sees 10,000 digits for
# under half a minute instead of 60,000 for days, and our network is convolutional. The full
# profile closes most of the gap in data and time.
#
# ## Measure: clothes
#
# A VAE's samples can be scored like those of any other model. The Fréchet distance compares them
# with 2,000 test images on the features of the course's own classifier. Lab 32 builds it. For
# scale, the same distance is measured for real training images, once as they are and once with
# eight grey levels.

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
sampled = scores.to_pixels(sample(vae, SAMPLES))
quality = scores.score(sampled, fashion_test.pixels, features="fashion")
for name, pixels in (
    ("samples", sampled),
    ("training images, 8 levels", scores.to_pixels(x_train[:SAMPLES] / (LEVELS - 1))),
    ("training images", fashion.pixels[:SAMPLES]),
):
    found = scores.score(pixels, fashion_test.pixels, features="fashion")
    print(f"{name:26s} Fréchet {found['fid_course']:7.2f}   IS {found['is_course']:.2f}")
fashion_elbo = mean_elbo(vae, x_test)
print(f"bits per dimension of the test images: {-fashion_elbo / (784 * math.log(2)):.3f} or less")

# %% [markdown]
# ## 7 · Which dimensions are used?
#
# The KL term has a cheap way out: set $q(z_d\mid x) = p(z_d)$ for a dimension, and it costs
# nothing and says nothing. A dimension is called *active* when its posterior mean really depends
# on the image: $\mathrm{Var}_x(\mu_d) > 0.01$ (Burda et al., 2016).


# %%
@torch.no_grad()
def activity(model: VAE, x: Tensor) -> Tensor:
    """Var over images of the posterior mean of each dimension, (D,), largest first."""
    mu = torch.cat([model.encode(chunk)[0] for chunk in x.split(500)])
    return mu.var(0).sort(descending=True).values


# %% [markdown]
# Samples of a VAE are blurred because its decoder treats pixels as independent. A decoder that
# draws one pixel after another, each given those before, has no such limit (lab 13). Put on top
# of a VAE it gives a PixelVAE (Gulrajani et al., 2017):
#
# $$p(x\mid z) = \prod_{i=1}^{784} p\big(x_i \mid x_1, \dots, x_{i-1}, z\big).$$
#
# **Exercise 8** (2 points, 30 minutes). Write this decoder as a few masked convolutions. The
# logits of pixel $i$ may depend on pixels above it, and on pixels left of it in its own row, and
# on nothing else of $x$. They must not depend on $x_i$: the model would learn to copy it.


# %% nbgrader={"grade": false, "grade_id": "pixel_decoder", "locked": false, "schema_version": 3, "solution": true, "task": false}
class PixelDecoder(nn.Module):
    """p(x|z) = Π p(x_i | x_<i, z) in raster order, z given as maps of the image's size.

    The weights that may be used, in the first layer and in all later ones (● is the pixel):

        1 1 1 1 1        1 1 1
        1 1 1 1 1        1 ● 0     later layers see the features of their own pixel,
        1 1 ● 0 0        0 0 0     which already know nothing of its level
        0 0 0 0 0
        0 0 0 0 0        ● = 0 in the first layer, 1 in later ones

    Args:
        levels: L, the grey levels of a pixel.
        context: C, the number of maps that z is given as.
    """

    ### BEGIN SOLUTION
    def __init__(self, levels: int, context: int, width: int = 32) -> None:
        super().__init__()
        self.levels = levels
        self.first = nn.Conv2d(1, width, 5, padding=2)
        self.later = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.context = nn.Conv2d(context, width, 1)
        self.last = nn.Conv2d(width, levels, 1)

    @staticmethod
    def masked(layer: nn.Conv2d, h: Tensor, own: bool) -> Tensor:
        """The convolution with no weight on later pixels, nor on the own one unless `own`."""
        mask, middle = torch.ones_like(layer.weight), layer.kernel_size[0] // 2
        mask[:, :, middle, middle + own :] = 0
        mask[:, :, middle + 1 :] = 0
        return F.conv2d(h, layer.weight * mask, layer.bias, padding=middle)

    ### END SOLUTION

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """int64 (N, 1, 28, 28) and float (N, C, 28, 28) → logits (N, L, 28, 28)."""
        ### BEGIN SOLUTION
        scaled = 2 * x.float() / (self.levels - 1) - 1
        h = self.masked(self.first, scaled, own=False) + self.context(context)
        for layer in self.later:
            h = h + self.masked(layer, F.silu(h), own=True)
        return self.last(F.silu(h))
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "pixel_decoder_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
decoder, context = PixelDecoder(levels=4, context=3), torch.randn(1, 3, 28, 28)
x, step = torch.ones(1, 1, 28, 28, dtype=torch.long), torch.randn(1, 4, 28, 28)
check.shape(decoder(x, context), (1, 4, 28, 28), "the logits")
check.descend(decoder, decoder, (x, context), step, lr=1e-3)  # what follows survives an update
check.evaluate(decoder)
for i, j in ((14, 14), (0, 0), (5, 27), (6, 0), (27, 13)):
    changed = x.clone()
    changed[0, 0, i, j] = 3
    moved = (decoder(changed, context) - decoder(x, context))[0].abs().amax(0) > 1e-6
    assert not moved[i, j], f"the logits of pixel ({i}, {j}) depend on its own level"
    assert not moved[i, :j].any(), f"logits left of pixel ({i}, {j}) depend on its level"
    assert not moved[:i].any(), (
        f"logits above pixel ({i}, {j}) depend on its level; look at masks, padding at the border, "
        "and anything that is normalised over the image"
    )
    assert j == 27 or moved[i, j + 1], (
        f"the logits of the pixel right of ({i}, {j}) do not depend on it"
    )
    assert i == 27 or moved[i + 1, max(j - 1, 0) : j + 2].all(), (
        f"the logits of the pixels below ({i}, {j}), left to right, do not all depend on it"
    )
_, (d_context,) = check.vjp(lambda c: decoder(x, c), context, step)
assert d_context.abs().amax((0, 2, 3)).all(), (
    "a map of z has no gradient; is it unused or detached?"
)
print("PixelDecoder: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "pixel_decoder_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 8, 2 points.
### BEGIN HIDDEN TESTS
generator = check.generator()
raster = torch.arange(784).reshape(28, 28)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


for levels, channels in ((8, 5), (2, 3)):
    decoder, other = PixelDecoder(levels, channels), PixelDecoder(levels, channels)
    check.evaluate(decoder)
    check.evaluate(other)
    x = torch.randint(2, (3, 1, 28, 28), generator=generator)  # dark, until it is changed
    context, pull = normal(3, channels, 28, 28), torch.full((1, levels, 28, 28), 1 / (levels - 1))
    copies = x.clone(), context.clone()
    check.shape(decoder(*copies), (3, levels, 28, 28), "the logits")
    for copy, before in zip(copies, (x, context), strict=True):
        assert torch.equal(copy, before), "the decoder has changed its arguments"
    # Everything below has to hold after an update, too.
    check.descend(decoder, decoder, (x, context), normal(3, levels, 28, 28), lr=1e-3)
    all_logits = decoder(x, context)
    check.load_state(other, check.state(decoder))
    check.close(other(x, context), all_logits, "the logits of a loaded copy", atol=1e-4)
    x, context, logits = x[1:2], context[1:2], all_logits[1:2]
    check.close(decoder(x, context), logits, "the logits of an image alone", atol=1e-4)
    random = torch.randint(784, (4,), generator=generator).tolist()
    for i in (0, 27, 392, 418, 755, 783, *random):
        row, column = divmod(i, 28)
        changed = x.clone()
        shift = torch.randint(1, levels, (), generator=generator)
        changed[0, 0, row, column] = (x[0, 0, row, column] + shift) % levels
        moved = (decoder(changed, context) - logits)[0].abs().amax(0)
        check.close(moved[raster <= i], torch.zeros(i + 1), f"change up to pixel {i}", atol=1e-5)
        if column < 27:
            assert moved[row, column + 1] > 1e-6 * moved.max(), f"pixel {i + 1} does not see {i}"
        if row < 27:
            seen = moved[row + 1, max(column - 1, 0) : column + 2]
            assert (seen > 1e-6 * moved.max()).all(), f"the pixels under pixel {i} do not see it"
    _, (_, gradient) = check.vjp(decoder, (x, context), normal(1, levels, 28, 28))
    assert gradient.abs().amax((0, 2, 3)).min() > 0, "a map of z has no gradient"
    for c in range(channels):
        changed = context.clone()
        changed[:, c] += 1
        change = (decoder(x, changed) - logits)[0].abs().amax(0)
        assert (change > 1e-6).float().mean() > 0.9, f"map {c} of z does not reach the pixels"
    mirrored = decoder(x, context.flip(3)) - logits
    assert mirrored.abs().max() > 1e-4, "the place in a map of z makes no difference"
    free = (all_logits - all_logits.mean(1, keepdim=True)).movedim(1, -1).reshape(-1, levels)
    free = int(torch.linalg.matrix_rank((free - free.mean(0)).double(), rtol=1e-5))
    assert free >= levels - 1, f"{levels} levels, but their logits vary in {free} ways only"
    pull[:, 0] = -1
    for step in range(11):  # ever longer
        margin = (logits[:, 0] - logits[:, 1:].amax(1)).min()
        if margin > 4 and logits.min() < -1:
            break
        check.descend(decoder, decoder, (x, context), pull, lr=1e-5 * 4**step)
        logits = decoder(x, context)
    assert margin > 4, "the decoder can not learn to be sure of a level; is it bounded?"
    assert logits.min() < -1, "a logit can not learn to be negative"
### END HIDDEN TESTS

# %% [markdown]
# The PixelVAE keeps the encoder. What were the decoder's logits are now maps that tell the pixel
# decoder what to draw.


# %%
class PixelVAE(VAE):
    """A VAE whose pixels are drawn one after another."""

    def __init__(self, latents: int, levels: int) -> None:
        super().__init__(latents, levels)
        self.pixels = PixelDecoder(levels, context=levels)


def pixel_loss(model: PixelVAE, x: Tensor) -> dict[str, Tensor]:
    """−ELBO averaged over a batch x, int64 (N, 1, 28, 28), with its two terms, in nats."""
    mu, logvar = model.encode(x)
    logits = model.pixels(x, model.decode(reparameterise(mu, logvar)))
    return {
        "loss": -elbo(x, logits, mu, logvar).mean(),
        "reconstruction": -log_likelihood(x, logits).mean(),
        "KL": kl_to_prior(mu, logvar).mean(),
    }


@torch.no_grad()
def sample_pixels(model: PixelVAE, n: int) -> Tensor:
    """n images, int64 (n, 1, 28, 28): 784 passes, one pixel each."""
    context = model.decode(torch.randn(n, LATENTS, device=profile.device()))
    x = torch.zeros(n, 1, 28, 28, dtype=torch.long, device=context.device)
    for i in range(28):
        for j in range(28):
            logits = model.pixels(x, context)[:, :, i, j]
            x[:, 0, i, j] = torch.distributions.Categorical(logits=logits).sample()
    return x


# %% tags=["skip-execution"]
torch.manual_seed(SEED)
pixel_vae = PixelVAE(LATENTS, LEVELS)
pixel_history = train.fit(
    pixel_vae, pixel_loss, (x_train,), steps=PIXEL_STEPS, batch_size=BATCH, lr=PIXEL_LR, seed=SEED,
    checkpoint="22_vae_pixel",
)  # fmt: skip
pixel_vae.eval()
torch.manual_seed(SEED)
plot.grid(
    sample_pixels(pixel_vae, PIXEL_SAMPLES) / (LEVELS - 1),
    "Samples of the PixelVAE: pixels drawn one after another; clothes with grain and hard edges "
    "where the VAE is smooth.",
)

# %% tags=["skip-execution"]
plot.curves(
    {"VAE": history.curves["KL"][:PIXEL_STEPS], "PixelVAE": pixel_history.curves["KL"]},
    "The KL term over the first steps of training: the PixelVAE settles at less than half of "
    "what the VAE needs.",
    ylabel="KL, nats an image", smooth=10,
)  # fmt: skip
for name, model in (("VAE", vae), ("PixelVAE", pixel_vae)):
    variances = activity(model, x_test)
    print(f"{name:9s} active dimensions: {int((variances > 0.01).sum())} of {LATENTS}", end="")
    print("   Var(μ): " + " ".join(f"{v:.2f}" for v in variances))

# %% [markdown]
# The PixelVAE predicts much of a pixel from its neighbours and has less need of the code: its KL
# stays small, and most of its dimensions are quieter. Let its convolutions see further and the code goes silent
# altogether: that is *posterior collapse*. The way out is also the way in: a decoder that sees
# only its near neighbourhood leaves the large shapes to the code and keeps the texture for itself.
#
# **Exercise 9** (2 points, 15 minutes; graded by hand). In your own words: (a) Why are samples
# of the VAE blurred although its reconstructions are of use? (b) A colleague reports a KL of
# 0.02 nats and a very good ELBO. What has happened, how would you see it in a figure, and name
# one remedy.

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) The decoder gives each pixel a distribution of its own, independent of the others given
# the code. Where several sharp images fit one code, the best such product spreads over all of
# them, and its mean is their average. Besides, codes from the prior also fall between the
# regions that the encoder uses, where the decoder averages over unlike images.
#
# (b) Posterior collapse. The decoder explains the images without the code, so q(z|x) equals the
# prior for every x. One sees it when images decoded from different codes look alike, when
# Var(μ) is near zero in all dimensions, or in a curve of the KL. Remedies: a weaker decoder or
# one with a smaller receptive field; letting the weight of the KL grow from 0 to 1 in training;
# a minimum of nats for each dimension.
# ### END SOLUTION

# %% [markdown]
# ## Record
#
# The last cell writes the numbers of this run to a file, with profile, seed, hardware and
# versions. The tables of the book are made from such files.

# %% tags=["skip-execution"]
active = int((activity(vae, x_test) > 0.01).sum())
pixel_elbo = -sum(pixel_history.curves["loss"][-20:]) / len(pixel_history.curves["loss"][-20:])
numbers = {
    "elbo_nats": fashion_elbo,
    "bits_per_dim": -fashion_elbo / (784 * math.log(2)),
    **quality,
    "active_units": active,
    "mnist_elbo_nats": digits_elbo,
    "mnist_nll_nats": float(nll.mean()),
    "mnist_nll_standard_error": float(nll.std() / len(nll) ** 0.5),
    "mnist_nll_images": len(nll),
    "mnist_nll_samples": IMPORTANCE_SAMPLES,
    "pixelvae_train_elbo_nats": pixel_elbo,
    "pixelvae_active_units": int((activity(pixel_vae, x_test) > 0.01).sum()),
    "parameters": records.parameter_count(vae),
    "train_seconds": sum(
        run.seconds for run in (history, map_history, digits_history, pixel_history)
    ),
    "milliseconds_per_sample_1": records.milliseconds_per_sample(lambda n: sample(vae, n), 1),
    "milliseconds_per_sample_256": records.milliseconds_per_sample(lambda n: sample(vae, n), 256),
}
records.write("22_vae", numbers, seed=SEED)
print("recorded: " + ", ".join(numbers))
