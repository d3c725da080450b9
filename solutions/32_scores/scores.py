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
# # Lab 32 · Scores for samples
#
# A model without a likelihood can only be judged by what it draws. In this lab you build the
# three scores by which nearly every paper on images does that: the Inception Score, the Fréchet
# distance and the kernel distance. You hold them against two public packages. Then you fool each
# of them, to know what its number does not say.
# The page [Scores for samples](../../book/32_scores.md) derives everything that you write here.
#
# You write seven answers in code and one in words, worth 20 points together. After each stands a
# check that you can run at once. It looks at your answer from several sides and says what it
# finds. The points are given later, by tests that you do not see and that try more cases.

# %%
import math
import time
import warnings
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gmlib import check, data, plot, profile, records, scores

# %% [markdown]
# ## Sizes
#
# All sizes of the lab stand here, one for each profile. Nothing below knows which profile runs.

# %%
SEED = 0
FASHION = profile.choose(test="fashion_small", quick="fashion_small", full="fashion")
IMAGES = profile.choose(test=1_024, quick=10_000, full=60_000)
REFERENCE = profile.choose(test=512, quick=5_000, full=10_000)  # real images to compare with
SAMPLES = profile.choose(test=256, quick=2_500, full=10_000)  # of each set that is judged
SURE_NOISE = profile.choose(test=32, quick=250, full=2_000)  # images of noise that look sure
COUNTS = profile.choose(
    test=[32, 64], quick=[50, 100, 200, 400, 800, 1_600], full=[100, 200, 500, 1_000, 2_000, 5_000]
)
REPEATS = profile.choose(test=2, quick=8, full=20)  # sets of samples of each count
WIDE = profile.choose(test=64, quick=2_048, full=2_048)  # features in the measurement of time
WIDE_SAMPLES = profile.choose(test=32, quick=1_000, full=1_000)

# %% [markdown]
# ## What a score looks at
#
# Two images of the same kind of shoe differ in nearly every pixel. A distance between pixels
# would call them unlike. So the scores look at an image through a classifier. Its last hidden
# layer gives *features*, numbers in which shoes resemble shoes. Its output gives *logits* $\ell$,
# and the softmax of them is $p(y\mid x)$, the probability of each class $y$.
#
# The papers use one fixed classifier, Inception v3, with 2,048 features and 1,000 classes. Its
# weights are a large download. We use the course's own small classifier of clothes, with 128
# features and ten classes. All equations are the same. The numbers are not: a distance on the
# course's features must never stand beside one on Inception's.
#
# A score compares a set of samples with a set of real images. We cut the training images into two
# halves: the *reference*, and real images that play the part of samples.

# %%
fashion = data.load(FASHION, "train", IMAGES)
classifier = scores.classifier("fashion")


@torch.no_grad()
def see(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 images (N, 1, 28, 28) → features (N, 128) and logits (N, 10), float32."""
    features = torch.cat([classifier.features(chunk) for chunk in pixels.split(500)])
    return features, classifier.head(features)


# %% tags=["skip-execution"]
features, logits = see(fashion.pixels)
reference, held = features[:REFERENCE], features[REFERENCE:]
held_logits, held_labels = logits[REFERENCE:], fashion.labels[REFERENCE:]
silent_features = int((features.amax(0) == 0).sum())
print(f"{len(features)} images of {features.shape[1]} features")
print(f"{silent_features} features are zero on every image")

# %% [markdown]
# Keep the last number in mind. A feature that is the same on every image has no variance. The
# covariance of these features is singular, whatever the number of images, and section 3 has to
# live with that.
#
# ## 1 · The Inception Score
#
# The first score needs no real images (Salimans et al., 2016). It asks two things of the samples.
# Each should clearly be *something*: $p(y\mid x)$ puts nearly all on one class. And together they
# should be *everything*: the average over the samples, $p(y) = \frac1N\sum_n p(y\mid x_n)$, is
# spread over all classes. If both hold, the two distributions are far apart for every sample:
#
# $$\mathrm{IS} = \exp\Big(\frac1N\sum_{n=1}^N
#   \mathrm{KL}\big(p(y\mid x_n)\,\|\,p(y)\big)\Big), \qquad
#   \mathrm{KL}(p\,\|\,q) = \sum_{k=1}^K p_k \log\frac{p_k}{q_k}.$$
#
# The score is 1 at the least and $K$, the number of classes, at the most.
#
# **Exercise 1** (2 points, 15 minutes). Write it, on all samples at once. A sure classifier gives
# logits that lie hundreds apart. A probability is then too small for a floating-point number, and
# its logarithm is $-\infty$ unless you take it from the logits.


# %% nbgrader={"grade": false, "grade_id": "inception_score", "locked": false, "schema_version": 3, "solution": true, "task": false}
def inception_score(logits: Tensor) -> Tensor:
    """exp of the mean KL divergence from p(y|x) to p(y), over all samples.

    Args:
        logits: float32 or float64 (N, K), N ≥ 1; the softmax over K is p(y|x). Logits may be
            ±1000, and a class may have a probability of zero on every sample.

    Returns:
        float64 (), between 1 and K. Always finite.

    Salimans et al. (2016), section 4, on one split.
    """
    ### BEGIN SOLUTION
    log_p = logits.double().log_softmax(dim=1)  # log p(y|x)
    log_marginal = log_p.logsumexp(dim=0) - math.log(len(logits))  # log p(y)
    kl = (log_p.exp() * (log_p - log_marginal)).sum(dim=1)
    return kl.mean().exp()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "inception_score_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
check.close(
    inception_score(torch.zeros(6, 4)), 1.0, "the score of samples that could be anything",
    hint="Then p(y|x) = p(y) for each of them, every KL is 0, and the score is its exponential.",
)  # fmt: skip
check.close(
    inception_score(50 * torch.eye(4)), 4.0, "the score of one sure sample of each of 4 classes",
    hint="Each KL is log 4. The score is the exponential of their mean.",
)  # fmt: skip
check.close(
    inception_score(50 * torch.eye(4)[[0, 0, 0, 1]]), (4 / 3) ** 0.75 * 4**0.25,
    "the score of three sure samples of one class and one of another",
    hint="p(y) = (3/4, 1/4, 0, 0): the mean over the samples of p(y|x), not of the logits.",
)  # fmt: skip
unsure = torch.tensor([[0.9, 0.1], [0.5, 0.5]]).log()
kls = [
    sum(p * math.log(p / q) for p, q in zip(row, (0.7, 0.3), strict=True))
    for row in ((0.9, 0.1), (0.5, 0.5))
]
check.close(
    inception_score(unsure), math.exp(sum(kls) / 2), "the score of two unsure samples",
    hint="KL(p(y|x) ‖ p(y)): the probabilities of the sample stand in front of the logarithm.",
)  # fmt: skip
check.close(
    inception_score(1000 * torch.eye(4)[:2]), 2.0, "the score with logits of 1000",
    hint="0 · log 0 is NaN. Use log-softmax, and log-sum-exp for the logarithm of p(y).",
)  # fmt: skip
print("inception_score: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "inception_score_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 1, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def true_score(logits: Tensor) -> Tensor:
    """Entropy of the mean less mean entropy, which need no logarithm of zero."""
    p = logits.double().softmax(1)
    entropy = torch.special.entr(p.mean(0)).sum() - torch.special.entr(p).sum(1).mean()
    return entropy.exp()


def random_logits(n: int, k: int, size: float) -> Tensor:
    return size * torch.randn(n, k, generator=generator) + torch.randn(k, generator=generator)


with check.part(points, "the value", 1):
    sizes = ((30, 6, 1.0), (7, 7, 2.0), (4, 25, 3.0), (1, 5, 2.0), (5_300, 4, 1.0), (2, 1, 1.0))
    for n, k, size in sizes:
        given = random_logits(n, k, size)
        copy = given.clone()
        found = inception_score(copy)
        if isinstance(found, Tensor):
            assert found.dtype == torch.float64, f"it should be float64; found {found.dtype}"
        check.close(found, true_score(given), f"the score of {n} samples, {k} classes")
        assert torch.equal(copy, given), "the function has changed its argument"
        moved = given + 30 * torch.randn(n, 1, generator=generator)
        check.close(inception_score(moved), true_score(given), "the score with shifted logits")
        check.close(
            inception_score(given.double()), true_score(given), "the score of float64 logits"
        )
with check.part(points, "extreme logits", 1):
    for n, k, size in ((30, 6, 60.0), (20, 20, 400.0), (9, 3, 1_000.0)):
        given = random_logits(n, k, size)
        given[:, -1] = -1_000 - 3 * size  # a class that never occurs
        check.close(inception_score(given), true_score(given), "the score of sure samples")
    every = torch.eye(12)[torch.arange(36) % 12]
    check.close(inception_score(1_000 * every), 12.0, "the score of sure samples of 12 classes")
check.total(points)
### END HIDDEN TESTS

# %% tags=["skip-execution"]
found = {"real images": held_logits, "the same, of one class": held_logits[held_labels == 9]}
for name, some in found.items():
    print(f"{name:26s} Inception Score {inception_score(some):.3f} of 10")

# %% [markdown]
# Real images do not reach 10, as some shirts may well be coats and the classifier says so. Keep
# the real images' score in mind: a model that goes beyond it is not better than reality.
#
# ## 2 · Mean and covariance of a stream
#
# The second score compares the features of samples with those of real images, by their mean and
# covariance. A hundred thousand images do not fit into memory at once. So we go through them in
# batches, and keep three things of what we have seen: the number $n$, the mean $m$ and the
# *scatter* $S = \sum_i (x_i - m)(x_i - m)^\top$. Two such triples can be merged, with
# $\delta = m_b - m_a$ (Chan et al., 1983):
#
# $$n = n_a + n_b, \qquad m = m_a + \frac{n_b}{n}\,\delta, \qquad
#   S = S_a + S_b + \frac{n_a n_b}{n}\,\delta\delta^\top .$$
#
# The covariance is $\Sigma = S/(n-1)$ in the end.
#
# It is tempting to keep $\sum_i x_i$ and $\sum_i x_i x_i^\top$ instead, and to subtract
# $n\,m m^\top$ in the end. Where the mean is large, this subtracts two large numbers that are
# nearly equal, and most digits are lost.
#
# **Exercise 2** (3 points, 20 minutes). Write the triple of a batch, the merging, and the
# covariance. All is computed in float64. Two batches merged should equal one batch to ten digits,
# also where the mean is 10,000 times the spread.

# %%
Moments = tuple[int, Tensor, Tensor]  # n, mean (D,), scatter (D, D)


# %% nbgrader={"grade": false, "grade_id": "statistics", "locked": false, "schema_version": 3, "solution": true, "task": false}
def moments(features: Tensor) -> Moments:
    """Number, mean and scatter of a batch of features.

    Args:
        features: float32 or float64 (N, D), N ≥ 1.

    Returns:
        N as an int; the mean, float64 (D,); the scatter Σ (x − m)(x − m)ᵀ, float64 (D, D). They
        are computed in float64, from features turned to float64 first.
    """
    ### BEGIN SOLUTION
    features = features.double()
    mean = features.mean(dim=0)
    centred = features - mean
    return len(features), mean, centred.T @ centred
    ### END SOLUTION


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of two batches together, from those of each; leaves both as they are.

    Chan, Golub and LeVeque (1983).
    """
    ### BEGIN SOLUTION
    (n_a, mean_a, scatter_a), (n_b, mean_b, scatter_b) = a, b
    n, step = n_a + n_b, mean_b - mean_a
    scatter = scatter_a + scatter_b + torch.outer(step, step) * (n_a * n_b / n)
    return n, mean_a + step * (n_b / n), scatter
    ### END SOLUTION


def covariance(a: Moments) -> Tensor:
    """The unbiased covariance, float64 (D, D): divided by n − 1, for n ≥ 2; leaves `a` as it is."""
    ### BEGIN SOLUTION
    n, _, scatter = a
    return scatter / (n - 1)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "statistics_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
n, mean, scatter = moments(x)
assert n == 4, f"four rows were given; found n = {n}"
check.close(mean, [1.0, 2.0], "the mean of four corners of a rectangle")
check.close(
    scatter, [[4.0, 0.0], [0.0, 16.0]], "the scatter of four corners of a rectangle",
    hint="Each corner lies 1 and 2 from the mean. The scatter is a sum, divided by nothing.",
)  # fmt: skip
assert mean.dtype == scatter.dtype == torch.float64, (
    f"mean and scatter should be float64; found {mean.dtype} and {scatter.dtype}"
)
double = [torch.tensor(values).double() for values in ([1.0], [[2.0]], [5.0], [[0.0]])]
n, mean, scatter = merge((3, *double[:2]), (1, *double[2:]))
assert n == 4, f"3 and 1 samples were merged; found n = {n}"
check.close(mean, [2.0], "the mean of three samples with mean 1 and one sample at 5")
check.close(
    scatter, [[14.0]], "the scatter of both", hint="2 + 0, and 3·1/4 times the squared step of 4."
)
check.close(
    covariance((4, *double[:2])), [[2 / 3]], "the covariance of a scatter of 2 with n = 4",
    hint="The unbiased estimate divides by n − 1.",
)  # fmt: skip
x = 10_000 + torch.randn(90, 3, generator=torch.Generator().manual_seed(SEED)).double()
n, mean, scatter = reduce(merge, (moments(part) for part in x.split([50, 1, 39])))
check.close(
    scatter, (x - x.mean(0)).T @ (x - x.mean(0)), "the scatter of three batches merged",
    rtol=1e-10, atol=1e-8, hint="Are digits lost because the mean is large?",
)  # fmt: skip
print("moments, merge and covariance: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "statistics_test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 2, 3 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def true_moments(x: Tensor) -> tuple[int, Tensor, Tensor]:
    x = x.double()
    return len(x), x.mean(0), (x - x.mean(0)).T @ (x - x.mean(0))


def same(found: tuple, wanted: tuple, what: str) -> None:
    assert len(found) == 3, f"{what}: expected number, mean and scatter"
    assert float(found[0]) == wanted[0], f"{what}: the number is {float(found[0])}"
    for name, value, true in zip(("mean", "scatter"), found[1:], wanted[1:], strict=True):
        assert value.dtype == torch.float64, f"the {name} should be float64; found {value.dtype}"
        size = float(true.abs().max())
        check.close(value, true, f"{what}: the {name}", rtol=1e-10, atol=1e-10 * size)


data_sets = []
shapes = ((40, 5, 0.0), (6, 6, 3.0), (3, 9, 1e4), (1_250, 2, 1e4), (8, 1, -50.0), (2, 3, 1.0))
for n, d, offset in shapes:
    sizes, where = 3 * torch.rand(d, generator=generator) + 0.3, offset * (1 + normal(d).abs())
    data_sets.append((normal(n, d) @ normal(d, d) * sizes).double() + where.double())
with check.part(points, "moments", 1):
    for x in (*data_sets, data_sets[0].float(), 5 + data_sets[3].float(), normal(1, 4)):
        copy = x.clone()
        same(moments(copy), true_moments(x), f"{len(x)} samples of {x.shape[1]} features")
        assert torch.equal(copy, x), "the function has changed its argument"
with check.part(points, "merge", 1):
    for x in data_sets:
        for first in (1, len(x) // 2, len(x) - 1):
            a, b = true_moments(x[:first]), true_moments(x[first:])
            copies = [(n, m.clone(), s.clone()) for n, m, s in (a, b)]
            same(merge(*copies), true_moments(x), f"{a[0]} and {b[0]} samples")
            same(merge(b, a), true_moments(x), f"{b[0]} and {a[0]} samples")
            for copy, before in zip(copies, (a, b), strict=True):
                for i in (1, 2):
                    assert torch.equal(copy[i], before[i]), "merge has changed its arguments"
    x = data_sets[0] + torch.arange(40)[:, None]  # a stream whose mean drifts
    total, seen = true_moments(x[:7]), 7
    for chunk in x[7:].split(4):
        seen += len(chunk)
        total = merge(total, true_moments(chunk))
        same(total, true_moments(x[:seen]), f"a stream of {seen} samples")
with check.part(points, "the covariance", 1):
    for x in data_sets:
        n, mean, scatter = true_moments(x)
        found = covariance((n, mean.clone(), copy := scatter.clone()))
        assert torch.equal(copy, scatter), "covariance has changed its argument"
        wanted = x.T.cov().reshape(x.shape[1], x.shape[1])
        check.close(found, wanted, f"of {len(x)} samples", rtol=1e-8, atol=1e-8)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 3 · The distance between two Gaussians
#
# The Fréchet distance treats both sets of features as Gaussians, $\mathcal N(\mu_1, \Sigma_1)$
# and $\mathcal N(\mu_2, \Sigma_2)$. It is the least mean squared way that moves the one onto the
# other (Dowson and Landau, 1982; the page derives it):
#
# $$d^2 = \|\mu_1-\mu_2\|^2 + \mathrm{tr}\,\Sigma_1 + \mathrm{tr}\,\Sigma_2
#   - 2\,\mathrm{tr}\big(\Sigma_1\Sigma_2\big)^{1/2}.$$
#
# On Inception's features, $d^2$ is the Fréchet inception distance, FID (Heusel et al., 2017). It
# is a square already; no root is taken of it.
#
# The root is that of a *matrix*. $M^{1/2}$ is not the matrix of the roots of the entries of $M$;
# it is a matrix whose product with itself is $M$. Its trace is the sum of the roots of the
# eigenvalues of $M$. Two more traps lie here.
#
# - $\Sigma_1$ and $\Sigma_2$ do not *commute*: $\Sigma_1\Sigma_2 \ne \Sigma_2\Sigma_1$. So the
#   product is not symmetric, and a routine for symmetric matrices gives a wrong result without a
#   word. And $(\Sigma_1\Sigma_2)^{1/2}$ is not $\Sigma_1^{1/2}\Sigma_2^{1/2}$.
# - An eigenvalue that should be 0 comes out as $-10^{-17}$, and its root is NaN.
#
# There is a way around both. Take any $R_1$ and $R_2$ with $R_1 R_1^\top = \Sigma_1$ and
# $R_2 R_2^\top = \Sigma_2$, such as Cholesky factors, and let $C = R_1^\top R_2$. Then
# $\Sigma_1\Sigma_2 = R_1\,(C R_2^\top)$ has the same eigenvalues as $C R_2^\top R_1 = C C^\top$, up
# to zeros, and that one is symmetric and has no negative eigenvalue.
#
# Cholesky is quick, but it fails where a covariance is singular. There an eigendecomposition
# $\Sigma = V \Lambda V^\top$ gives $R = V\Lambda^{1/2}$. Leave out the eigenvalues of $\Sigma$
# that rounding alone has made: $10^{-16}$ is nothing, but its root is $10^{-8}$, and there may be
# many.
#
# **Exercise 3** (4 points, 30 minutes). Write the distance. Part of the points is for regular
# covariances, to 9 digits of $\mathrm{tr}\,\Sigma_1 + \mathrm{tr}\,\Sigma_2$. Part is for
# singular ones, to 5 digits: any rank from 0 up, equal or different ranges, one feature alone.
# Part is for features that are very small or very large: nothing may be added to the diagonal.
# `scipy.linalg.sqrtm` is exact enough for all of them. It is only slow.


# %% nbgrader={"grade": false, "grade_id": "frechet", "locked": false, "schema_version": 3, "solution": true, "task": false}
def frechet_distance(
    mean_1: Tensor, covariance_1: Tensor, mean_2: Tensor, covariance_2: Tensor
) -> Tensor:
    """The squared Fréchet distance d² between two Gaussians.

    Args:
        mean_1, mean_2: float64 (D,), D ≥ 1.
        covariance_1, covariance_2: float64 (D, D), symmetric, with no negative eigenvalue; they
            may be singular, and of any size. They need not commute.

    Returns:
        float64 (): finite and real; 0 for equal Gaussians, and never negative but by rounding.

    Dowson and Landau (1982); Heusel et al. (2017), equation 6.
    """
    ### BEGIN SOLUTION

    def root(covariance: Tensor) -> Tensor:
        """R (D, rank) with R Rᵀ = covariance."""
        lower, failed = torch.linalg.cholesky_ex(covariance)
        if not failed:
            return lower
        values, vectors = torch.linalg.eigh(covariance)
        kept = values > len(values) * torch.finfo(values.dtype).eps * values.max()
        return vectors[:, kept] * values[kept].sqrt()

    overlap = root(covariance_1).T @ root(covariance_2)
    if overlap.shape[0] > overlap.shape[1]:
        overlap = overlap.T  # the smaller product, which has no eigenvalue of zero to round
    squares = torch.linalg.eigvalsh(overlap @ overlap.T)
    trace_of_root = squares.clamp(min=0).sqrt().sum()
    traces = covariance_1.trace() + covariance_2.trace()
    return (mean_1 - mean_2).square().sum() + traces - 2 * trace_of_root
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "frechet_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
zero, one = torch.zeros(2).double(), torch.ones(2).double()
narrow, wide = torch.diag(one), torch.diag(torch.tensor([4.0, 9.0]).double())
check.close(
    frechet_distance(zero, narrow, 3 * one, narrow), 18.0, "d² of two Gaussians 3 apart in both",
    hint="Only the means differ: d² = 3² + 3².",
)  # fmt: skip
check.close(
    frechet_distance(zero, narrow, zero, wide), 5.0, "d² of standard deviations (1, 1) and (2, 3)",
    hint="Where both are diagonal, d² = Σ (σ₁ − σ₂)² = 1 + 4.",
)  # fmt: skip
turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]]).double()
turned = turn @ wide @ turn.T
check.close(
    frechet_distance(zero, turned, zero, wide), 26 - 2 * math.sqrt(160),
    "d² of a Gaussian and the same one turned",
    hint="The covariances do not commute; the trace of the root is √160, by hand.",
)  # fmt: skip
check.close(frechet_distance(zero, wide, zero, wide), 0.0, "d² of a Gaussian to itself", atol=1e-6)
flat = torch.tensor([[1.0, 1.0], [1.0, 1.0]]).double()
check.close(
    frechet_distance(zero, flat, zero, 4 * flat), 2.0, "d² of two Gaussians on one line",
    hint="Both covariances are singular, of rank one. Along the line, σ is √2 and 2√2.",
)  # fmt: skip
check.close(
    frechet_distance(zero, 0 * flat, one, flat), 4.0, "d² of a point to a Gaussian on a line",
    hint="A covariance of zero is allowed.",
)  # fmt: skip
print("frechet_distance: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "frechet_test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 3, 4 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def compare(A: Tensor, B: Tensor, what: str, exact: float) -> None:
    """Hold the distance for Σ₁ = AᵀA and Σ₂ = BᵀB, and any means, against its true value."""
    S1, S2 = A.T @ A, B.T @ B
    traces = S1.trace() + S2.trace()
    m1, m2 = (traces / len(S1)).sqrt() * normal(2, len(S1))
    way = float((m1 - m2).square().sum() + traces)
    true = way - 2 * float(torch.linalg.svdvals(A @ B.T).sum())
    given = m1, S1, m2, S2
    copies = [t.clone() for t in given]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = frechet_distance(*copies)
        again = frechet_distance(m2, S2, m1, S1)
        still = frechet_distance(m1, S1, m1, S1)
    check.close(found / way, true / way, f"d² of {what}, as a share", rtol=0, atol=exact)
    check.close(again / way, true / way, f"d² of {what}, swapped", rtol=0, atol=exact)
    check.close(still / way, 0.0, f"d² of {what}, to itself", rtol=0, atol=exact)
    for copy, before in zip(copies, given, strict=True):
        assert torch.equal(copy, before), "the function has changed its arguments"


def regular(d: int) -> Tensor:
    """A factor of a covariance with no direction of little variance."""
    spread = torch.linspace(0.6, 2.5, d, dtype=torch.float64)
    return torch.linalg.qr(normal(d, d)).Q @ torch.diag(spread) @ torch.linalg.qr(normal(d, d)).Q


def narrow(d: int) -> Tensor:
    """A factor of a regular covariance with a few directions of little variance."""
    return 10 ** torch.linspace(-2.6, 0.4, d, dtype=torch.float64)[:, None] * regular(d)


with check.part(points, "regular covariances", 2):
    for d in (4, 7):
        compare(narrow(d), narrow(d), f"{d} features, some of little variance", 1e-8)
    for d in (2, 3, 7, 24, 1, 70):
        compare(regular(d), regular(d), f"{d} features", 1e-9)
        compare(regular(d), 3 * regular(d), f"{d} features, one set wider", 1e-9)
with check.part(points, "singular covariances", 1):
    for d, rank_1, rank_2 in ((6, 3, 2), (6, 1, 5), (12, 12, 4), (12, 4, 12), (30, 5, 7)):
        compare(normal(rank_1, d), normal(rank_2, d), f"ranks {rank_1}, {rank_2} of {d}", 1e-5)
    A, point = normal(5, 8), torch.zeros(1, 8).double()
    compare(A, normal(5, 5) @ A, "Gaussians on one subspace", 1e-5)
    silent = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]).double()
    compare(normal(9, 8) * silent, normal(9, 8) * silent, "silent features", 1e-5)
    compare(A, point, "a Gaussian and a point", 1e-5)
    compare(point[:, :1], torch.ones(1, 1).double(), "a point and a Gaussian, 1 feature", 1e-5)
    (m1, m2), nothing = normal(2, 8), torch.zeros(8, 8).double()
    found, way = frechet_distance(m1, nothing, m2, nothing), float((m1 - m2).square().sum())
    check.close(found / way, 1.0, "d² of two points, as a share", rtol=0, atol=1e-5)
with check.part(points, "small and large features", 1):
    for size in (1e-4, 1e4, 1e-8):
        compare(size * regular(5), size * regular(5), f"features of size {size:g}", 1e-9)
        compare(size * normal(2, 6), size * normal(3, 6), f"few features of size {size:g}", 1e-5)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 4 · Fewer samples than features
#
# With 1,000 samples of 2,048 features both covariances are singular, and 2,048 × 2,048 numbers are
# kept for what 1,000 × 2,048 say better. Let $A$ be the centred features, one sample a row,
# divided by $\sqrt{n-1}$, so that $\Sigma_1 = A^\top A$, and $B$ the same of the second set. Then
#
# $$\mathrm{tr}\big(\Sigma_1\Sigma_2\big)^{1/2} = \sum_i s_i\big(A B^\top\big), \qquad
#   \mathrm{tr}\,\Sigma_1 = \sum_{ij} A_{ij}^2,$$
#
# with $s_i$ the *singular values*: the sum of the singular values of a matrix with one row a
# sample and one column a sample. No covariance is formed, no root is taken, and nothing can become
# negative. It is quicker, and it keeps all digits. An eigenvalue that should be 0 and comes out
# as $10^{-16}$ has a root of $10^{-8}$, and there are a thousand of them.
#
# **Exercise 4** (3 points, 30 minutes). Write the distance from the features themselves. One
# point is for the value, whether there are few samples or many. One is for all digits where there
# are no more samples than features: to ten digits of $\mathrm{tr}\,\Sigma_1 +
# \mathrm{tr}\,\Sigma_2$. One is for memory: where *both* sets have fewer samples than features, no
# $D\times D$ matrix is formed. Where both have many more, the covariances are the shorter way.


# %% nbgrader={"grade": false, "grade_id": "frechet_features", "locked": false, "schema_version": 3, "solution": true, "task": false}
def frechet_of_features(x: Tensor, y: Tensor) -> Tensor:
    """The squared Fréchet distance between two sets of features.

    Args:
        x: float32 or float64 (N, D). y: (M, D); N, M ≥ 2, and may differ.

    Returns:
        float64 (): d² of the Gaussians with the sets' means and unbiased covariances (n − 1),
        computed in float64. Finite; 0 for equal sets, and never negative but by rounding.
    """
    ### BEGIN SOLUTION
    x, y = x.double(), y.double()
    if min(len(x), len(y)) > x.shape[1]:
        (_, mean_1, _), (_, mean_2, _) = a, b = moments(x), moments(y)
        return frechet_distance(mean_1, covariance(a), mean_2, covariance(b))
    a = (x - x.mean(dim=0)) / math.sqrt(len(x) - 1)
    b = (y - y.mean(dim=0)) / math.sqrt(len(y) - 1)
    trace_of_root = torch.linalg.svdvals(a @ b.T).sum()
    traces = a.square().sum() + b.square().sum()
    return (x.mean(dim=0) - y.mean(dim=0)).square().sum() + traces - 2 * trace_of_root
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "frechet_features_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
x = torch.tensor([[0.0, 0.0, 1.0], [2.0, 0.0, 1.0]])
check.close(
    frechet_of_features(x, 3 * x), 8.0 + 8.0, "d² of two samples and the same times 3",
    hint="The variance is 2, of 3x it is 18: (√18 − √2)² = 8. The means are √8 apart.",
)  # fmt: skip
draw = torch.Generator().manual_seed(SEED)
x, y = torch.randn(8, 40, generator=draw) + 5, 2 * torch.randn(11, 40, generator=draw)
check.close(
    frechet_of_features(x, x), 0.0, "d² of a set to itself", atol=1e-9,
    hint="Is it computed in float64, from centred features?",
)  # fmt: skip
check.close(
    frechet_of_features(x, x + 2), 160.0, "d² of a set to itself shifted by 2 in 40 features",
    hint="The covariances are the same: d² = 40 · 2².",
)  # fmt: skip
check.close(
    frechet_of_features(x.double(), -x.double() + 2 * x.double().mean(0)), 0.0,
    "d² of a set to its mirror image about its mean", atol=1e-9,
    hint="Mean and covariance are the same. Singular values are never negative.",
)  # fmt: skip
whole = check.largest_tensor(frechet_of_features, (x, y))
assert whole < 40 * 40 * 8, "with 8 and 11 samples of 40 features, a 40×40 matrix was formed"
many = torch.randn(90, 3, generator=draw).double()
check.close(
    frechet_of_features(many, 2 * many), many.mean(0).square().sum() + many.var(0).sum(),
    "d² of 90 samples of 3 features and the same times 2", hint="More samples than features.",
)  # fmt: skip
print("frechet_of_features: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "frechet_features_test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 4, 3 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def compare(x: Tensor, y: Tensor, what: str, exact: float) -> None:
    """Hold the distance of x and y against singular values of their triangular factors."""
    copies = x.clone(), y.clone()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = frechet_of_features(*copies)
    assert torch.equal(copies[0], x) and torch.equal(copies[1], y), "an argument was changed"
    x, y = x.double(), y.double()
    A, B = ((t - t.mean(0)) / (len(t) - 1) ** 0.5 for t in (x, y))
    traces = A.square().sum() + B.square().sum()
    A, B = (torch.linalg.qr(t, mode="r").R for t in (A, B))
    apart = (x.mean(0) - y.mean(0)).square().sum()
    true = apart + traces - 2 * torch.linalg.svdvals(A @ B.T).sum()
    whole = apart + traces
    check.close(found / whole, true / whole, f"d² of {what}, as a share", rtol=0, atol=exact)


def steep(n: int, d: int) -> Tensor:
    """Features whose directions have standard deviations from 1 down to a millionth."""
    sizes = torch.logspace(0, -6, min(n, d), dtype=torch.float64)
    left, right = (torch.linalg.qr(normal(k, min(n, d))).Q for k in (n, d))
    return left * sizes @ right.T * n**0.5


with check.part(points, "the value", 1):
    for n, m, d in (
        (50, 40, 6),
        (7, 5, 12),
        (60, 5, 12),
        (4, 70, 9),
        (9, 9, 9),
        (2, 2, 3),
        (8, 30, 1),
        (1_300, 1_100, 3),
    ):
        x, y = normal(n, d) @ normal(d, d), 1 + normal(m, d) @ normal(d, d)
        compare(x, y, f"{n} and {m} samples of {d} features", 1e-5)
        compare(x.float(), y.float(), f"{n} and {m} samples in float32", 1e-5)
        compare(x, x, "a set and itself", 1e-5)
        compare(1e-4 * x, 1e-4 * y, "small features", 1e-5)
    silent = (torch.arange(8) % 3 > 0).double()
    compare(normal(40, 8) * silent, normal(50, 8) * silent + 1, "silent features", 1e-5)
with check.part(points, "all digits with few samples", 1):
    for n, m, d in ((30, 30, 60), (25, 40, 200), (20, 20, 20)):
        compare(steep(n, d), steep(m, d), f"{n} and {m} samples of {d} features", 1e-10)
        x, y = normal(n, d).float() + 100, normal(m, d).float() + 100
        compare(x, y, f"{n} and {m} float32 samples with a large mean", 1e-10)
    x, y = normal(10, 50).repeat(4, 1), normal(12, 50).repeat(3, 1)
    compare(x, y, "samples that repeat", 1e-10)
    compare(x, x.flip(0), "a set and itself", 1e-10)
with check.part(points, "no covariance is formed", 1):
    x, y = normal(12, 900).float(), normal(9, 900).float()
    compare(x, y, "12 and 9 samples of 900 features", 1e-8)
    largest = check.largest_tensor(frechet_of_features, (x, y))
    assert largest < 900 * 900 * 4, "a matrix of all pairs of features was formed"
    x, y = normal(30, 48), normal(20, 48)  # together more than 48, but neither alone
    compare(x, y, "30 and 20 samples of 48 features", 1e-8)
    largest = check.largest_tensor(frechet_of_features, (x, y))
    assert largest < 48 * 48 * 8, "a matrix of all pairs of 48 features was formed"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 5 · The kernel distance
#
# A Gaussian is described by mean and covariance. Features are not Gaussian, and what differs
# beyond the covariance the Fréchet distance can not see. The kernel distance assumes no Gaussian.
# It compares how like the samples are *to each other* and to the real images, by a kernel that
# multiplies up to three features with one another:
#
# $$k(x, y) = \Big(\frac{x^\top y}{D} + 1\Big)^3 .$$
#
# The squared *maximum mean discrepancy* is the mean of $k$ within the first set, plus that within
# the second, less twice that between both. Within a set, a sample must not be compared with
# itself. That makes the estimate *unbiased*: its average over many draws does not depend on how
# many samples there are (Gretton et al., 2012):
#
# $$\begin{aligned}
# \widehat{\mathrm{MMD}}{}^2 &= \frac{1}{N(N-1)}\sum_{i\ne j} k(x_i, x_j)
#   + \frac{1}{M(M-1)}\sum_{i\ne j} k(y_i, y_j) \\
#   &\quad - \frac{2}{NM}\sum_{i,j} k(x_i, y_j).
# \end{aligned}$$
#
# On Inception's features this is the kernel inception distance, KID (Bińkowski et al., 2018). For
# equal distributions it is zero on average, so about half of the time it is negative.
#
# **Exercise 5** (2 points, 15 minutes). Write it, on all samples at once.


# %% nbgrader={"grade": false, "grade_id": "kernel_distance", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kernel_distance(x: Tensor, y: Tensor) -> Tensor:
    """The unbiased squared maximum mean discrepancy with k(x, y) = (xᵀy / D + 1)³.

    Args:
        x: float32 or float64 (N, D). y: (M, D); N, M ≥ 2, and may differ.

    Returns:
        float64 (), computed in float64; may be negative. All N·M pairs between the sets count.

    Bińkowski et al. (2018), section 4; Gretton et al. (2012), equation 3.
    """
    ### BEGIN SOLUTION
    x, y = x.double(), y.double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        k = kernel(a, a)
        return (k.sum() - k.trace()) / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * kernel(x, y).mean()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "kernel_distance_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
x, y = torch.tensor([[1.0, 1.0], [1.0, -1.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
# Within x: k = 1. Within y: 1, 1, 1. Between: x₁ with y 8, 8, 1; x₂ with y 8, 0, 1.
check.close(
    kernel_distance(x, y), 1 + 1 - 2 * 26 / 6, "the distance of two and three samples",
    hint="Within a set leave out i = j, and divide by N(N−1). Between sets take all pairs.",
)  # fmt: skip
check.close(
    kernel_distance(x, x), 1 - 8, "the distance of two samples to themselves",
    hint="Between the sets a sample does meet itself, so the result is negative.",
)  # fmt: skip
one = torch.ones(4, 1)
check.close(
    kernel_distance(0 * one, one), 1 + 8 - 2, "the distance of four zeros to four ones",
    hint="k is 1 among zeros, 2³ among ones, 1 between.",
)  # fmt: skip
draw = torch.Generator().manual_seed(SEED)
many = [kernel_distance(*torch.randn(2, 6, 5, generator=draw)) for _ in range(500)]
many = torch.stack([torch.as_tensor(value) for value in many])
check.close(
    many.mean() / many.std(), 0.0, "the mean over 500 pairs of equal distributions, over its sd",
    atol=0.16, hint="Unbiased: zero on average, with as few as six samples.",
)  # fmt: skip
print("kernel_distance: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "kernel_distance_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 5, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def pairs(a: Tensor, b: Tensor, same: bool) -> Tensor:
    """The mean of the kernel over pairs, leaving out i = j where both sets are the same."""
    k = (torch.einsum("id,jd->ij", a, b) / a.shape[1] + 1).pow(3)
    return k[~torch.eye(len(a), dtype=torch.bool)].mean() if same else k.mean()


def true_distance(x: Tensor, y: Tensor) -> Tensor:
    return pairs(x, x, True) + pairs(y, y, True) - 2 * pairs(x, y, False)


with check.part(points, "the value", 1):
    for n, m, d in ((9, 9, 4), (30, 30, 1), (2, 2, 7), (25, 25, 40), (1_200, 1_200, 3)):
        x, y = normal(n, d), 1.5 * normal(m, d) + 0.5
        copies = x.clone(), y.clone()
        found, size = kernel_distance(*copies), float(pairs(x, x, False) + pairs(y, y, False))
        true = float(true_distance(x, y))
        what = f"{n} samples of {d} features, as a share"
        check.close(found / size, true / size, what, rtol=0, atol=1e-11)
        assert torch.equal(copies[0], x) and torch.equal(copies[1], y), "an argument was changed"
        true = float(true_distance(x, x))  # negative, since between the sets i = j counts
        check.close(kernel_distance(x, x.clone()), true, "a set and itself", rtol=1e-7, atol=1e-9)
        found, true = kernel_distance(3 * x, 3 * y), float(true_distance(3 * x, 3 * y))
        check.close(found / true, 1.0, f"{n} samples, three times as large")
with check.part(points, "unequal numbers, and float32", 1):
    for n, m, d in ((12, 5, 6), (3, 40, 2), (2, 3, 5)):
        x, y = normal(n, d), normal(m, d) - 1
        true, size = float(true_distance(x, y)), float(pairs(x, x, False) + pairs(y, y, False))
        for found in (kernel_distance(x, y), kernel_distance(y, x)):
            what = f"{n} and {m} samples, as a share"
            check.close(found / size, true / size, what, rtol=0, atol=1e-11)
    x, y = (8 + normal(2, 40, 3)).float()  # nearly equal, in large kernels
    true = float(true_distance(x.double(), y.double()))
    check.close(kernel_distance(x, y), true, "float32 features", rtol=1e-6, atol=1e-6)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## Against the packages
#
# `torchmetrics` and `torch-fidelity` compute the same three scores, and papers are made with
# them. Both usually take images and run Inception. Here they get the features and logits that we
# have, so that nothing but the arithmetic is compared. `torchmetrics` wants a network; we give it
# one that returns what goes in.


# %%
class Same(nn.Module):
    """A network for torchmetrics that takes features for images and returns them."""

    num_features = 128

    def forward(self, features: Tensor) -> Tensor:
        return features


def by_torchmetrics(x: Tensor, y: Tensor, logits: Tensor) -> list[float]:
    """Inception Score, Fréchet and kernel distance of features x to y, both (N, 128) float64."""
    from torchmetrics.image import FrechetInceptionDistance as Frechet
    from torchmetrics.image import InceptionScore, KernelInceptionDistance

    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")  # it warns that it keeps all features
        inception = InceptionScore(Same(), splits=1)
        distances = Frechet(Same()), KernelInceptionDistance(Same(), subsets=1, subset_size=len(x))
        inception.to(x.device).update(logits)
        for distance in distances:
            distance.to(x.device).set_dtype(torch.float64)
            distance.update(y, real=True)
            distance.update(x, real=False)
        frechet, (kernel, _) = (distance.compute() for distance in distances)
        return [float(inception.compute()[0]), float(frechet), float(kernel)]


def by_torch_fidelity(x: Tensor, y: Tensor, logits: Tensor) -> list[float]:
    """The same, from torch-fidelity."""
    from torch_fidelity import metric_fid, metric_isc, metric_kid

    x, y, logits = x.cpu(), y.cpu(), logits.cpu()
    inception = metric_isc.isc_features_to_metric(logits, splits=1)
    statistics = [metric_fid.fid_features_to_statistics(features) for features in (x, y)]
    frechet = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    options = {"kid_subsets": 1, "kid_subset_size": len(x), "verbose": False}
    kernel = metric_kid.kid_features_to_metric(x, y, **options)
    found = inception | frechet | kernel
    names = "inception_score", "frechet_inception_distance", "kernel_inception_distance"
    return [float(found[name if name in found else f"{name}_mean"]) for name in names]


# %% tags=["skip-execution"]
x, y, some = held[:SAMPLES].double(), reference[:SAMPLES].double(), held_logits[:SAMPLES].double()
own = [float(v) for v in (inception_score(some), frechet_of_features(x, y), kernel_distance(x, y))]
others = {
    "torchmetrics": by_torchmetrics(x, y, some), "torch-fidelity": by_torch_fidelity(x, y, some)
}  # fmt: skip
print(f"{'':16s}" + "".join(f"{name:>24s}" for name in ("IS", "Fréchet", "kernel")))
for name, values in {"own": own, **others}.items():
    print(f"{name:16s}" + "".join(f"{value:24.14f}" for value in values))
difference = {
    name: max(abs(a - b) / max(1, abs(b)) for a, b in zip(own, values, strict=True))
    for name, values in others.items()
}

# %% [markdown]
# The numbers agree to ten digits and more. Now the time. Take features as wide as Inception's,
# with fewer samples than features, which is what one has while a model trains.
# `scipy.linalg.sqrtm` of $\Sigma_1\Sigma_2$ is how FID was first computed, and still is in many
# papers. It is too slow to be run here at each visit; `make bench` compares with it. Here stands
# the way of `torchmetrics`: the covariances, and the eigenvalues of their product.


# %%
def by_eigenvalues(x: Tensor, y: Tensor) -> Tensor:
    """d² from the complex eigenvalues of Σ₁Σ₂, as torchmetrics and torch-fidelity compute it."""
    (_, mean_1, _), (_, mean_2, _) = a, b = moments(x), moments(y)
    first, second = covariance(a), covariance(b)
    roots = torch.linalg.eigvals(first @ second).sqrt().real
    traces = first.trace() + second.trace()
    return (mean_1 - mean_2).square().sum() + traces - 2 * roots.sum()


def timed(distance, x: Tensor, y: Tensor) -> tuple[float, float]:
    """The value of `distance(x, y)`, and its seconds."""
    start = time.perf_counter()
    return float(distance(x, y)), time.perf_counter() - start


# %% tags=["skip-execution"]
draw = torch.Generator().manual_seed(SEED)
x = torch.randn(WIDE_SAMPLES, WIDE, generator=draw, dtype=torch.float64).to(profile.device())
pull = 1 + torch.rand(WIDE, generator=draw, dtype=torch.float64).to(profile.device())
y = pull * (x - x.mean(0))  # the straight way from x to y is the shortest
truth = float((x - x.mean(0) - y).square().sum() / (len(x) - 1) + x.mean(0).square().sum())
frechet_of_features(x[:9], y[:9])  # the first call of a routine pays for its loading
seconds = {}
for name, distance in (("singular values", frechet_of_features), ("eigenvalues", by_eigenvalues)):
    value, seconds[name] = timed(distance, x, y)
    error = abs(value / truth - 1)
    print(f"{name:16s} {seconds[name]:7.2f} s   relative error {error:.0e}")

# %% [markdown]
# ## 6 · What do the scores see?
#
# We spoil real images in ways that we know, and look at what the scores say. The first two ways
# you write.
#
# *Noise*: to each pixel of each image add a Gaussian number of its own, with a standard deviation
# of $\sigma$ grey levels. Where that leads below 0 or above 255, the pixel stays at the limit. A
# uint8 would wrap around instead: $250 + 10$ becomes 4, and white turns black.
#
# *Blur*: replace each pixel by a weighted mean of its neighbourhood,
#
# $$\tilde x_{ij} = \sum_{a=-r}^{r}\sum_{b=-r}^{r} w_a w_b\; x_{i+a,\,j+b}, \qquad
#   w_a = \frac{e^{-a^2/2\sigma^2}}{\sum_{c=-r}^{r} e^{-c^2/2\sigma^2}}, \qquad
#   r = \lceil 3\sigma\rceil .$$
#
# Beyond the edge of an image all is black. The weights are a product, so one can blur the rows
# first and then the columns.
#
# **Exercise 6** (2 points, 20 minutes). Write both. Results are rounded to the nearest grey level.


# %% nbgrader={"grade": false, "grade_id": "disturb", "locked": false, "schema_version": 3, "solution": true, "task": false}
def add_noise(pixels: Tensor, sigma: float) -> Tensor:
    """Images with Gaussian noise of standard deviation `sigma` grey levels, new at each call.

    Args:
        pixels: uint8 (N, C, H, W); left as they are. sigma: 0 or more.

    Returns:
        uint8 (N, C, H, W), rounded, and held between 0 and 255. Every value has its own noise.
    """
    ### BEGIN SOLUTION
    noisy = pixels.float() + sigma * torch.randn(pixels.shape, device=pixels.device)
    return noisy.round().clamp(0, 255).byte()
    ### END SOLUTION


def blur(pixels: Tensor, sigma: float) -> Tensor:
    """Images under a Gaussian blur of standard deviation `sigma` pixels; black beyond the edge.

    Args:
        pixels: uint8 (N, C, H, W); left as they are. Each channel is blurred alone.
        sigma: above 0; the blur reaches ⌈3σ⌉ pixels, which may be more than the image has.

    Returns:
        uint8 (N, C, H, W), rounded once, at the end.
    """
    ### BEGIN SOLUTION
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, device=pixels.device)
    weights = torch.softmax(-(offsets**2) / (2 * sigma**2), dim=0)
    x = pixels.flatten(0, 1)[:, None].float()  # every channel as an image of its own
    x = F.conv2d(x, weights.view(1, 1, 1, -1), padding=(0, reach))
    x = F.conv2d(x, weights.view(1, 1, -1, 1), padding=(reach, 0))
    return x.round().clamp(0, 255).byte().reshape(pixels.shape)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "disturb_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
grey = torch.full((20, 1, 28, 28), 128, dtype=torch.uint8)
noisy = add_noise(grey, 10.0)
check.shape(noisy, (20, 1, 28, 28), "the noisy images")
assert noisy.dtype == torch.uint8, f"noisy images should be uint8; found {noisy.dtype}"
check.close(noisy.double().mean(), 128.0, "the mean of grey images with noise", atol=0.5)
check.close(
    noisy.double().std(), 10.0, "the standard deviation of the noise", atol=0.5,
    hint="sigma is a standard deviation, in grey levels from 0 to 255.",
)  # fmt: skip
white = add_noise(torch.full_like(grey, 250), 20.0)
assert white.min() > 100, "a nearly white pixel turned black: held at 255, it would stay white"
assert not torch.equal(noisy[0], noisy[1]), "every image should have noise of its own"
point = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
point[0, 0, 4, 4] = 255
spread = blur(point, 1.0)
check.shape(spread, (1, 1, 9, 9), "the blurred image")
rows = torch.exp(-(torch.arange(-3, 4).double() ** 2) / 2)
rows = rows / rows.sum()
check.close(
    spread[0, 0, 1:8, 1:8], 255 * torch.outer(rows, rows), "a white point under σ = 1", atol=0.51,
    hint="The weights are exp(−a²/2σ²) for |a| ≤ 3, divided by their sum.",
)  # fmt: skip
bright = blur(torch.full((1, 1, 9, 9), 200, dtype=torch.uint8), 1.0)
assert bright[0, 0, 4, 4] == 200, "in the middle of an even image a blur changes nothing"
assert bright[0, 0, 0, 4] < 150, "at the edge it darkens: beyond the edge all is black"
print("add_noise and blur: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "disturb_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 6, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def images(*shape: int, high: int = 256) -> Tensor:
    return torch.randint(high, shape, generator=generator).byte()


def true_blur(pixels: Tensor, sigma: float) -> Tensor:
    """By one dense matrix for the rows and one for the columns."""
    *_, h, w = pixels.shape
    reach = math.ceil(3 * sigma)
    total = sum(math.exp(-(a**2) / (2 * sigma**2)) for a in range(-reach, reach + 1))

    def matrix(size: int) -> Tensor:
        at = torch.arange(size)
        apart = (at[:, None] - at).double()
        return torch.exp(-(apart**2) / (2 * sigma**2)).where(apart.abs() <= reach, 0.0) / total

    return matrix(h) @ pixels.double() @ matrix(w)


with check.part(points, "noise", 1):
    for sigma, middle in ((12.0, 128), (3.0, 90), (25.0, 120)):
        level = torch.full((40, 2, 15, 20), middle, dtype=torch.uint8)
        copy = level.clone()
        found = add_noise(copy, sigma)
        assert torch.equal(copy, level), "add_noise has changed its argument"
        check.shape(found, level.shape, "the noisy images")
        assert found.dtype == torch.uint8, f"noisy images should be uint8; found {found.dtype}"
        noise = (found.double() - middle) / sigma
        spread = (1 + 1 / (12 * sigma**2)) ** 0.5  # rounding adds a little
        check.close(noise.mean(), 0.0, "the mean of the noise", atol=0.04)
        check.close(noise.std(), spread, "the standard deviation of the noise", atol=0.04)
        check.close((noise**4).mean() / spread**4, 3.0, "the fourth moment", atol=0.3)
        for axis in range(4):
            rows = noise.movedim(axis, 0).flatten(1)
            together = (rows @ rows.T / rows.shape[1]).fill_diagonal_(0).abs().max()
            assert together < 0.35, f"noise repeats along axis {axis}"
        again = add_noise(level, sigma)
        assert not torch.equal(again, found), "every call should draw new noise"
    varied = images(3, 1, 28, 20)
    assert torch.equal(add_noise(varied, 0.0), varied), "σ = 0 should change nothing"
    for edge, other in ((0, 255), (255, 0)):
        level = torch.full((20, 1, 28, 28), edge, dtype=torch.uint8)
        found = add_noise(level, 40.0).double()
        check.close((found - edge).abs().mean(), 40 * 0.39894, "noise held at the limit", atol=1.5)
        assert (found - other).abs().min() > 20, "a value wrapped around"
    found = add_noise(varied.expand(3, 3, 28, 20), 6.0).double() - varied.double()
    check.shape(found, (3, 3, 28, 20), "noisy images of three channels")
    assert found.abs().max() < 60, "the image itself is lost in the noise"
with check.part(points, "blur", 1):
    cases = ((3, 1, 28, 28, 1.0), (2, 3, 12, 17, 0.6), (1, 1, 9, 5, 2.4), (4, 2, 7, 11, 1.5))
    for n, c, h, w, sigma in cases:
        for pixels in (images(n, c, h, w), 255 * images(n, c, h, w, high=2)):
            copy = pixels.clone()
            found = blur(copy, sigma)
            assert torch.equal(copy, pixels), "blur has changed its argument"
            check.shape(found, (n, c, h, w), "the blurred images")
            assert found.dtype == torch.uint8, f"should be uint8; found {found.dtype}"
            true = true_blur(pixels, sigma)
            check.close(found, true, f"{h}×{w} pixels, σ = {sigma}", rtol=0, atol=0.52)
    even = torch.full((1, 1, 30, 30), 255, dtype=torch.uint8)
    check.close(blur(even, 1.3), true_blur(even, 1.3), "a white image", rtol=0, atol=0.52)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# The third way is to drop classes: images of some kinds of clothes never occur. A generator that
# has lost a mode does that.
#
# All sets have the same number of images, and all are compared with the same reference.

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
pixels = fashion.pixels[REFERENCE:][:SAMPLES]
NOISE, BLUR, DROPPED = (0, 4, 8, 16, 32), (0, 0.4, 0.6, 0.8, 1.2), (0, 1, 2, 3, 4)
noise_images = {sigma: add_noise(pixels, sigma) if sigma else pixels for sigma in NOISE}
blur_images = {sigma: blur(pixels, sigma) if sigma else pixels for sigma in BLUR}
plot.images(
    {f"noise {sigma}" if sigma else "as is": some[:12] for sigma, some in noise_images.items()}
    | {f"blur {sigma}": some[:12] for sigma, some in blur_images.items() if sigma},
    "Twelve pieces of clothing as they are, then with noise of 4, 8, 16 and 32 grey levels, which "
    "is hardly seen at 4 and plain at 32, then with blur of 0.4 to 1.2 pixels, which ends soft.",
)


# %%
def judge(features: Tensor, logits: Tensor) -> list[float]:
    """Inception Score, Fréchet and kernel distance of a set to the reference."""
    others = reference[:SAMPLES]
    return [
        float(inception_score(logits)),
        float(frechet_of_features(features, reference)),
        float(kernel_distance(features, others)),
    ]


# %% tags=["skip-execution"]
judged = {
    "noise, grey levels": {sigma: judge(*see(some)) for sigma, some in noise_images.items()},
    "blur, pixels": {sigma: judge(*see(some)) for sigma, some in blur_images.items()},
    "classes dropped": {},
}
for count in DROPPED:
    kept = (held_labels >= count).nonzero()[:SAMPLES, 0]
    judged["classes dropped"][count] = judge(held[kept], held_logits[kept])
made, axs = plot.figure(2, 3, (2.7, 2.1))
for column, (name, levels) in enumerate(judged.items()):
    for row, kind in ((0, 1), (1, 0)):
        axs[row, column].plot(list(levels), [v[kind] for v in levels.values()], "o-")
        axs[row, column].set_xlabel(name)
    axs[1, column].set_ylim(0, 8)
axs[0, 0].set_ylabel("Fréchet distance")
axs[1, 0].set_ylabel("Inception Score")
plot.show(
    made,
    "Above, the Fréchet distance over the strength of noise, of blur and over the number of "
    "dropped classes: it rises from near zero in all three. Below, the Inception Score: it falls "
    "steeply with noise and blur, and slowly with dropped classes.",
)
for name, levels in judged.items():
    for level, (inception, frechet, kernel) in levels.items():
        print(f"{name:20s} {level:5g}   IS {inception:5.2f}", end="")
        print(f"   Fréchet {frechet:7.2f}   kernel {kernel:8.4f}")

# %% [markdown]
# Look at the pictures and at the curves together. Noise that one hardly sees already moves the
# Fréchet distance, and a blur of 0.6 pixels counts for more than a whole class that is missing. A
# person would judge the other way round. The scores judge what the *classifier* sees, and a
# classifier that was trained on clean images is upset by little.
#
# The Inception Score compares with no real image. It sees a dropped class only because $p(y)$
# becomes less even.
#
# ## Fooling the Inception Score
#
# *One image a class.* Take from the real images the ten about which the classifier is most sure,
# one for each class, and repeat them. That is the collapsed generator: ten pictures for ever.
#
# *No image at all.* Start from noise, and move each pixel a little in the direction that makes
# the classifier surer of a class, a few times over (Barratt and Sharma, 2018).


# %%
def sure_noise(n: int, steps: int = 12, step: float = 12 / 255) -> Tensor:
    """n images of noise, uint8, moved until the classifier is sure of a class, each in turn."""
    torch.manual_seed(SEED)
    x = torch.rand(n, 1, 28, 28, device=profile.device())
    classes = torch.arange(n, device=x.device) % 10
    for _ in range(steps):
        x.requires_grad_(True)
        wrong = F.cross_entropy(classifier.head(classifier.body(2 * x - 1).relu()), classes)
        (uphill,) = torch.autograd.grad(wrong, x)
        x = (x.detach() - step * uphill.sign()).clamp(0, 1)
    return scores.to_pixels(x)


# %% tags=["skip-execution"]
surest = held_logits.softmax(1).argmax(0)  # of each class, the image the classifier is surest of
noise = sure_noise(SURE_NOISE)
repeated = surest.repeat(SAMPLES // 10)
fooled = {
    "real images": judge(held[:SAMPLES], held_logits[:SAMPLES]),
    "ten images, repeated": judge(held[repeated], held_logits[repeated]),
    "noise made sure": judge(*see(noise)),
}
plot.images(
    {
        "real": pixels[:10],
        "the ten surest": fashion.pixels[REFERENCE:][surest],
        "noise": noise[:10],
    },
    "Ten real images; the ten about which the classifier is most sure, one a class; and ten "
    "images of noise in which nothing can be recognised.",
)
for name, (inception, frechet, _) in fooled.items():
    print(f"{name:22s} IS {inception:5.2f} of 10   Fréchet {frechet:8.2f}")

# %% [markdown]
# Both fakes score higher than the real images do. The Fréchet distance sees through both, as it
# asks whether the features lie where those of real images lie.
#
# ## Fooling the Fréchet distance
#
# It only knows mean and covariance. So draw features from the Gaussian that has the mean and the
# covariance of the real features. No image has such features: many are negative, and the
# features of this classifier can not be.


# %%
def gaussian_features(like: Tensor, n: int) -> Tensor:
    """n draws (n, D) from the Gaussian with mean and covariance of the features `like`."""
    count, mean, scatter = a = moments(like)
    values, vectors = torch.linalg.eigh(covariance(a))
    draw = torch.Generator().manual_seed(SEED)
    noise = torch.randn(n, len(mean), generator=draw, dtype=torch.float64).to(mean.device)
    return mean + noise * values.clamp(min=0).sqrt() @ vectors.T


# %% tags=["skip-execution"]
invented = gaussian_features(reference, SAMPLES)
invented_logits = classifier.head(invented.float())
fooled["Gaussian features"] = judge(invented, invented_logits)
for name in ("real images", "Gaussian features"):
    inception, frechet, kernel = fooled[name]
    print(f"{name:18s} Fréchet {frechet:6.3f}   kernel {kernel:7.4f}   IS {inception:.2f}")
made, axs = plot.figure(1, 2, (3.2, 2.3))
first, second = features.double().var(0).topk(2).indices.tolist()
shown = {"real images": held[:1_000], "Gaussian features": invented[:1_000]}
for ax, (name, some) in zip(axs[0], shown.items(), strict=True):
    ax.scatter(*some[:, [first, second]].T.cpu(), s=3, linewidths=0)
    ax.set(title=name, xlim=(-8, 16), ylim=(-8, 16), xlabel="one feature", ylabel="another")
plot.show(
    made,
    "Two features with the largest variance, for real images and for draws from the Gaussian. "
    "Real features are never negative: many lie on an axis, where one of the two is zero, the "
    "others in a branch; the Gaussian's form one round cloud that reaches below zero.",
)

# %% [markdown]
# The two clouds have nothing in common but mean and covariance, and the Fréchet distance takes
# the invented ones for real images. The kernel distance, with products of three features,
# notices.
#
# ## Few samples
#
# How many samples does a score need? We take real images against the reference, more and more of
# them, several sets of each number. The true distance is nearly zero.

# %% tags=["skip-execution"]
draw = torch.Generator().manual_seed(SEED)
spread: dict[str, list[Tensor]] = {"Fréchet distance": [], "kernel distance": []}
for count in COUNTS:
    found = []
    for _ in range(REPEATS):
        some = held[torch.randperm(len(held), generator=draw)[:count].to(held.device)]
        found.append(
            [frechet_of_features(some, reference), kernel_distance(some, reference[:SAMPLES])]
        )
    for values, column in zip(spread.values(), torch.tensor(found).T, strict=True):
        values.append(column)
made, axs = plot.figure(1, 2, (3.2, 2.4))
for ax, (name, values) in zip(axs[0], spread.items(), strict=True):
    mean, deviation = torch.stack(values).mean(1), torch.stack(values).std(1)
    ax.errorbar(COUNTS, mean, deviation, fmt="o-", capsize=3)
    ax.axhline(0, color="#777777", linewidth=0.8)
    ax.set(xscale="log", xlabel="samples", ylabel=name)
plot.show(
    made,
    "Real images against real images, over the number of samples, with the spread over several "
    "sets. The Fréchet distance starts far above zero and falls towards it; the kernel distance "
    "scatters about zero from the start.",
)
for i, count in enumerate(COUNTS):
    mean = {name: float(values[i].mean()) for name, values in spread.items()}
    print(f"{count:6d} samples   Fréchet {mean['Fréchet distance']:8.3f}", end="")
    print(f"   × samples {count * mean['Fréchet distance']:7.0f}", end="")
    print(f"   kernel {mean['kernel distance']:8.4f}")

# %% [markdown]
# The same images are "far" from themselves when there are few of them. The Fréchet distance is
# *biased*, and the bias falls like $1/N$: times the number of samples it stays about the same.
# So distances with different numbers of samples can not be compared, and two models can change
# places. The kernel distance has no bias. It is only uncertain.
#
# ## 7 · Memorised images
#
# The best Fréchet distance to the training images is that of the training images themselves. A
# generator that has learned them by heart gets it, and no score above notices. One has to look
# for each sample's nearest neighbour among the training images.
#
# **Exercise 7** (2 points, 20 minutes). For each query find the reference whose Euclidean
# distance $\|x - y\|$ is least. The square $\|x\|^2 - 2x^\top y + \|y\|^2$ is quick, but in
# float32 it takes a copy for a near relative: of two numbers that are nearly equal, the digits are
# gone. And all differences at once, $N\times M\times D$ numbers, do not fit into any memory.


# %% nbgrader={"grade": false, "grade_id": "nearest", "locked": false, "schema_version": 3, "solution": true, "task": false}
def nearest(queries: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest reference of each query, by Euclidean distance.

    Args:
        queries: float32 or float64 (N, D). references: (M, D); N, M ≥ 1, of the same dtype.

    Returns:
        The distances, float (N,), a square root taken, of a copy below 1e-6 of its length ‖x‖;
        and the indices into `references`, int64 (N,). Of equal references, any will do. At no
        time are there N·M·D numbers in one tensor.
    """
    ### BEGIN SOLUTION
    references, found = references.double(), []
    for chunk in queries.double().split(500):
        distances = torch.cdist(chunk, references, compute_mode="donot_use_mm_for_euclid_dist")
        found.append(distances.min(dim=1))
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "nearest_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
corners = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
distance, index = nearest(torch.tensor([[3.0, 3.0], [0.5, 0.0], [0.0, 4.0]]), corners)
check.close(
    distance, [3.0, 0.5, 0.0], "the distances of three points to the nearest of three corners",
    hint="A distance, not its square.",
)  # fmt: skip
check.close(index, [1, 0, 2], "the indices of the nearest corners")
assert index.dtype == torch.int64, f"indices should be int64; found {index.dtype}"
draw = torch.Generator().manual_seed(SEED)
x = 100 + torch.randn(60, 50, generator=draw)
distance, index = nearest(x[:40], x)
check.close(index, torch.arange(40), "the nearest of copies", hint="A copy is its own nearest.")
check.close(
    distance, torch.zeros(40), "the distance of a copy", atol=5e-4,
    hint="In float32 the quick formula loses its digits; turn to float64 first.",
)  # fmt: skip
whole = check.largest_tensor(nearest, (x[:1].expand(9_000, -1).clone(), x))
assert whole < 4 * 9_000 * 60 * 50, "9,000 × 60 × 50 differences stood in memory at once"
print("nearest: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "nearest_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 7, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


with check.part(points, "distances and indices", 1):
    sizes = ((30, 50, 8), (1, 9, 3), (2_700, 4, 2), (6, 1, 5), (12, 12, 1), (3, 1_300, 20))
    for n, m, d in (*sizes, (40, 5_400, 3)):
        x, y = normal(n, d), 1.5 * normal(m, d) * (1 + torch.rand(m, 1, generator=generator))
        for queries, references in ((x, y), (x.double(), y.double()), (x - 20, y - 20)):
            copies = queries.clone(), references.clone()
            distance, index = nearest(*copies)
            assert torch.equal(copies[0], queries), "the queries were changed"
            assert torch.equal(copies[1], references), "the references were changed"
            assert index.dtype == torch.int64, f"indices should be int64; found {index.dtype}"
            check.shape(index, (n,), "the indices")
            assert index.min() >= 0 and index.max() < m, "an index is no row of the references"
            apart = torch.linalg.vector_norm(queries.double()[:, None] - references.double(), dim=2)
            check.close(distance, apart.amin(1), f"distances, {n} to {m}", rtol=1e-4, atol=1e-4)
            at = apart[torch.arange(n), index]
            check.close(at, apart.amin(1), "the reference named", rtol=1e-4, atol=1e-4)
with check.part(points, "copies, and memory", 1):
    y = 30 + normal(80, 40) * torch.rand(80, 1, generator=generator)
    order = torch.randperm(80, generator=generator)
    distance, index = nearest(y[order], y)
    assert torch.equal(index, order), "the nearest neighbour of a copy is what it copies"
    check.close(distance, torch.zeros(80), "the distance of a copy", atol=3e-4)
    near = y[order] + 0.01 * normal(80, 40)
    apart = torch.linalg.vector_norm(near.double()[:, None] - y.double(), dim=2)
    check.close(
        nearest(near, y)[0], apart.amin(1), "the distance of a near copy", rtol=1e-2, atol=3e-4
    )
    y = 100 + normal(80, 40).double()
    distance, index = nearest(y[order], y)
    assert torch.equal(index, order), "the nearest neighbour of a float64 copy is what it copies"
    check.close(distance, torch.zeros(80), "the distance of a float64 copy", atol=6e-4)
    for size in (1e-3, 1e3):
        small = size * normal(60, 20)
        error = nearest(small, small)[0] / small.norm(dim=1)
        check.close(
            error, torch.zeros(60), "a copy's distance, as a share of its length", atol=2e-6
        )
    close = normal(80, 40).double()
    twins = torch.cat([close, close + 1e-4 * normal(80, 40)])
    assert torch.equal(nearest(twins, twins)[1], torch.arange(160)), "a float64 relative is near"
    twins = torch.cat([y, y + 0.01 * normal(80, 40)]).float()
    order = torch.randperm(160, generator=generator)
    index = nearest(twins[order], twins)[1]
    assert torch.equal(index, order), "a near relative was taken for the copy"
    x, y = normal(9_000, 24), normal(50, 24)
    largest = check.largest_tensor(nearest, (x, y))
    assert largest < 4 * 9_000 * 50 * 24, "all differences stood in memory at once"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# Four sets play the samples of four generators, all trained on the same images. One has learned
# to draw; real images that took no part in the training stand for its samples. One repeats the
# training images, one repeats them with noise of four grey levels, and one moved by a pixel. We
# judge each against the training images, and then look for the nearest of them.

# %% tags=["skip-execution"]
training, trained = fashion.pixels[:SAMPLES], reference[:SAMPLES]
torch.manual_seed(SEED)
sets = {
    "new": pixels,
    "copies": training,
    "noisy copies": add_noise(training, 4.0),
    "moved copies": training.roll(1, dims=3),
}
distances, memorised = {}, {}
for name, some in sets.items():
    some_features = see(some)[0]
    memorised[name] = max(0.0, float(frechet_of_features(some_features, trained)))
    distances[name], index = nearest(some_features, trained)
    own = float((index.cpu() == torch.arange(SAMPLES)).double().mean())
    print(f"{name:18s} Fréchet {memorised[name]:7.3f}   nearest: median distance", end=" ")
    print(f"{distances[name].median():.2f}", end="")
    print("" if name == "new" else f"   finds the original of {100 * own:.0f} %")

# %% tags=["skip-execution"]
made, axs = plot.figure(size=(5.2, 2.8))
shares = torch.linspace(0, 1, SAMPLES)
for name, values in distances.items():
    axs[0, 0].plot(values.sort().values.cpu(), shares, label=name)
axs[0, 0].set(xlabel="distance to the nearest training image", ylabel="share of samples")
axs[0, 0].set_xlim(-0.1, 8)
axs[0, 0].legend(frameon=False)
plot.show(
    made,
    "The share of samples whose nearest training image lies within a distance. The curve of copies "
    "jumps to one at distance zero; noisy copies follow; copies moved by a pixel rise between "
    "those and new images.",
)
probes = torch.arange(8, device=training.device)
rows = {}
for name in ("new", "noisy copies", "moved copies"):
    index = nearest(see(sets[name][probes])[0], trained)[1]
    rows |= {name: sets[name][probes], f"found: {name.split()[0]}": training[index]}
plot.images(
    rows,
    "Eight new images over their nearest training images, which are similar but not the same; "
    "eight noisy copies over theirs, which are the originals; and eight moved copies over theirs, "
    "most of which are the originals.",
)

# %% [markdown]
# Copies have a distance of zero: better than new images could ever get, and worth nothing. The
# nearest neighbours tell. New images keep a distance from the training images, the same that
# real images keep from one another. Copies do not.
#
# The test finds what it looks for. A copy moved by a pixel lies at a distance where new images lie
# as well, since the features of this classifier are not blind to a move; only its neighbour gives
# it away. That is why papers also *show* samples beside their nearest neighbours, as the figure
# does here.
#
# ## In words
#
# **Exercise 8** (2 points, 15 minutes; graded by hand). In your own words: (a) A paper reports an
# Inception Score above that of real images. Name two things that may have happened, and for each
# say how you would find out. (b) Model A has a Fréchet distance of 3.1 with 1,000 samples, and
# model B has 2.9 with 50,000. Which model is better? What would you ask for?

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) The generator may have collapsed onto one very clear image of each class: p(y|x) is sharp
# and p(y) even. One sees it by looking at samples of one class side by side, or in a Fréchet
# distance, which is large because the covariance of the features is too small. Or the samples
# please the classifier without being images: the score was used in training or to choose among
# checkpoints, or the images hold patterns like those of the noise above. One sees it by looking,
# by the Fréchet or kernel distance, or by another classifier.
#
# (b) One can not say. The Fréchet distance of few samples is too large, by about c/N, so model A
# may well be the better one: with 50,000 samples its distance would be lower, by how much depends
# on the features. Ask for both with the same number of samples against the same reference on the
# same features, with a spread over several sets of samples; or for the kernel distance, which has
# no bias; or for the Fréchet distance at several N, carried on to 1/N = 0. And look at nearest
# training images, as either model may copy.
# ### END SOLUTION

# %% [markdown]
# ## Record
#
# The last cell writes the numbers of this run to a file, with profile, seed, hardware and
# versions. The tables of the book are made from such files.

# %% tags=["skip-execution"]
key = {
    "real images": "real",
    "ten images, repeated": "ten_images",
    "noise made sure": "sure_noise",
    "Gaussian features": "gaussian_features",
}
numbers = {"samples": SAMPLES, "reference_images": REFERENCE, "silent_features": silent_features}
for name, values in fooled.items():
    for score, value in zip(("is", "fid", "kid"), values, strict=True):
        numbers[f"{score}_course_{key[name]}"] = value
for name, levels in zip(("noise", "blur", "dropped"), judged.values(), strict=True):
    for level, values in list(levels.items())[1:]:
        where = f"{name}_{level:g}".replace(".", "_")
        numbers |= {f"is_course_{where}": values[0], f"fid_course_{where}": values[1]}
numbers |= {
    "fid_course_few": float(spread["Fréchet distance"][0].mean()),
    "kid_course_few": float(spread["kernel distance"][0].mean()),
    "few_samples": COUNTS[0],
    "fid_course_copies": memorised["copies"],
    "fid_course_new": memorised["new"],
    "nearest_median_copies": float(distances["copies"].median()),
    "nearest_median_new": float(distances["new"].median()),
    "difference_torchmetrics": difference["torchmetrics"],
    "difference_torch_fidelity": difference["torch-fidelity"],
    "wide_features": WIDE,
    "wide_samples": WIDE_SAMPLES,
    "singular_values_seconds": seconds["singular values"],
    "eigenvalues_seconds": seconds["eigenvalues"],
}
records.write("32_scores", numbers, seed=SEED)
print(f"recorded: {len(numbers)} numbers")
