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
# # Lab 11 · What a generative model is
#
# A generative model learns from examples, and then makes new ones. In this lab you build the two
# oldest: a Gaussian and a histogram. You fit them to pictures of clothes, draw new pictures from
# them, and measure what they know. Then you build the four distances by which later labs train
# and judge their models, and see why some of them can not tell a learner where to go.
# The page [What a generative model is](../../book/11_density.md) derives all that you write here.
#
# You write nine answers, worth 20 points together. After each stands a check that you can run at
# once. It looks at your answer from several sides and says what it finds. The points are given
# later, by tests that you do not see and that try more cases.

# %%
import math
import time

import torch
from scipy import integrate, spatial, stats
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from gmlib import check, data, plot, profile, records, scores

# %% [markdown]
# ## Sizes
#
# All sizes of the lab stand here, one for each profile. Nothing below knows which profile runs.

# %%
SEED = 0
LEVELS = 8  # grey levels of a pixel, in the last part on images
PSEUDO_COUNT = 0.1  # what each bin of a histogram has before any point has come
FASHION = profile.choose(test="fashion_small", quick="fashion_small", full="fashion")
TRAIN_IMAGES = profile.choose(test=1_000, quick=8_000, full=50_000)
VALIDATION_IMAGES = profile.choose(test=500, quick=2_000, full=10_000)
TEST_IMAGES = profile.choose(test=256, quick=2_000, full=10_000)
BINS = profile.choose(
    test=[4, 16, 64],
    quick=[4, 8, 12, 16, 24, 32, 48, 64, 96, 128],
    full=[4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256],
)
SAMPLES = profile.choose(test=256, quick=2_000, full=10_000)  # drawn for the scores
MONTE_CARLO = profile.choose(test=1_000, quick=100_000, full=1_000_000)  # for the KL divergence

# %% [markdown]
# ## Two ways to learn from the same pictures
#
# Here are pictures of clothes. Each comes with a *label*: trouser, bag, boot.
#
# **Supervised learning** takes pairs of picture and label, and learns to give the label of a new
# picture. The label is the right answer, and it was given.
#
# **Unsupervised learning** takes the pictures alone. There is no right answer to copy. What can
# be learned is what pictures of clothes are like: which occur often, which rarely, and which
# never. A **generative model** is one that learns this well enough to make new ones.
#
# We cut the pictures into three parts. On the first we fit a model. On the second, the
# *validation* part, we choose between models. The third, the *test* part, is kept for the end.

# %%
fashion = data.load(FASHION, "train", TRAIN_IMAGES + VALIDATION_IMAGES)
fashion_test = data.load(FASHION, "test", TEST_IMAGES)
pixels = data.to_float(fashion.pixels).flatten(1).double()  # (N, 784) in [0, 1]
x_train, x_validation = pixels.split([TRAIN_IMAGES, VALIDATION_IMAGES])
x_test = data.to_float(fashion_test.pixels).flatten(1).double()
labels = fashion.labels[:TRAIN_IMAGES]

# %% [markdown]
# ## From 784 numbers to two
#
# A picture has 784 pixels, so it is a point in a space of 784 dimensions. Nobody can look into
# such a space. We start with its shadow on a plane, chosen so that the shadow is as wide as can
# be. That is *principal component analysis*, which lab 21 explains. Here it is a tool: it turns
# a picture into two numbers, its *code*, and turns two numbers back into a picture.
#
# No pixel is darker than 0 or brighter than 1. So no picture whatsoever can have a code outside
# a certain box, and we can compute that box.


# %%
def principal_axes(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The mean of x (N, P) and its k directions of largest variance, the columns of (P, k)."""
    mean = x.mean(0)
    axes = torch.linalg.eigh((x - mean).T.cov()).eigenvectors.flip(1)[:, :k]
    return mean, axes * axes.sum(0).sign()  # an axis has no sign of its own: make its sum positive


def code_box(mean: Tensor, axes: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest code, each (k,), that an image with pixels in [0, 1] can have."""
    black, white = -mean[:, None] * axes, (1 - mean)[:, None] * axes
    return torch.minimum(black, white).sum(0), torch.maximum(black, white).sum(0)


def to_codes(x: Tensor) -> Tensor:
    """Images (N, 784) as codes (N, 2)."""
    return (x - image_mean) @ image_axes


def to_images(codes: Tensor) -> Tensor:
    """Codes (N, 2) as images (N, 1, 28, 28) in [0, 1]."""
    return (image_mean + codes @ image_axes.T).clamp(0, 1).reshape(-1, 1, 28, 28)


image_mean, many_axes = principal_axes(x_train, 20)
image_axes = many_axes[:, :2]
low, high = code_box(image_mean, image_axes)
z_train, z_validation, z_test = to_codes(x_train), to_codes(x_validation), to_codes(x_test)

# %% tags=["skip-execution"]
plot.images(
    {"picture": fashion_test.pixels[:12], "from two numbers": to_images(z_test[:12])},
    "Twelve test pictures over what is left of them after two numbers: blurred shapes in which a "
    "shoe, a pair of trousers and a pullover can still be told apart.",
)
made, axs = plot.figure(1, 2, (3.4, 3.2))
for k, name in enumerate(fashion.classes):
    points = z_test[fashion_test.labels == k].cpu()
    axs[0, 0].scatter(*points.T, s=3, color=plot.COLOURS[k], linewidths=0, label=name)
axs[0, 0].legend(frameon=False, fontsize=7, markerscale=3, handletextpad=0, labelspacing=0.2)
axs[0, 0].set(title="supervised: points and labels", xlim=(-9, 16))
axs[0, 1].scatter(*z_test.cpu().T, s=3, color="#555555", linewidths=0)
axs[0, 1].set(title="unsupervised: points alone", xlim=(-9, 16))
plot.show(
    made,
    "The codes of the test pictures in the plane, twice. Left they are coloured by label: shoes "
    "lie on the left, tops on the right, trousers and dresses below. Right the same points have "
    "one colour; they are dense on the left and thin out to the right.",
)

# %% [markdown]
# On the left, a supervised learner asks: what colour has a new point? On the right, an
# unsupervised learner asks: where will the next point fall? The answer to the second question is
# a *probability density*: a function $p$ on the plane, never negative, whose integral over any
# region is the probability that a point falls there. Finding it from points is **density
# estimation**, and it is what this part of the course is about.
#
# ## 1 · A Gaussian
#
# The simplest way is to choose a family of densities with a few parameters, and to take the
# parameters under which the points that we have are most probable: *maximum likelihood*. The
# family is the Gaussian (normal) distribution in $D$ dimensions,
#
# $$\log p(x) = -\tfrac12\Big((x-\mu)^\top \Sigma^{-1} (x-\mu) + \log\det\Sigma
#   + D\log 2\pi\Big),$$
#
# and maximum likelihood has a solution in closed form:
#
# $$\hat\mu = \frac1N\sum_n x_n, \qquad
#   \hat\Sigma = \frac1N\sum_n (x_n-\hat\mu)(x_n-\hat\mu)^\top .$$
#
# **Exercise 1** (2 points, 15 minutes). Write both. Later we use them in 784 dimensions, where
# $\det\Sigma$ is far too small for a floating-point number, though its logarithm is not. The
# Cholesky factor of $\Sigma$ gives you that logarithm and the quadratic form.


# %% nbgrader={"grade": false, "grade_id": "gaussian", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fit_gaussian(x: Tensor) -> tuple[Tensor, Tensor]:
    """The Gaussian under which the points are most probable.

    Args:
        x: float (N, D), one point a row.

    Returns:
        The mean (D,) and the covariance (D, D), the maximum-likelihood estimates.
    """
    ### BEGIN SOLUTION
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / len(x)
    ### END SOLUTION


def gaussian_log_density(x: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """log N(x; mean, covariance) of each point, in nats.

    Args:
        x: float (N, D). mean: (D,). covariance: (D, D), symmetric and positive definite; its
            determinant may be too small for a float.

    Returns:
        float (N,); it may be positive.
    """
    ### BEGIN SOLUTION
    factor = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(factor, (x - mean).T, upper=False)
    log_determinant = 2 * factor.diagonal().log().sum()
    return -0.5 * ((white**2).sum(0) + log_determinant + len(mean) * math.log(2 * math.pi))
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "gaussian_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]], dtype=torch.float64)
centre, spread = fit_gaussian(x)
check.close(centre, [1.0, 2.0], "the mean of four corners of a rectangle")
check.close(
    spread, [[1.0, 0.0], [0.0, 4.0]], "the covariance of four corners of a rectangle",
    hint="Maximum likelihood divides by N.",
)  # fmt: skip
check.close(
    gaussian_log_density(centre[None], centre, spread), [-math.log(2 * math.pi) - math.log(2)],
    "the log-density at the mean", hint="There only log det Σ = log 4 and D log 2π are left.",
)  # fmt: skip
check.close(
    gaussian_log_density(x, centre, spread) - gaussian_log_density(centre[None], centre, spread),
    [-1.0] * 4, "the log-density of a corner, less that of the mean",
    hint="Each corner lies one standard deviation off in both dimensions.",
)  # fmt: skip
print("fit_gaussian and gaussian_log_density: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "gaussian_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 1, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)
with check.part(points, "the fit", 1):
    for N, D in ((6, 2), (9, 3), (40, 5)):
        x = draw(N, D) @ draw(D, D) + 3 * draw(D)
        m, S = fit_gaussian(x)
        check.close(m, x.mean(0), f"the mean of {N} points", rtol=1e-5)
        check.close(S, x.T.cov(correction=0), f"the covariance of {N} points", rtol=1e-5)
with check.part(points, "the log-density", 1):
    for N, D in ((5, 1), (7, 2), (4, 6)):
        root, m, x = draw(D, D), draw(D), 2 * draw(N, D)
        S = root @ root.T / D + 0.2 * torch.eye(D, dtype=torch.float64)
        expected = stats.multivariate_normal(m.numpy(), S.numpy()).logpdf(x.numpy())
        check.close(gaussian_log_density(x, m, S), expected, f"log p in {D} dimensions", rtol=1e-5)
    for scale in (1e-3, 1e3):
        x, m = scale * draw(3, 150), torch.zeros(150, dtype=torch.float64)
        S = scale**2 * torch.eye(150, dtype=torch.float64)
        expected = torch.distributions.Normal(0.0, scale).log_prob(x).sum(1)
        check.close(gaussian_log_density(x, m, S), expected, "log p in 150 dimensions", rtol=1e-5)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 2 · A histogram
#
# A Gaussian is one smooth hill, whatever the points look like. A histogram assumes less. Cut a
# box into $B\times B$ equal bins and count. The density is the share of points that fell into a
# bin, *divided by the bin's area*: a density is probability per area, and small bins must not
# make it small. The lab adds one thing. A bin in which no training point fell would get
# probability zero, and the first test point there would be infinitely surprising. So every bin
# starts with a pseudo-count $\alpha$ (Laplace's rule):
#
# $$p(x) = \frac{n_{b(x)} + \alpha}{N + \alpha B^2}\cdot\frac{1}{A},
#   \qquad A = \text{the area of one bin},$$
#
# with $n_b$ the number of the $N$ points in bin $b$, and $b(x)$ the bin of $x$.
#
# **Exercise 2** (3 points, 25 minutes). Write the fit, and the log-density of new points. A point
# outside of the box has density zero.


# %% nbgrader={"grade": false, "grade_id": "histogram", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fit_histogram(x: Tensor, low: Tensor, high: Tensor, bins: int, pseudo_count: float) -> Tensor:
    """The density of each of bins × bins equal bins of a box.

    Args:
        x: float (N, 2), points inside the box.
        low, high: float (2,), the box; its sides may differ. A point on an upper edge belongs
            to the last bin.
        bins: B, along each side.
        pseudo_count: α, added to the count of every bin; 0 is allowed.

    Returns:
        float (B, B), probability per area; bin [i, j] is the i-th along the first coordinate
        and the j-th along the second.
    """
    ### BEGIN SOLUTION
    cell = ((x - low) / (high - low) * bins).long().clamp(max=bins - 1)
    counts = torch.bincount(cell[:, 0] * bins + cell[:, 1], minlength=bins**2).to(x.dtype)
    probability = (counts + pseudo_count) / (len(x) + pseudo_count * bins**2)
    area = ((high - low) / bins).prod()
    return (probability / area).reshape(bins, bins)
    ### END SOLUTION


def histogram_log_density(x: Tensor, density: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The log-density of each point under a histogram, in nats.

    Args:
        x: float (N, 2). density: (B, B), as `fit_histogram` gives it. low, high: (2,).

    Returns:
        float (N,); −∞ outside the box and in bins of density zero. The box holds its edges, and
        a point on an upper edge belongs to the last bin.
    """
    ### BEGIN SOLUTION
    bins = len(density)
    cell = ((x - low) / (high - low) * bins).long().clamp(0, bins - 1)
    inside = ((x >= low) & (x <= high)).all(1)
    return density[cell[:, 0], cell[:, 1]].log().where(inside, -math.inf)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "histogram_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
x = torch.tensor([[0.5, 0.5], [0.6, 0.9], [1.5, 3.0], [2.0, 4.0]], dtype=torch.float64)
corners = torch.zeros(2, dtype=torch.float64), torch.tensor([2.0, 4.0], dtype=torch.float64)
table = fit_histogram(x, *corners, 2, 0.0)
check.shape(table, (2, 2), "the histogram")
check.close(table.sum() * 2, 1.0, "the sum of density × area", hint="A bin here has area 2.")
check.close(
    fit_histogram(x[:3], *corners, 2, 0.0)[0], [1 / 3, 0.0], "the two bins with x₁ below 1",
    hint="Two of three points lie in bin [0, 0], whose area is 2, and none in bin [0, 1].",
)  # fmt: skip
check.close(
    fit_histogram(x, *corners, 2, 1.0), [[3 / 16, 1 / 16], [1 / 16, 3 / 16]],
    "the histogram with α = 1", hint="Four points and four pseudo-counts make eight in all.",
)  # fmt: skip
outside = torch.tensor([[1.0, 5.0], [-0.1, 1.0]], dtype=torch.float64)
check.close(
    histogram_log_density(torch.cat([x[:1], outside]), table, *corners).exp(), [1 / 4, 0, 0],
    "the density of a point inside and of two points outside the box",
)  # fmt: skip
print("fit_histogram and histogram_log_density: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "histogram_test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 2, 3 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
draw = lambda *shape: torch.rand(shape, generator=generator, dtype=torch.float64)
cases = []
for N, B in ((30, 3), (200, 7), (1_000, 16)):
    a = 5 * draw(2) - 4
    b = a + torch.tensor([0.5, 3.0]) + draw(2)
    x = a + (b - a) * draw(N, 2) * torch.tensor([1.0, 0.8])
    x[0] = b  # on the upper edge of both sides
    box = torch.stack([a, b], 1).flatten().tolist()
    counts = torch.histogramdd(x, [B, B], range=box).hist
    cases.append((x, a, b, B, counts, (b - a).prod() / B**2))
with check.part(points, "the density", 1):
    for x, a, b, B, counts, area in cases:
        expected = counts / len(x) / area
        check.close(fit_histogram(x, a, b, B, 0.0), expected, f"{B}×{B} bins, no pseudo-count")
with check.part(points, "the pseudo-count", 1):
    for x, a, b, B, counts, area in cases:
        for alpha in (0.3, 2.0):
            expected = (counts + alpha) / (counts + alpha).sum() / area
            check.close(fit_histogram(x, a, b, B, alpha), expected, f"{B}×{B} bins, α = {alpha}")
with check.part(points, "the log-density", 1):
    for _, a, b, B, _, area in cases:
        density = draw(B, B)
        density = density / density.sum() / area
        cell = torch.randint(B, (300, 2), generator=generator)
        at = a + (b - a) / B * (cell + 0.02 + 0.96 * draw(300, 2))
        found = histogram_log_density(at, density, a, b)
        check.close(found, density[cell[:, 0], cell[:, 1]].log(), "log p inside the box")
        edge = torch.stack([b, torch.stack([a[0], b[1]]), torch.stack([b[0], a[1]]), a])
        expected = density[[-1, 0, -1, 0], [-1, -1, 0, 0]].log()
        check.close(histogram_log_density(edge, density, a, b), expected, "log p at the corners")
        beyond = torch.where(draw(60, 1) < 0.5, a - 0.01 - draw(60, 1), b + 0.01 + draw(60, 1))
        mixed = torch.where(draw(60, 2) < 0.5, a + (b - a) * draw(60, 2), beyond)
        out = ((mixed < a) | (mixed > b)).any(1)
        found = histogram_log_density(mixed[out], density, a, b).exp()
        check.close(found, torch.zeros(int(out.sum())), "the density outside the box")
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 3 · Which model is better?
#
# The one that is less surprised by points that it has never seen. The surprise of a point is
# $-\log_2 p(x)$, measured in **bits**; it is the length of the shortest code for the point that
# the model allows, up to a constant that is the same for all models. We average it over held-out
# points:
#
# $$\text{bits} = -\frac1M\sum_{m=1}^M \log_2 p(x_m)
#   = -\frac{1}{M\ln 2}\sum_{m=1}^M \ln p(x_m).$$
#
# On the training points, more bins are always better: in the end each point sits in a bin of its
# own. Only points that took no part in the counting can say when to stop.
#
# **Exercise 3** (2 points, 15 minutes). Fit a histogram for each number of bins on one set of
# points, measure it on another, and choose.


# %% nbgrader={"grade": false, "grade_id": "bins", "locked": false, "schema_version": 3, "solution": true, "task": false}
def choose_bins(
    train: Tensor,
    validation: Tensor,
    low: Tensor,
    high: Tensor,
    candidates: list[int],
    pseudo_count: float,
) -> tuple[int, Tensor]:
    """The number of bins whose histogram of `train` is least surprised by `validation`.

    Args:
        train: float (N, 2). validation: float (M, 2). low, high: (2,), the box of all points.
        candidates: K numbers of bins a side, in any order.
        pseudo_count: α > 0.

    Returns:
        The best of the candidates, and for each candidate the held-out bits a point, float (K,).
    """
    ### BEGIN SOLUTION
    found = []
    for bins in candidates:
        density = fit_histogram(train, low, high, bins, pseudo_count)
        nats = -histogram_log_density(validation, density, low, high).mean()
        found.append(nats / math.log(2))
    bits = torch.stack(found)
    return candidates[int(bits.argmin())], bits
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "bins_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
square = torch.zeros(2, dtype=torch.float64), torch.full((2,), 4.0, dtype=torch.float64)
left = torch.tensor([[1.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
best, bits = choose_bins(left, left + 0.2, *square, [1, 2], 1e-9)
check.close(bits[:1], [4.0], "the bits of a point in one bin of area 16", hint="log₂ 16 = 4.")
check.close(
    bits[1:], [3.0], "the bits of a point where half the box is empty",
    hint="All points lie in two of four bins: density 1/8, and log₂ 8 = 3.",
)  # fmt: skip
assert best == 2, "fewer bits are better, and the number of bins is asked for, not its place"
far, bits = choose_bins(left, left + torch.tensor([2.0, 0.0]), *square, [2, 1], 0.1)
assert far == 1, "these held-out points lie where no training point does: one bin fits them best"
print("choose_bins: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "bins_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 3, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
a = torch.tensor([-6.0, -9.0], dtype=torch.float64)
b = torch.tensor([7.0, 6.0], dtype=torch.float64)
cases = []
for N, M, candidates in ((400, 300, [32, 2, 9, 64, 5]), (60, 90, [1, 40, 4, 12])):
    noise = torch.randn(N + M, 2, generator=generator, dtype=torch.float64)
    train, held = noise.clamp(-4, 4).split([N, M])
    held = 1.2 * held + 0.3
    expected = []
    for B in candidates:
        counts = torch.histogramdd(train, [B, B], range=[-6.0, 7.0, -9.0, 6.0]).hist
        density = (counts + 0.2) / (N + 0.2 * B * B) / (13 * 15 / B**2)
        i, j = ((held - a) / (b - a) * B).floor().long().T
        expected.append(-density[i, j].log2().mean())
    cases.append((train, held, candidates, torch.stack(expected)))
with check.part(points, "the bits", 1):
    for train, held, candidates, expected in cases:
        found = choose_bins(train, held, a, b, candidates, 0.2)[1]
        check.close(found, expected, "the held-out bits of each candidate")
with check.part(points, "the choice", 1):
    for train, held, candidates, expected in cases:
        found = choose_bins(train, held, a, b, candidates, 0.2)[0]
        check.close(found, candidates[int(expected.argmin())], "the chosen number of bins")
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# Now hold the Gaussian and the histograms against the validation points.

# %% tags=["skip-execution"]
start = time.perf_counter()
gaussian = fit_gaussian(z_train)
best_bins, validation_bits = choose_bins(z_train, z_validation, low, high, BINS, PSEUDO_COUNT)
histogram = fit_histogram(z_train, low, high, best_bins, PSEUDO_COUNT)
seconds_in_the_plane = time.perf_counter() - start
train_bits = choose_bins(z_train, z_train, low, high, BINS, PSEUDO_COUNT)[1]
gaussian_bits = -gaussian_log_density(z_validation, *gaussian).mean() / math.log(2)

made, axs = plot.figure(size=(5.4, 3.0))
axs[0, 0].plot(BINS, train_bits.cpu(), "o-", label="histogram, the points it counted")
axs[0, 0].plot(BINS, validation_bits.cpu(), "o-", label="histogram, validation points")
axs[0, 0].axhline(float(gaussian_bits), color="#555555", label="Gaussian, validation points")
axs[0, 0].set(xscale="log", xlabel="bins along each side", ylabel="bits a point")
axs[0, 0].set_xticks(BINS[::2], [str(b) for b in BINS[::2]], minor=False)
axs[0, 0].legend(frameon=False, fontsize=8)
plot.show(
    made,
    "Bits a point over the number of bins a side. On the points that were counted they fall and "
    "fall. On validation points they fall at first and then rise steeply. The Gaussian is one "
    "level line, far above the lowest point of that curve.",
)
print(f"chosen: {best_bins} × {best_bins} bins")

# %% [markdown]
# With too few bins the histogram is blind. With too many it knows the training points by heart:
# that is *overfitting*. Nothing on the training curve warns of it.
#
# Here are both densities, over the box of all possible codes.

# %% tags=["skip-execution"]
steps = torch.linspace(0, 1, 200, dtype=low.dtype, device=low.device)
lattice = low + (high - low) * torch.cartesian_prod(steps, steps)
maps = {
    "Gaussian": gaussian_log_density(lattice, *gaussian).exp(),
    f"histogram, {best_bins}×{best_bins}": histogram_log_density(
        lattice, histogram, low, high
    ).exp(),
}
made, axs = plot.figure(1, 3, (2.7, 2.7))
(left, right), (bottom, top) = torch.stack([low, high], 1).tolist()
axs[0, 0].scatter(*z_test.cpu().T, s=2, color="#555555", linewidths=0)
axs[0, 0].set(title="test points", xlim=(left, right), ylim=(bottom, top))
for ax, (name, density) in zip(axs[0, 1:], maps.items(), strict=True):
    picture = density.reshape(200, 200).T.cpu()
    ax.imshow(picture, origin="lower", extent=(left, right, bottom, top), aspect="auto",
              cmap="Blues", vmin=0, vmax=float(histogram.max()))  # fmt: skip
    ax.set_title(name)
    ax.grid(False)
plot.show(
    made,
    "Three panels over the same box: the test points; the Gaussian, one broad pale hill; the "
    "histogram, whose darkest bins lie at the left edge of the points and at their lower edge, "
    "where the points are densest.",
)

# %% [markdown]
# ## 4 · Drawing new points
#
# A model that knows where points fall can make new ones. For a Gaussian, take noise
# $\varepsilon\sim\mathcal N(0, I)$ and a matrix $L$ with $LL^\top = \Sigma$; then
# $\mu + L\varepsilon$ has the right mean and covariance. For a histogram, draw a bin with its
# probability, and then a point anywhere inside it, all places equally likely.
#
# **Exercise 4** (2 points, 20 minutes). Write both samplers.


# %% nbgrader={"grade": false, "grade_id": "samplers", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sample_gaussian(mean: Tensor, covariance: Tensor, n: int) -> Tensor:
    """n independent points of N(mean, covariance).

    Args:
        mean: float (D,). covariance: float (D, D), symmetric and positive definite.

    Returns:
        float (n, D).
    """
    ### BEGIN SOLUTION
    noise = torch.randn(n, len(mean), dtype=mean.dtype, device=mean.device)
    return mean + noise @ torch.linalg.cholesky(covariance).T
    ### END SOLUTION


def sample_histogram(density: Tensor, low: Tensor, high: Tensor, n: int) -> Tensor:
    """n independent points of a histogram over the box from low to high.

    Args:
        density: float (B, B), as `fit_histogram` gives it. low, high: float (2,).

    Returns:
        float (n, 2).
    """
    ### BEGIN SOLUTION
    bins = len(density)
    drawn = torch.multinomial(density.flatten(), n, replacement=True)
    cell = torch.stack([drawn // bins, drawn % bins], dim=1)
    within = torch.rand(n, 2, dtype=low.dtype, device=low.device)
    return low + (cell + within) * (high - low) / bins
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "samplers_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
centre = torch.tensor([1.0, -2.0], dtype=torch.float64)
spread = torch.tensor([[4.0, 1.5], [1.5, 1.0]], dtype=torch.float64)
many = sample_gaussian(centre, spread, 40_000)
check.shape(many, (40_000, 2), "the samples of the Gaussian")
check.close(many.mean(0), centre, "the mean of many samples", atol=0.08)
check.close(
    many.T.cov(), spread, "the covariance of many samples", atol=0.2,
    hint="Each sample is a column ε, and Lε has covariance LLᵀ. Is L on the right side?",
)  # fmt: skip
table = torch.tensor([[0.0, 0.1], [0.3, 0.1]], dtype=torch.float64)
corners = torch.zeros(2, dtype=torch.float64), torch.tensor([2.0, 4.0], dtype=torch.float64)
many = sample_histogram(table, *corners, 40_000)
check.shape(many, (40_000, 2), "the samples of the histogram")
again = torch.histogramdd(many, [2, 2], range=[0.0, 2.0, 0.0, 4.0], density=True).hist
check.close(again, table, "the histogram of many samples of a histogram", atol=0.01)
assert many.unique().numel() > 1_000, "a point may fall anywhere in its bin, not in one place"
print("sample_gaussian and sample_histogram: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "samplers_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 4, 2 points.
### BEGIN HIDDEN TESTS
generator, points, n = check.generator(), {}, 40_000
draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)
with check.part(points, "the Gaussian", 1):
    root = torch.tensor([[2.0, 0, 0], [1.5, 0.5, 0], [-1, 0.7, 1]]) + 0.1 * draw(3, 3)
    m, S = 3 * draw(3), root @ root.T
    x = sample_gaussian(m, S, n)
    check.shape(x, (n, 3), "the samples")
    white = torch.linalg.solve(torch.linalg.cholesky(S), (x - m).T).T
    check.close(white.mean(0), torch.zeros(3), "the mean of the whitened samples", atol=0.04)
    check.close(white.T.cov(), torch.eye(3), "the covariance of the whitened samples", atol=0.06)
    check.close((white**4).mean(0), torch.full((3,), 3.0), "their fourth moment", atol=0.4)
    check.close((white[1:] * white[:-1]).mean(), 0.0, "neighbouring rows", atol=0.03)
    assert (sample_gaussian(m, S, n) - x).abs().mean() > 0.1, "the samples must be new each time"
with check.part(points, "the histogram", 1):
    a = torch.tensor([-3.0, 2.0], dtype=torch.float64) + draw(2)
    b = a + torch.tensor([1.0, 5.0])
    share = [[0.0, 0.3, 0.05], [0.1, 0.02, 0.0], [0.4, 0.03, 0.1]]
    share = torch.tensor(share, dtype=torch.float64)
    density = share / (b - a).prod() * 9
    x = sample_histogram(density, a, b, n)
    check.shape(x, (n, 2), "the samples")
    assert ((x >= a) & (x <= b)).all(), "a sample lies outside the box"
    place = ((x - a) / (b - a) * 3).clamp(max=2.999999)
    cell, within = place.long(), place.frac() - 0.5
    found = torch.bincount(cell[:, 0] * 3 + cell[:, 1], minlength=9).reshape(3, 3) / n
    check.close(found, share, "the share of samples in each bin", atol=0.015)
    assert found[0, 0] == 0 and found[1, 2] == 0, "a bin of density zero was drawn"
    check.close(within.mean(0), torch.zeros(2), "the mean place within a bin", atol=0.01)
    expected = torch.eye(2) / 12
    check.close(within.T.cov(), expected, "the covariance of places within a bin", atol=0.005)
    check.close((within**4).mean(0), torch.full((2,), 1 / 80), "their fourth moment", atol=0.001)
    follow = ((x - x.mean(0)) / x.std(0))[1:] * ((x - x.mean(0)) / x.std(0))[:-1]
    check.close(follow.mean(0), torch.zeros(2), "neighbouring rows", atol=0.03)
    assert (sample_histogram(density, a, b, n) - x).abs().mean() > 0.05, "samples must be new"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# Draw codes from both models, and turn each into a picture.

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
plot.images(
    {
        "test pictures": to_images(z_test[:14]),
        "Gaussian": to_images(sample_gaussian(*gaussian, 14)),
        "histogram": to_images(sample_histogram(histogram, low, high, 14)),
    },
    "Three rows of pictures decoded from two numbers: those of real pictures, those drawn from "
    "the Gaussian and those drawn from the histogram. All are blurred shoes, tops and trousers.",
)

# %% [markdown]
# These pictures are in no data set: they were drawn. That they are blurred is the fault of the
# two numbers, not of the density: the first row, of real pictures, is as blurred.
#
# ## What labels add
#
# With labels, the same tools do more. Fit one Gaussian to each class. The mixture
# $p(x) = \sum_y p(y)\,p(x\mid y)$ is a density of all points, and Bayes' rule makes a classifier
# of it: $p(y\mid x) = p(y)\,p(x\mid y)/p(x)$. One generative model answers both questions.

# %%
Gaussians = list[tuple[Tensor, Tensor]]


def joint_log_density(x: Tensor, classes: Gaussians, shares: Tensor) -> Tensor:
    """log p(y) + log p(x|y) for points x (N, D) and K classes, one Gaussian each; (N, K)."""
    columns = [gaussian_log_density(x, *gaussian) for gaussian in classes]
    return torch.stack(columns, dim=1) + shares.log()


# %% tags=["skip-execution"]
shares = torch.bincount(labels, minlength=10).double() / len(labels)
ten_gaussians = [fit_gaussian(z_train[labels == k]) for k in range(10)]
joint = joint_log_density(z_test, ten_gaussians, shares)
plane_bits = {
    "Gaussian": gaussian_log_density(z_test, *gaussian),
    f"histogram, {best_bins}×{best_bins}": histogram_log_density(z_test, histogram, low, high),
    "ten Gaussians, one a class": joint.logsumexp(1),
}
plane_bits = {name: float(-log_p.mean() / math.log(2)) for name, log_p in plane_bits.items()}
for name, bits in plane_bits.items():
    print(f"{name:28s} {bits:.3f} bits a test point")
plane_accuracy = float((joint.argmax(1) == fashion_test.labels).double().mean())
print(f"class guessed from two numbers by Bayes' rule: {plane_accuracy:.1%} right")

# %% [markdown]
# ## Why not a histogram of pictures?
#
# In the plane the histogram won. Then why not cut the space of all 784 pixels into bins? With
# eight bins a side there are $8^2 = 64$ bins in the plane, $8^{10}$, a thousand million, in ten
# dimensions, and $8^{784}$ for pictures, more than there are atoms. Almost every bin stays
# empty, and almost every new point falls into an empty one. This is the *curse of
# dimensionality*. Count how many test points fall where no training point was:


# %%
def share_in_empty_bins(train: Tensor, test: Tensor, bins: int) -> float:
    """Share of the points `test` (M, D) in a bin that holds no point of `train` (N, D).

    The bins are equal, `bins` along each side of the smallest box around the training points;
    points beyond it are counted to the nearest bin.
    """
    low, high = train.amin(0), train.amax(0)
    cells = [((x - low) / (high - low) * bins).long().clamp(0, bins - 1) for x in (train, test)]
    seen = set(map(tuple, cells[0].tolist()))
    return sum(tuple(cell) not in seen for cell in cells[1].tolist()) / len(test)


# %% tags=["skip-execution"]
long_train, long_test = ((x - image_mean) @ many_axes for x in (x_train, x_test))
dimensions = [1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20]
empty = {}
for bins in (4, 8, 16):
    empty[bins] = [
        share_in_empty_bins(long_train[:, :d], long_test[:, :d], bins) for d in dimensions
    ]
made, axs = plot.figure(size=(5.2, 2.8))
for bins, shares_empty in empty.items():
    axs[0, 0].plot(dimensions, shares_empty, "o-", label=f"{bins} bins a side")
axs[0, 0].set(xlabel="principal components kept, of 784", ylabel="test points in empty bins")
axs[0, 0].set_xticks(range(2, 21, 2))
axs[0, 0].legend(frameon=False)
plot.show(
    made,
    "Share of test points that fall into a bin without a training point, over the number of "
    "dimensions, for 4, 8 and 16 bins a side. All curves start at zero and climb; "
    "with 16 bins most test points are in empty bins at eight dimensions.",
)

# %% [markdown]
# A density over pictures has to know something about pictures. The rest of this course is about
# what: that pixels depend on their neighbours, that few causes lie behind many pixels, that a
# picture can be made by a network. Here are the two things that need no network.
#
# * *Pixel histograms*: a histogram of eight bins for each pixel, all pixels independent.
# * *A Gaussian* in all 784 dimensions, which knows how each pair of pixels goes together.
#
# Each comes once for all pictures and once for each class. To compare them with the later labs,
# a pixel gets eight grey levels $k = 0,\dots,7$, and we ask for the probability of whole numbers.
# The Gaussian is a density on real numbers, so each level $k$ is spread over the interval from
# $k/8$ to $(k+1)/8$ with uniform noise $u$. Jensen's inequality then gives a bound (Theis et al.,
# 2016):
#
# $$\log P(k) \;\ge\; \mathbb E_u\Big[\log p\Big(\frac{k+u}{8}\Big)\Big] - 784\log 8 .$$
#
# The covariance of that noise is known, $I/(12\cdot 8^2)$, so we add it and need not draw it.


# %%
def pixel_histograms(levels: Tensor) -> Tensor:
    """The probability of each grey level of each pixel: int64 (N, 784) → float64 (784, L)."""
    counts = torch.stack([(levels == k).sum(0) for k in range(LEVELS)], dim=1).double()
    return (counts + PSEUDO_COUNT) / (len(levels) + PSEUDO_COUNT * LEVELS)


def pixel_log_probability(levels: Tensor, tables: Tensor) -> Tensor:
    """log P of images int64 (N, 784) whose pixels are independent with `tables` (784, L); (N,)."""
    return tables.log()[torch.arange(len(tables), device=tables.device), levels].sum(1)


def fit_image_gaussian(levels: Tensor) -> tuple[Tensor, Tensor]:
    """A Gaussian of images int64 (N, 784), spread over their levels; pixels in [0, 1]."""
    centre, spread = fit_gaussian((levels + 0.5).double() / LEVELS)
    noise = torch.eye(len(spread), dtype=spread.dtype, device=spread.device) / (12 * LEVELS**2)
    return centre, spread + noise


def bits_per_dimension(log_density: Tensor, pixels: int = 784) -> float:
    """Bits a pixel from log-densities (N,) of images with pixels in [0, 1]."""
    return float((math.log(LEVELS) * pixels - log_density.mean()) / (pixels * math.log(2)))


# %% tags=["skip-execution"]
k_train = data.to_levels(fashion.pixels[:TRAIN_IMAGES], LEVELS).flatten(1)
k_test = data.to_levels(fashion_test.pixels, LEVELS).flatten(1)
torch.manual_seed(SEED)
spread_test = (k_test + torch.rand(k_test.shape, dtype=low.dtype, device=low.device)) / LEVELS
parts = {"all": [k_train], "class": [k_train[labels == k] for k in range(10)]}
prior = {"all": torch.ones_like(shares[:1]), "class": shares}
start = time.perf_counter()
gaussians = {name: [fit_image_gaussian(k) for k in group] for name, group in parts.items()}
seconds_on_images = time.perf_counter() - start
tables = {name: [pixel_histograms(k) for k in group] for name, group in parts.items()}
joint = {name: joint_log_density(spread_test, gaussians[name], prior[name]) for name in parts}
image_bits = {}
for name in parts:
    columns = [pixel_log_probability(k_test, table) for table in tables[name]]
    log_p = (torch.stack(columns, 1) + prior[name].log()).logsumexp(1)
    image_bits["pixel histograms", name] = float(-log_p.mean() / (784 * math.log(2)))
    image_bits["Gaussian", name] = bits_per_dimension(joint[name].logsumexp(1))
image_accuracy = float((joint["class"].argmax(1) == fashion_test.labels).double().mean())


# %% [markdown]
# Draw pictures from all four, and score them on the features of the course's own classifier.
# Lab 32 builds these scores: a smaller Fréchet distance is better, and it can be compared between
# the labs of this course and with nothing else.


# %%
def draw_images(model: str, name: str, n: int) -> Tensor:
    """n pictures (n, 1, 28, 28) in [0, 1] of one of the four models, classes in turn."""
    counts = torch.arange(n).remainder(len(parts[name])).bincount(minlength=len(parts[name]))
    drawn = []
    for k, count in enumerate(counts.tolist()):
        if model == "Gaussian":
            drawn.append(sample_gaussian(*gaussians[name][k], count).clamp(0, 1))
        else:
            drawn.append(torch.multinomial(tables[name][k], count, True).T / (LEVELS - 1))
    return torch.cat(drawn).float().reshape(-1, 1, 28, 28)


# %% tags=["skip-execution"]
quality, rows = {}, {"test pictures": k_test[:14].reshape(-1, 1, 28, 28) / (LEVELS - 1)}
for model, name in sorted(image_bits, key=lambda key: (key[1], key[0] == "Gaussian")):
    torch.manual_seed(SEED)
    drawn = draw_images(model, name, SAMPLES)
    found = scores.score(scores.to_pixels(drawn), fashion_test.pixels, features="fashion")
    quality[model, name] = found
    rows[f"{model.replace('pixel histograms', 'pixels')}, {name}"] = drawn[:: SAMPLES // 14][:14]
    title, bits = f"{model}, one for {name}", image_bits[model, name]
    print(f"{title:32s} {bits:.3f} bits/dim", end="   ")
    print(f"Fréchet, course features {found['fid_course']:6.1f}   IS {found['is_course']:.2f}")
print(f"class guessed by ten Gaussians in 784 dimensions: {image_accuracy:.1%} right")
plot.images(
    rows,
    "Rows of test pictures and of pictures drawn from four models. Pixel histograms give grey "
    "noise in the shape of clothes, clearer with one model a class. One Gaussian for all gives "
    "smoky ghosts of several clothes at once; ten Gaussians give clothes that can be named, "
    "with a grain.",
)

# %% [markdown]
# Read the table and the pictures together. In the quick profile, with about 800 a class, the
# pixel histograms of each class need the fewest bits, and their pictures are noise. The Gaussians
# of each class need more, and their pictures can be named. They have three hundred thousand
# parameters a class, and too few pictures to find them from; in the full profile, with 5,000
# a class, they win in bits too. *How probable a model finds real pictures and how good its own
# pictures look are two questions*, and a model may be good at one and poor at the other. A third
# question is what a model knows about a picture, its *representation*; there, ten Gaussians know
# the class.
#
# No family of models is good at all three. The page has a map of the whole course that is drawn
# by the second question: which models can say how probable a picture is, which can give a bound,
# and which can only draw.

# %% [markdown]
# ## 5 · How far is one distribution from another?
#
# Learning means bringing the model's distribution closer to that of the data. Closer in which
# sense? Of the four answers that this course uses, the **Kullback–Leibler divergence** is the
# one behind maximum likelihood:
#
# $$\mathrm{KL}(p\,\|\,q) = \mathbb E_{x\sim p}\big[\log p(x) - \log q(x)\big].$$
#
# It is what one pays, in nats a sample, for describing samples of $p$ with a code made for $q$.
# It is not symmetric, and it has no upper limit. Between two Gaussians it has a closed form,
#
# $$\mathrm{KL} = \tfrac12\Big(\operatorname{tr}(\Sigma_q^{-1}\Sigma_p)
#   + (\mu_q-\mu_p)^\top\Sigma_q^{-1}(\mu_q-\mu_p) - D
#   + \log\frac{\det\Sigma_q}{\det\Sigma_p}\Big).$$
#
# Where there is none, one samples: with $x_1,\dots,x_n$ drawn from $p$ and
# $r_i = \log p(x_i) - \log q(x_i)$, the mean of the $r_i$ estimates it. How far the estimate is
# off is told by its *standard error*, the standard deviation of the $r_i$ divided by $\sqrt n$.
#
# **Exercise 5** (3 points, 25 minutes). Write both. Determinants may be as small as before.


# %% nbgrader={"grade": false, "grade_id": "gaussian_kl", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gaussian_kl(
    mean_p: Tensor, covariance_p: Tensor, mean_q: Tensor, covariance_q: Tensor
) -> Tensor:
    """KL(p ‖ q) of Gaussians in closed form, a scalar, in nats.

    Args:
        mean_p, mean_q: float (D,). covariance_p, covariance_q: float (D, D), positive definite;
            their determinants may be too small for a float.
    """
    ### BEGIN SOLUTION
    factor_p, factor_q = torch.linalg.cholesky(covariance_p), torch.linalg.cholesky(covariance_q)
    white = torch.linalg.solve_triangular(factor_q, factor_p, upper=False)
    shift = torch.linalg.solve_triangular(factor_q, (mean_q - mean_p)[:, None], upper=False)
    log_ratio = 2 * (factor_q.diagonal().log() - factor_p.diagonal().log()).sum()
    return 0.5 * ((white**2).sum() + (shift**2).sum() - len(mean_p) + log_ratio)
    ### END SOLUTION


def gaussian_kl_monte_carlo(
    mean_p: Tensor, covariance_p: Tensor, mean_q: Tensor, covariance_q: Tensor, n: int
) -> tuple[Tensor, Tensor]:
    """The mean of log p − log q over n samples, and its standard error: two scalars, in nats."""
    ### BEGIN SOLUTION
    x = sample_gaussian(mean_p, covariance_p, n)
    log_p = gaussian_log_density(x, mean_p, covariance_p)
    log_q = gaussian_log_density(x, mean_q, covariance_q)
    ratios = log_p - log_q
    return ratios.mean(), ratios.std() / math.sqrt(n)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "gaussian_kl_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
zero, one = torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
check.close(gaussian_kl(zero, one, zero, one), 0.0, "KL of a Gaussian to itself")
check.close(gaussian_kl(zero, one, zero + 3, one), 9.0, "KL for a shift by 3 in two dimensions")
check.close(
    gaussian_kl(zero, one, zero, 4 * one), math.log(4) - 0.75, "KL(N(0, I) ‖ N(0, 4 I))",
    hint="The trace is 2/4, and log det Σ_q = 2 log 4. Is it the other direction, 3 − log 4?",
)  # fmt: skip
torch.manual_seed(SEED)
estimate, error = gaussian_kl_monte_carlo(zero, one, zero + 3, one, 40_000)
check.close(error, math.sqrt(18 / 40_000), "the standard error for the shift by 3", rtol=0.05)
check.close(
    estimate, 9.0, "the estimate for the shift by 3", atol=6 * math.sqrt(18 / 40_000),
    hint="The samples come from p, the first of the two.",
)  # fmt: skip
print("gaussian_kl and gaussian_kl_monte_carlo: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "gaussian_kl_test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 5, 3 points.
### BEGIN HIDDEN TESTS
generator, points, n = check.generator(), {}, 20_000
draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


def pair(D, scale=1.0):
    """Two random Gaussians, the second about twice as wide, and KL(p ‖ q) by torch."""
    eye, arguments = torch.eye(D, dtype=torch.float64), []
    for width in (1.0, 2.0):
        root = eye + 0.3 * draw(D, D)
        arguments += [scale * (0.5 + draw(D)), (scale * width) ** 2 * (root @ root.T + 0.1 * eye)]
    p, q = (torch.distributions.MultivariateNormal(*arguments[i : i + 2]) for i in (0, 2))
    return arguments, torch.distributions.kl_divergence(p, q)


with check.part(points, "the closed form", 1):
    for D, scale in ((1, 1.0), (2, 1.0), (5, 3.0), (120, 1e-3)):
        arguments, expected = pair(D, scale)
        check.close(gaussian_kl(*arguments), expected, f"KL in {D} dimensions", rtol=1e-5)
trials = []
for D in (2, 3):
    (mean_p, S_p, mean_q, S_q), expected = pair(D)
    A, slope = S_q.inverse() - S_p.inverse(), S_q.inverse() @ (mean_p - mean_q)
    variance = 0.5 * (A @ S_p @ A @ S_p).trace() + slope @ S_p @ slope
    trials.append(((mean_p, S_p, mean_q, S_q, n), expected, float((variance / n).sqrt())))
with check.part(points, "the estimate", 1):
    for arguments, expected, error in trials:
        estimates = [float(gaussian_kl_monte_carlo(*arguments)[0]) for _ in range(8)]
        found = torch.tensor(estimates, dtype=torch.float64)
        check.close(found.mean(), expected, "the mean of 8 estimates", rtol=0, atol=2.5 * error)
        spread = ((found - expected) / error).square().mean().sqrt()
        assert spread < 2.5, f"estimates are off by {spread:.1f} standard errors"
        assert found.unique().numel() == 8, "each estimate must draw new samples"
        few = [float(gaussian_kl_monte_carlo(*arguments[:4], 10)[0]) for _ in range(40)]
        ratio = float(torch.tensor(few).std()) / (error * math.sqrt(n / 10))
        assert 0.4 < ratio < 2.5, (
            f"estimates from 10 samples spread {ratio:.2f} times as they should"
        )
with check.part(points, "the standard error", 1):
    for arguments, _, error in trials:
        found = gaussian_kl_monte_carlo(*arguments)[1]
        check.close(found, error, "the standard error", rtol=0.15)
        quarter = gaussian_kl_monte_carlo(*arguments[:4], n // 4)[1]
        check.close(quarter, 2 * error, "the standard error of a quarter of n", rtol=0.15)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 6 · Three distances between tables
#
# For distributions over $K$ outcomes, a density is a table of probabilities, and all is a sum.
# Beside KL stand two distances that are symmetric and bounded. The **total variation** is the
# largest difference that an event can have between the two probabilities. The **Jensen–Shannon
# divergence** compares both with the mixture $m = (p+q)/2$:
#
# $$\mathrm{TV}(p,q) = \tfrac12\sum_k |p_k - q_k|,\qquad
#   \mathrm{KL}(p\,\|\,q) = \sum_k p_k\log\frac{p_k}{q_k},$$
# $$\mathrm{JS}(p,q) = \tfrac12\mathrm{KL}(p\,\|\,m) + \tfrac12\mathrm{KL}(q\,\|\,m).$$
#
# Outcomes of probability zero need care. Where $p_k = 0$ the term is zero, since
# $t\log t\to 0$. Where $q_k = 0 < p_k$, KL is infinite, and that is the right answer: $q$ called
# something impossible that happens.
#
# **Exercise 6** (3 points, 20 minutes). Write the three.


# %% nbgrader={"grade": false, "grade_id": "tables", "locked": false, "schema_version": 3, "solution": true, "task": false}
def total_variation(p: Tensor, q: Tensor) -> Tensor:
    """Total variation of tables p, q (..., K), each with sum 1; (...), between 0 and 1."""
    ### BEGIN SOLUTION
    return 0.5 * (p - q).abs().sum(-1)
    ### END SOLUTION


def kl_divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p ‖ q) of tables p, q (..., K); (...), in nats, from 0 to infinity.

    Kullback and Leibler (1951).
    """
    ### BEGIN SOLUTION
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)
    ### END SOLUTION


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Jensen–Shannon divergence of tables p, q (..., K); (...), in nats, from 0 to log 2.

    Lin (1991).
    """
    ### BEGIN SOLUTION
    middle = (p + q) / 2
    return (kl_divergence(p, middle) + kl_divergence(q, middle)) / 2
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "tables_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
p, q = (
    torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]),
    torch.tensor([[0.25, 0.75, 0.0], [0, 1, 0]]),
)
check.close(
    total_variation(p, q), [0.25, 1.0], "TV of two pairs of tables",
    hint="Tables with nothing in common are at distance 1.",
)  # fmt: skip
check.close(
    kl_divergence(p[0], q[0]), 0.5 * math.log(4 / 3), "KL of one pair",
    hint="An outcome of probability zero adds nothing; 0 · log 0 as floats is NaN.",
)  # fmt: skip
assert float(kl_divergence(p, q)[1]) == math.inf, "KL is infinite where q = 0 and p > 0"
check.close(
    jensen_shannon(p, q)[1], math.log(2), "JS of tables with nothing in common",
    hint="Both KL terms are log 2 then, and each counts one half.",
)  # fmt: skip
check.close(jensen_shannon(p, q), jensen_shannon(q, p), "JS with its arguments exchanged")
print("total_variation, kl_divergence and jensen_shannon: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "tables_test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 6, 3 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
p, q = torch.rand(2, 4, 3, 9, generator=generator, dtype=torch.float64) ** 3
q = torch.where(torch.rand(q.shape, generator=generator) < 0.3, 0.0, q)
p[..., 0] = q[..., 0] = 0.0  # an outcome that neither has
p[..., 1], q[..., 1] = 0.0, 0.5  # one that only q has
p[..., 2], q[..., 2] = 0.5, 0.0  # one that only p has
q[..., 3] = 0.4
p, q = p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)
full = (q + 0.05) / (q + 0.05).sum(-1, keepdim=True)  # no zero
apart = p * (q == 0), q * (p == 0)
apart = [t / t.sum(-1, keepdim=True) for t in apart]
with check.part(points, "total variation", 1):
    for a, b in ((p, q), (p, full), apart):
        expected = torch.maximum(a - b, torch.zeros_like(a)).sum(-1)
        check.close(total_variation(a, b), expected, "TV of random tables", rtol=1e-5)
    expected = 0.5 * spatial.distance.cityblock(p[0, 0], q[0, 0])
    check.close(total_variation(p[0, 0], q[0, 0]), expected, "TV of one pair", rtol=1e-5)
with check.part(points, "KL", 1):
    for a, b in ((p, full), (q, full), (full, full)):
        expected = torch.from_numpy(stats.entropy(a.numpy(), b.numpy(), axis=-1))
        check.close(kl_divergence(a, b), expected, "KL of random tables", rtol=1e-5, atol=1e-7)
    check.close((-kl_divergence(p, q)).exp(), torch.zeros(4, 3), "exp(−KL) where KL is infinite")
    check.close((-kl_divergence(full, p)).exp(), torch.zeros(4, 3), "the same, exchanged")
    check.close(kl_divergence(p[0, 0], full[0, 0]), stats.entropy(p[0, 0], full[0, 0]), "one pair")
with check.part(points, "JS", 1):
    for a, b in ((p, q), (q, p), (p, full), apart):
        expected = spatial.distance.jensenshannon(a.numpy(), b.numpy(), axis=-1) ** 2
        found = jensen_shannon(a, b)
        check.close(found, expected, "JS of random tables", rtol=1e-5, atol=1e-7)
    check.close(jensen_shannon(p, p), torch.zeros(4, 3), "JS of tables to themselves")
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 7 · Moving earth
#
# The three distances compare the two probabilities outcome by outcome. None knows whether two
# outcomes are near each other. The **earth mover's distance**, or Wasserstein distance $W_1$,
# does: think of one distribution as heaps of earth, of the other as holes, and ask for the least
# work, mass times way, that fills the holes.
#
# On a line the best plan is known: no two paths cross. So sort both samples and move the
# smallest to the smallest, the next to the next, and so on. With $x_{(i)}$ the $i$-th smallest,
#
# $$W_1 = \frac1N\sum_{i=1}^N \big|x_{(i)} - y_{(i)}\big|.$$
#
# **Exercise 7** (1 point, 5 minutes). Write it. A learner will use its gradient in the samples,
# so keep it differentiable.


# %% nbgrader={"grade": false, "grade_id": "earth_mover", "locked": false, "schema_version": 3, "solution": true, "task": false}
def earth_mover(x: Tensor, y: Tensor) -> Tensor:
    """W₁ between samples x and y on a line, both float (N,), in any order.

    Returns:
        A scalar in the unit of x, not negative, differentiable in both arguments.
    """
    ### BEGIN SOLUTION
    return (x.sort().values - y.sort().values).abs().mean()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "earth_mover_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
x, y = torch.tensor([3.0, 0.0, 1.0]), torch.tensor([1.0, 6.0, 2.0])
check.close(
    earth_mover(x, y), 5 / 3, "W₁ of three points and three points",
    hint="Sorted: 0 → 1, 1 → 2, 3 → 6, which makes ways of 1, 1 and 3.",
)  # fmt: skip
check.close(earth_mover(x, x.flip(0)), 0.0, "W₁ of the same points in another order")
_, (d_x, _) = check.vjp(earth_mover, (x, y), torch.tensor(1.0))
check.close(d_x, [-1 / 3] * 3, "the gradient of W₁ in x", hint="Each point of x lies too low.")
print("earth_mover: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "earth_mover_test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 7, 1 point.
### BEGIN HIDDEN TESTS
generator = check.generator()
for N, shift, scale in ((1, 0.5, 1.0), (8, 0.0, 1.0), (200, -1.0, 3.0)):
    x, y = torch.randn(2, N, generator=generator, dtype=torch.float64)
    y = scale * y + shift
    expected = stats.wasserstein_distance(x.numpy(), y.numpy())
    cotangent = torch.randn((), generator=generator, dtype=torch.float64)
    (value,), (d_x, d_y) = check.vjp(earth_mover, (x, y), cotangent)
    check.close(value, expected, f"W₁ of {N} points", rtol=1e-5)
    matched = y.sort().values[x.argsort().argsort()]
    check.close(d_x, cotangent * (x - matched).sign() / N, "the gradient in x")
    matched = x.sort().values[y.argsort().argsort()]
    check.close(d_y, cotangent * (y - matched).sign() / N, "the gradient in y")
### END HIDDEN TESTS

# %% [markdown]
# ## Every distance against a second opinion
#
# A formula that was written from a book should be held against something that was not. SciPy has
# some of these distances, under names of its own: its `jensenshannon` is the *square root* of
# JS. Others can be integrated numerically.

# %% tags=["skip-execution"]
generator = torch.Generator().manual_seed(SEED)
p, q = torch.rand(2, 100, 30, generator=generator, dtype=torch.float64)
p, q = p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)
x, y = torch.randn(2, 1_000, generator=generator, dtype=torch.float64)
ours = {
    "TV": total_variation(p, q),
    "KL": kl_divergence(p, q),
    "JS": jensen_shannon(p, q),
    "W1": earth_mover(x, 2 * y + 1),
}
scipys = {
    "TV": [spatial.distance.cityblock(*pair) / 2 for pair in zip(p, q, strict=True)],
    "KL": stats.entropy(p, q, axis=1),
    "JS": spatial.distance.jensenshannon(p, q, axis=1) ** 2,
    "W1": stats.wasserstein_distance(x, 2 * y + 1),
}
differences = {name: float((ours[name] - torch.tensor(scipys[name])).abs().max()) for name in ours}
for name, difference in differences.items():
    print(f"{name} from SciPy's by {difference:.1e} at most")

# %% [markdown]
# And the divergence of two Gaussians in three ways: in closed form, as an integral over the line,
# and from samples.

# %% tags=["skip-execution"]
one_d = [torch.tensor(value, dtype=torch.float64) for value in ([0.3], [[0.64]], [-1.0], [[2.89]])]
normal_p, normal_q = stats.norm(0.3, 0.8), stats.norm(-1.0, 1.7)
integral, _ = integrate.quad(
    lambda t: normal_p.pdf(t) * (normal_p.logpdf(t) - normal_q.logpdf(t)), -12, 12
)
closed = float(gaussian_kl(*one_d))
differences["gaussian_kl"] = abs(closed - integral)
torch.manual_seed(SEED)
estimate, error = (float(value) for value in gaussian_kl_monte_carlo(*one_d, MONTE_CARLO))
print(f"closed form {closed:.6f}, integral {integral:.6f}, ", end="")
print(f"{MONTE_CARLO:,} samples {estimate:.4f} with standard error {error:.4f}")

# %% [markdown]
# ## 8 · Two clouds of points
#
# Now the example for which this lab was written. It needs the four distances between clouds of
# points in the plane, where each of $N$ points carries the mass $1/N$.
#
# For TV, KL and JS, a cloud is a table over all the points that occur in either cloud: a point
# has the share of the cloud that lies exactly there. For $W_1$ one looks for the best plan. With
# as many points here as there, some best plan moves each whole point to one place, so it is a
# one-to-one matching $\pi$, and
#
# $$W_1 = \min_\pi \frac1N\sum_{i=1}^N \big\|x_i - y_{\pi(i)}\big\| .$$
#
# `scipy.optimize.linear_sum_assignment` finds $\pi$ from the table of all distances.
#
# **Exercise 8** (2 points, 25 minutes). Write the four distances. $W_1$ must be differentiable:
# the matching is found without gradients, and the gradient flows through the distances.


# %% nbgrader={"grade": false, "grade_id": "clouds", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cloud_distances(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """TV, KL(x ‖ y), JS and W₁ between two clouds of points.

    Args:
        x, y: float (N, 2), N points of mass 1/N each. Equal rows are one point with more mass.

    Returns:
        Four scalars; KL and JS in nats, KL may be infinite. W₁, with Euclidean ways, is
        differentiable in x and y.
    """
    ### BEGIN SOLUTION
    distinct, place = torch.cat([x, y]).detach().unique(dim=0, return_inverse=True)
    p, q = (
        torch.bincount(part, minlength=len(distinct)).to(x.dtype) / len(x)
        for part in place.split(len(x))
    )
    ways = (x[:, None] - y).norm(dim=-1)
    rows, columns = linear_sum_assignment(ways.detach().cpu())
    moved = ways[rows, columns].mean()
    return total_variation(p, q), kl_divergence(p, q), jensen_shannon(p, q), moved
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "clouds_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [5.0, 0.0]])
y = torch.tensor([[1.0, 0.0], [0.0, 0.0], [5.0, 3.0], [5.0, 0.0]])
tv, kl, js, w1 = cloud_distances(x, y)
check.close(tv, 0.25, "TV of two clouds", hint="x has two of its four points at (1, 0), y has one.")
assert float(kl) < math.inf, "KL(x ‖ y) is finite here: every point of x is a point of y"
assert float(cloud_distances(y, x)[1]) == math.inf, "KL(y ‖ x) is infinite: x has no point (5, 3)"
check.close(
    w1, 1.25, "W₁ of two clouds",
    hint="Three points stay; one goes from (1, 0) to (5, 3), a way of 5.",
)  # fmt: skip
print("cloud_distances: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "clouds_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 8, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
draw = lambda n: torch.randn(n, 2, generator=generator, dtype=torch.float64)
with check.part(points, "TV, KL and JS", 1):
    atoms, order = draw(6), torch.randperm(6, generator=generator)
    atoms[1, 0] = atoms[0, 0]  # points of one column, and of one row, are not one point
    atoms[2, 1] = atoms[0, 1]
    atoms[3:5] = atoms[:2] + 0.01  # near is not the same
    cases = (
        ([6, 3, 1, 1, 4, 5], [1, 3, 7, 2, 4, 3]),
        ([5, 5, 4, 0, 3, 3], [4, 2, 4, 1, 6, 3]),
        ([5, 5, 4, 1, 3, 2], [4, 2, 4, 0, 6, 4]),
        ([5, 5, 5, 0, 0, 5], [0, 0, 0, 9, 11, 0]),
    )
    for n_x, n_y in cases:
        n_x, n_y = torch.tensor(n_x)[order], torch.tensor(n_y)[order]
        x, y = atoms.repeat_interleave(n_x, 0), atoms.repeat_interleave(n_y, 0)
        x = x[torch.randperm(20, generator=generator)]
        y = y[torch.randperm(20, generator=generator)]
        p, q = n_x.double() / 20, n_y.double() / 20
        tv, kl, js, _ = cloud_distances(x, y)
        check.close(tv, 0.5 * (p - q).abs().sum(), "TV of two clouds")
        expected = torch.as_tensor(stats.entropy(p, q))
        check.close((-torch.as_tensor(kl)).exp(), (-expected).exp(), "exp(−KL) of two clouds")
        check.close(js, spatial.distance.jensenshannon(p, q) ** 2, "JS of two clouds")
with check.part(points, "W₁", 1):
    for N in (1, 7, 40):
        x, y = draw(N), 0.7 * draw(N) + torch.tensor([2.0, -0.3])
        rows, columns = linear_sum_assignment(spatial.distance.cdist(x, y))
        step = x - y[columns]
        expected = step.norm(dim=1).mean()
        cotangent = torch.randn((), generator=generator, dtype=torch.float64)
        (value,), (d_x, d_y) = check.vjp(lambda *xy: cloud_distances(*xy)[3], (x, y), cotangent)
        check.close(value, expected, f"W₁ of clouds of {N} points", rtol=1e-5)
        direction = cotangent * step / step.norm(dim=1, keepdim=True) / N
        check.close(d_x, direction, "the gradient of W₁ in x")
        check.close(d_y[columns], -direction, "the gradient of W₁ in y")
    found = cloud_distances(x, torch.cat([x[10:], x[:10]]))[3]
    check.close(found, 0.0, "W₁ of a cloud to itself in another order")
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## Two parallel lines
#
# Let the data lie on an upright line: $(0, u)$ with $u$ uniform between 0 and 1. Let the model
# draw from a line beside it: $(\theta, u)$. The model has one parameter, and the right value is
# $\theta = 0$. What do the four distances tell a learner that stands somewhere else? (Arjovsky et
# al., 2017, example 1.)


# %%
def two_lines(theta: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """n points of the line through 0 and n of the line through θ, each (n, 2), equal heights."""
    heights = torch.linspace(0, 1, n, dtype=theta.dtype)
    return tuple(torch.stack([at.expand(n), heights], dim=1) for at in (theta * 0, theta))


def line_distances(theta: float) -> list[float]:
    """TV, KL, JS and W₁ between the two lines at distance θ."""
    lines = two_lines(torch.tensor(theta, dtype=torch.float64), 40)
    return [float(distance) for distance in cloud_distances(*lines)]


def line_slopes(theta: float, step: float = 1e-3) -> list[float]:
    """The slope of each distance at θ, as a difference quotient; NaN for ∞ − ∞."""
    after, before = line_distances(theta + step), line_distances(theta - step)
    return [(a - b) / (2 * step) for a, b in zip(after, before, strict=True)]


# %% tags=["skip-execution"]
NAMES = ("TV", "KL", "JS", "W₁")
thetas = [k / 20 for k in range(-20, 21)]
values = torch.tensor([line_distances(theta) for theta in thetas])
slopes = torch.tensor([line_slopes(theta) for theta in thetas])
for title, row in (("θ = 0  ", values[20]), ("θ = 0.5", values[30]), ("slope  ", slopes[30])):
    print(
        title, *(f"{name} {number:5.3f}" for name, number in zip(NAMES, row, strict=True)), sep="  "
    )

# %% tags=["skip-execution"]
made, axs = plot.figure(2, 4, (1.9, 1.9))
for k, name in enumerate(NAMES):
    colour, top, bottom = plot.COLOURS[k], *axs[:, k]
    height = values[:, k].clamp(max=1.6)  # where the figure draws infinity
    for side in (slice(0, 20), slice(21, 41)):
        top.plot(thetas[side], height[side], color=colour)
        bottom.plot(thetas[side], slopes[side, k], color=colour)
    top.plot(0, height[20], "o", color=colour, markersize=4)
    top.set(title=name, ylim=(-0.1, 1.8))
    bottom.set(xlim=top.get_xlim(), ylim=(-1.5, 1.5), xlabel="θ")
axs[0, 1].set_yticks([0, 1, 1.6], ["0", "1", "∞"])
axs[1, 1].text(0, 0, "∞ − ∞:\nno slope", ha="center", va="center")
axs[0, 0].set_ylabel("distance")
axs[1, 0].set_ylabel("slope in θ")
plot.show(
    made,
    "The four distances between two parallel lines over θ, and below each its slope. TV is 1 and "
    "JS is log 2 everywhere but at θ = 0, where both drop to 0; their slopes are zero. KL is "
    "infinite but at 0 and has no slope. W₁ is a V with its tip at 0 and slopes −1 and 1.",
)

# %% [markdown]
# As long as the lines do not touch, TV and JS are constant: their slope is zero, and every
# direction looks the same. KL is infinite and has no slope at all. $W_1 = |\theta|$ alone falls on
# the way to the truth. Let a learner walk down each slope from $\theta = 0.8$:

# %% tags=["skip-execution"]
for k in (0, 2, 3):  # KL gives no number to go by
    theta = 0.8
    for _ in range(100):
        theta -= 0.01 * line_slopes(theta)[k]
    print(f"{NAMES[k]} leads the learner from θ = 0.80 to θ = {abs(theta):.2f}")

# %% [markdown]
# Is this far-fetched? Images lie on thin surfaces in the space of all pixels, and at the start of
# training, a model's images lie on another. The original GAN (lab 31) minimises JS, in effect, and
# its learner can be left without a slope. The Wasserstein GAN (lab 35) follows $W_1$. Models with a
# likelihood escape KL's infinity by giving every image some probability, as the pseudo-count did.
#
# **Exercise 9** (2 points, 15 minutes; graded by hand). In your own words: (a) A friend shows
# you a histogram of $256\times256$ bins that needs far fewer bits for its training points than
# yours with $32\times32$. What do you ask, and what do you expect to hear? (b) Why does the
# Jensen–Shannon divergence give no direction to the learner of the parallel lines, and what does
# the earth mover's distance know that it does not?

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) How many bits for points that it has not counted? On the training points more bins always
# need fewer bits, because in the end each point has a bin of its own. On held-out points I
# expect the fine histogram to be worse: most of its bins are empty or hold one point, so its
# density is noise, and held-out points often fall into bins that only have their pseudo-count.
# The number of bins has to be chosen on validation points and reported on test points.
#
# (b) As long as the two lines have no point in common, JS compares probabilities place by place
# and finds at every place that one of the two is zero, however near the lines are. So it is
# log 2 for all θ ≠ 0, and a constant has the slope zero. The earth mover's distance knows how far
# apart the places are: bringing the line a little closer makes the way of all mass shorter, and
# so |θ| falls steadily towards the truth.
# ### END SOLUTION

# %% [markdown]
# ## Record
#
# The last cell writes the numbers of this run to a file, with profile, seed, hardware and
# versions. The tables of the book are made from such files. Under the names that all labs share
# stand the numbers of the one Gaussian over all 784 pixels, this course's plainest model of an
# image with an exact density.

# %% tags=["skip-execution"]
draw = lambda n: sample_gaussian(*gaussians["all"][0], n)
numbers = {
    "plane_gaussian_bits": plane_bits["Gaussian"],
    "plane_histogram_bits": plane_bits[f"histogram, {best_bins}×{best_bins}"],
    "plane_class_gaussians_bits": plane_bits["ten Gaussians, one a class"],
    "plane_histogram_bins": best_bins,
    "plane_accuracy": plane_accuracy,
    "bits_per_dim": image_bits["Gaussian", "all"],
    **quality["Gaussian", "all"],
    "class_gaussians_accuracy": image_accuracy,
    "parameters": 784 + 784 * 785 // 2,
    "train_seconds": seconds_in_the_plane + seconds_on_images,
    "milliseconds_per_sample_1": records.milliseconds_per_sample(draw, 1),
    "milliseconds_per_sample_256": records.milliseconds_per_sample(draw, 256),
}
others = set(image_bits) - {("Gaussian", "all")}
for model, name in sorted(others):
    prefix = f"{name}_{model.replace(' ', '_').lower()}_"
    numbers[prefix + "bits_per_dim"] = image_bits[model, name]
    numbers |= {prefix + score: value for score, value in quality[model, name].items()}
for name, difference in differences.items():
    numbers[f"{name.lower()}_largest_difference"] = difference
for k, name in enumerate(("tv", "kl", "js", "w1")):
    if name != "kl":
        numbers[f"lines_{name}"] = float(values[30, k])
        numbers[f"lines_{name}_slope"] = float(slopes[30, k])
records.write("11_density", numbers, seed=SEED)
print("recorded: " + ", ".join(numbers))
