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
# # Lab 23 · Vector-quantised autoencoder
#
# In this lab an image of clothes becomes 49 whole numbers, and 49 whole numbers become an image.
# You build the quantiser that turns a vector into the number of its nearest code, teach an
# encoder through it although it has no gradient, and keep its codebook alive. Then you learn
# which numbers follow which, draw new numbers, and decode them to clothes that nobody made.
# The page [Discrete codes](../../book/23_vqvae.md) derives everything that you write here.
#
# You write ten answers, worth 20 points together. After each stands a check that you can run at
# once. It looks at your answer from several sides and says what it finds. The points are given
# later, by tests that you do not see and that try more cases.

# %%
import math
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
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
CODES = 128  # K, entries of the codebook: a code number has 7 bits
DIMS = 16  # D, dimensions of a code
SIDE = 7  # an image is SIDE × SIDE codes
BETA = 0.25  # weight of the commitment loss
DECAY = 0.98  # of the moving averages behind the codebook
ALIVE = 0.5  # a code that is used less often than this in a batch is dead
CLASSES = 10
FASHION = profile.choose(test="fashion_small", quick="fashion_small", full="fashion")
TRAIN_IMAGES = profile.choose(test=512, quick=None, full=None)  # None: all there are
TEST_IMAGES = profile.choose(test=256, quick=2_000, full=10_000)
SOUND_STEPS = profile.choose(test=20, quick=400, full=400)
BATCH = profile.choose(test=48, quick=24, full=128)
STEPS = profile.choose(test=3, quick=900, full=12_000)
PRIOR_STEPS = profile.choose(test=3, quick=1_080, full=16_000)
PRIOR_WIDTH = profile.choose(test=16, quick=48, full=128)
SAMPLES = profile.choose(test=256, quick=2_000, full=10_000)  # drawn for the scores

# %% [markdown]
# ## 1 · The nearest code
#
# A *codebook* is a list of $K$ vectors $e_1, \dots, e_K \in \mathbb R^D$, the codes. To quantise a
# vector $z$ is to replace it by the code that is nearest to it. What has to be kept is only the
# number of that code:
#
# $$k(z) = \arg\min_k \|z - e_k\|^2 .$$
#
# **Exercise 1** (2 points, 15 minutes). Write $k$ for $N$ vectors at once. The obvious way takes
# all differences $z_n - e_k$, a tensor of $N \times K \times D$ numbers. That is $D$ times the
# memory of the distances themselves. For many vectors it is more than the machine has. Multiply the
# square out and look at which of its terms need both $n$ and $k$:
#
# $$\|z_n - e_k\|^2 = \|z_n\|^2 - 2\, z_n^\top e_k + \|e_k\|^2 .$$


# %% nbgrader={"grade": false, "grade_id": "nearest", "locked": false, "schema_version": 3, "solution": true, "task": false}
def nearest(z: Tensor, codebook: Tensor) -> Tensor:
    """The number of the code nearest to each vector, in Euclidean distance.

    Args:
        z: float (N, D). codebook: float (K, D).

    Returns:
        int64 (N,), 0 … K−1. No tensor of N·K·D numbers is made on the way.

    Van den Oord et al. (2017), equation 1.
    """
    ### BEGIN SOLUTION
    squares = codebook.pow(2).sum(dim=1)  # |z|² is the same for all codes and decides nothing
    return (squares - 2 * z @ codebook.T).argmin(dim=1)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "nearest_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
corners = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [8.0, 8.0]])
points = torch.tensor([[0.5, 0.1], [3.0, 0.2], [0.3, 9.0], [5.0, 5.5], [1.9, 1.9]])
found = nearest(points, corners)
assert found.dtype == torch.int64, f"numbers of codes should be int64; found {found.dtype}"
check.close(
    found, [0, 1, 2, 3, 0], "the nearest of four codes",
    hint="A long code is not nearer for being long: |e|² belongs to the distance.",
)  # fmt: skip
wide, few = torch.randn(4_096, 32), torch.randn(64, 32)
largest = check.largest_tensor(nearest, (wide, few))
assert largest < 4_096 * 64 * 32, f"a tensor of {largest / 1e6:.0f} MB was made; 1 MB will do"
print("nearest: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "nearest_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 1, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
with check.part(points, "the nearest code", 1):
    for N, K, D, spread in ((300, 17, 6, 1.0), (200, 64, 3, 0.3), (40, 5, 1, 2.0), (9, 1, 4, 1.0)):
        codebook = torch.randn(K, D, generator=generator)
        codebook *= torch.rand(K, 1, generator=generator) * 3
        z = torch.randn(N, D, generator=generator) * spread + 0.5
        found = nearest(z, codebook)
        check.shape(found, (N,), "the numbers of the codes")
        assert found.dtype == torch.int64, f"numbers of codes should be int64; found {found.dtype}"
        assert found.min() >= 0 and found.max() < K, "a number is not one of the codebook"
        exact = (z.double()[:, None] - codebook.double()).pow(2).sum(2)
        chosen = exact.gather(1, found[:, None])[:, 0]
        check.close(chosen, exact.amin(1), "the squared distance to the chosen code", atol=1e-4)
    far = torch.randn(50, 8, generator=generator)
    found = nearest(far + 0.05 * torch.randn(50, 8, generator=generator), far)
    check.close(found, torch.arange(50), "the number of a code that was moved a little")
with check.part(points, "the memory", 1):
    z = torch.randn(4_096, 24, generator=generator)
    codebook = torch.randn(24, 24, generator=generator)
    largest = check.largest_tensor(nearest, (z, codebook))
    assert largest <= 4_096 * 24 * 24, f"a tensor of {largest / 1e6:.1f} MB was made"
    exact = torch.cdist(z.double(), codebook.double())
    chosen = exact.gather(1, nearest(z, codebook)[:, None])[:, 0]
    check.close(chosen, exact.amin(1), "the distance to the chosen code", atol=1e-3)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 2 · A gradient through a jump
#
# The decoder gets the code $e = e_{k(z)}$ and not $z$. Move $z$ a little, and $k(z)$ stays the
# same: the gradient of $e$ in $z$ is zero almost everywhere, and the encoder would learn nothing.
#
# But $e$ is near $z$. So what the decoder wants of $e$ is a fair guess at what it wants of $z$.
# The *straight-through* estimator copies the gradient from the one to the other, as if nothing
# stood between them. The codebook gets no part of it: it learns in another way.
#
# **Exercise 2** (2 points, 10 minutes). Write a function whose value is $e$ and whose gradient is
# that of $z$:
#
# $$\mathrm{st}(z, e) = e, \qquad
#   \frac{\partial\,\mathrm{st}}{\partial z} = I, \qquad
#   \frac{\partial\,\mathrm{st}}{\partial e} = 0 .$$


# %% nbgrader={"grade": false, "grade_id": "straight_through", "locked": false, "schema_version": 3, "solution": true, "task": false}
def straight_through(z: Tensor, quantised: Tensor) -> Tensor:
    """The value of `quantised` with the gradient of `z`.

    Args:
        z, quantised: float, of one shape, whatever it is.

    Returns:
        float, of the same shape. Its gradient in z is the identity, that in quantised is zero.

    Bengio et al. (2013); van den Oord et al. (2017), section 3.2.
    """
    ### BEGIN SOLUTION
    return z + (quantised - z).detach()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "straight_through_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
z, e, wanted = torch.randn(3, 4, 5).unbind()
(value,), (to_z, to_e) = check.vjp(straight_through, (z, e), wanted)
check.close(value, e, "the value", hint="The decoder sees the code, not the encoder's vector.")
check.close(to_z, wanted, "the gradient that reaches z", hint="It arrives as it was sent.")
check.close(
    to_e, torch.zeros(4, 5), "the gradient that reaches the code",
    hint="`x.detach()` has the value of x and no gradient.",
)  # fmt: skip
print("straight_through: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "straight_through_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 2, 2 points.
### BEGIN HIDDEN TESTS
generator = check.generator()
for shape in ((6, 5), (2, 3, 4, 5), (7,)):
    z, e, cotangent = (torch.randn(shape, generator=generator) for _ in range(3))
    (value,), (to_z, to_e) = check.vjp(straight_through, (z, e), cotangent)
    check.close(value, e, "the value", atol=1e-5)
    check.close(to_z, cotangent, "the gradient in z")
    check.close(to_e, torch.zeros(shape), "the gradient in the code")
### END HIDDEN TESTS

# %% [markdown]
# ## 3 · Two losses for one distance
#
# Two things should happen to the distance between $z$ and its code. The code should move to the
# vectors that use it, and the encoder should stay near the code that it uses. Both are the same
# squared distance. They differ in who has to move. With $\mathrm{sg}$ for *stop gradient*, which
# is `detach`:
#
# $$\ell(z, e) = \underbrace{\|\mathrm{sg}[z] - e\|^2}_{\text{codebook loss}}
#   + \beta\, \underbrace{\|z - \mathrm{sg}[e]\|^2}_{\text{commitment loss}} .$$
#
# Why not one loss for both? The codebook may hurry, for it is only averaging. The encoder should
# not: it has a picture to describe, and $\beta = 0.25$ says how much it is held back.
#
# **Exercise 3** (2 points, 10 minutes). Write $\ell$. The paper sums the square over the $D$
# dimensions, its authors' code takes their mean. Take either one; the tests take both.


# %% nbgrader={"grade": false, "grade_id": "vq_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def vq_loss(z: Tensor, quantised: Tensor, beta: float) -> Tensor:
    """Codebook loss plus β times commitment loss, averaged over the vectors.

    Args:
        z: float (N, D), from the encoder. quantised: float (N, D), the code of each.
        beta: the weight of the commitment loss.

    Returns:
        float (), the mean over N, and the sum or the mean over D. The codebook loss has a gradient
        in `quantised` only, the commitment loss in `z` only.

    Van den Oord et al. (2017), equation 3, second and third term.
    """
    ### BEGIN SOLUTION
    return F.mse_loss(quantised, z.detach()) + beta * F.mse_loss(z, quantised.detach())
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "vq_loss_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
z, e = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.5], [0.0]])
(value,), (to_z, to_e) = check.vjp(lambda z, e: vq_loss(z, e, 0.5), (z, e), torch.tensor(1.0))
check.close(value, 1.5 * (0.25 + 4) / 2, "the loss of two vectors of one dimension, β = 0.5")
check.close(
    to_e, [[0.5], [-2.0]], "the gradient that reaches the codes",
    hint="It comes from the codebook loss, which has no β.",
)  # fmt: skip
check.close(
    to_z, [[-0.25], [1.0]], "the gradient that reaches z",
    hint="It comes from the commitment loss, β times as large and the other way.",
)  # fmt: skip
print("vq_loss: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "vq_loss_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 3, 2 points.
### BEGIN HIDDEN TESTS
generator = check.generator()
for N, D, beta in ((7, 5, 0.25), (4, 3, 2.0), (9, 2, 0.0)):
    z, e = torch.randn(2, N, D, generator=generator).unbind()
    squares, found = (z - e).pow(2).sum(1).mean(), vq_loss(z, e, beta)
    check.shape(found, (), "the loss")
    ratio = float(found.detach() / squares) / (1 + beta)
    form = min((1.0, 1 / D), key=lambda scale: abs(scale - ratio))
    (value,), (to_z, to_e) = check.vjp(
        lambda z, e, beta=beta: vq_loss(z, e, beta), (z, e), torch.tensor(3.0)
    )
    check.close(value, form * (1 + beta) * squares, "the loss of random vectors")
    check.close(to_e, 3 * form * 2 * (e - z) / N, "the gradient in the codes")
    check.close(to_z, 3 * form * beta * 2 * (z - e) / N, "the gradient in z")
### END HIDDEN TESTS

# %% [markdown]
# ## 4 · A codebook of moving averages
#
# Where should a code lie? The codebook loss is least when $e_k$ is the mean of the vectors that
# use it. A mean needs no gradient descent. It is enough to count, and to add up. For a batch, let
# $n_k$ be the number of vectors that use code $k$ and $s_k$ their sum. A batch sees few vectors of
# each code, so both are averaged over time:
#
# $$N_k \leftarrow \gamma N_k + (1-\gamma)\, n_k, \qquad
#   m_k \leftarrow \gamma m_k + (1-\gamma)\, s_k, \qquad
#   e_k = m_k / \hat N_k .$$
#
# A code that nobody uses has $N_k \to 0$, and $0/0$ is no place to be. *Laplace smoothing* adds a
# small $\varepsilon$ to every count, and rescales so that the counts keep their sum
# $n = \sum_j N_j$:
#
# $$\hat N_k = \frac{N_k + \varepsilon}{n + K \varepsilon}\; n .$$
#
# **Exercise 4** (3 points, 20 minutes). Write one update. Average counts and sums, each by
# itself: a running mean of means would give a batch with one vector of code $k$ the same say as
# a batch with fifty.


# %% nbgrader={"grade": false, "grade_id": "ema_update", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ema_update(
    counts: Tensor, sums: Tensor, z: Tensor, codes: Tensor, decay: float, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the moving averages behind a codebook.

    Args:
        counts: float (K,), N before the step. sums: float (K, D), m before the step.
        z: float (N, D), the vectors of a batch. codes: int64 (N,), the code of each.
        decay: γ, between 0 and 1. eps: ε of the smoothing.

    Returns:
        New counts (K,), new sums (K, D), the new codebook (K, D). No gradient passes into z.

    Van den Oord et al. (2017), appendix A.1; the smoothing is that of their published code.
    """
    ### BEGIN SOLUTION
    z = z.detach()
    onehot = F.one_hot(codes, len(counts)).to(z.dtype)
    counts = decay * counts + (1 - decay) * onehot.sum(dim=0)
    sums = decay * sums + (1 - decay) * onehot.T @ z
    total = counts.sum()
    smoothed = (counts + eps) / (total + len(counts) * eps) * total
    return counts, sums, sums / smoothed[:, None]
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "ema_update_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
counts, sums = torch.tensor([2.0, 4.0, 0.0]), torch.tensor([[2.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
z, codes = torch.tensor([[1.0, 1.0], [3.0, 1.0], [5.0, 5.0]]), torch.tensor([0, 0, 1])
new_counts, new_sums, codebook = ema_update(counts, sums, z, codes, decay=0.9)
check.close(
    new_counts, [2.0, 3.7, 0.0], "the new counts",
    hint="0.9 of the old count and 0.1 of this batch's, for every code, used or not.",
)  # fmt: skip
check.close(
    new_sums, [[2.2, 0.2], [0.5, 4.1], [0.0, 0.0]], "the new sums",
    hint="The sum of a code's vectors in this batch, not their mean.",
)  # fmt: skip
check.close(codebook[:2], [[1.1, 0.1], [0.5 / 3.7, 4.1 / 3.7]], "the codes in use", atol=1e-4)
assert codebook.isfinite().all(), "the code that nobody uses is not finite; see the smoothing"
print("ema_update: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "ema_update_test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 4, 3 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
K, D, N = 7, 4, 60
counts = torch.rand(K, generator=generator) * 9 + 0.5
sums = torch.randn(K, D, generator=generator) * 5
z = torch.randn(N, D, generator=generator) * 2
codes = torch.randint(K - 2, (N,), generator=generator)  # nobody uses the last two
decay = float(torch.rand((), generator=generator)) * 0.5 + 0.3
used = torch.stack([(codes == k).sum() for k in range(K)]).float()
added = torch.stack([z[codes == k].sum(0) for k in range(K)])
wanted_counts = decay * counts + (1 - decay) * used
wanted_sums = decay * sums + (1 - decay) * added
found = ema_update(counts.clone(), sums.clone(), z, codes, decay)
with check.part(points, "the counts", 1):
    check.close(found[0], wanted_counts, "the counts")
    twice = ema_update(wanted_counts.clone(), wanted_sums.clone(), z[:9], codes[:9], 0.95)
    used = torch.stack([(codes[:9] == k).sum() for k in range(K)])
    check.close(twice[0], 0.95 * wanted_counts + 0.05 * used, "the counts, after a second step")
    smooth = ema_update(counts.clone(), sums.clone(), z, codes, decay, 3.0)
    check.close(smooth[0], wanted_counts, "the counts, which have no ε in them")
with check.part(points, "the sums", 1):
    check.close(found[1], wanted_sums, "the sums")
    added = torch.stack([z[:9][codes[:9] == k].sum(0) for k in range(K)])
    check.close(twice[1], 0.95 * wanted_sums + 0.05 * added, "the sums, after a second step")
with check.part(points, "the codebook", 1):
    for eps in (1e-5, 0.3, 2.0):
        codebook = ema_update(counts.clone(), sums.clone(), z, codes, decay, eps)[2]
        total = wanted_counts.sum()
        smoothed = (wanted_counts + eps) / (total + K * eps) * total
        check.close(codebook, wanted_sums / smoothed[:, None], f"the codebook with ε = {eps}")
    empty = torch.zeros(K), torch.zeros(K, D)
    codebook = ema_update(*empty, z, codes, decay)[2]
    check.close(codebook[K - 2 :], torch.zeros(2, D), "codes that nobody ever used")
    cotangents = [torch.randn(s, generator=generator) for s in ((K,), (K, D), (K, D))]
    _, (gradient,) = check.vjp(
        lambda z: ema_update(counts.clone(), sums.clone(), z, codes, decay), z, cotangents
    )
    check.close(gradient, torch.zeros(N, D), "the gradient in z")
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 5 · Codes that nobody uses
#
# A code that lies far from all vectors is nobody's nearest. Its count shrinks, nothing moves it,
# and it stays unused for ever: it is *dead*. With an unlucky start most of the codebook is dead
# after a few steps. The remedy is plain: put a dead code where the data are, on a vector of the
# current batch, and let it start again.
#
# **Exercise 5** (2 points, 20 minutes). Write this revival. A code is dead when its count is below
# a threshold. A revived code starts with a count of 1 and with its vector as its sum. Forget the
# sum, and the next update puts the code back where it was. All other codes stay exactly as they
# are: a code in use that is moved spoils what the decoder has learned.


# %% nbgrader={"grade": false, "grade_id": "revive", "locked": false, "schema_version": 3, "solution": true, "task": false}
def revive(
    codebook: Tensor, counts: Tensor, sums: Tensor, z: Tensor, threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Put each dead code on a vector of the batch, drawn at random from all of them.

    Args:
        codebook: float (K, D). counts: float (K,). sums: float (K, D).
        z: float (N, D), the vectors of a batch; N may be less than the number of dead codes.
        threshold: codes with a count below it are dead.

    Returns:
        New codebook (K, D), counts (K,) and sums (K, D). A revived code is a row of z, has count 1
        and that row as its sum; other codes are unchanged. No gradient passes into z.

    Dhariwal et al. (2020), section 3, "random restarts".
    """
    ### BEGIN SOLUTION
    dead = counts < threshold
    rows = z.detach()[torch.randint(len(z), (len(counts),), device=z.device)]
    return (
        torch.where(dead[:, None], rows, codebook),
        torch.where(dead, torch.ones_like(counts), counts),
        torch.where(dead[:, None], rows, sums),
    )
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "revive_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
codebook, sums, z = torch.zeros(4, 2), torch.full((4, 2), 9.0), torch.randn(50, 2)
counts = torch.tensor([3.0, 0.1, 1.0, 0.0])
new_codebook, new_counts, new_sums = revive(codebook, counts, sums, z, threshold=1.0)
check.close(new_counts, [3.0, 1.0, 1.0, 1.0], "the counts", hint="Dead: below the threshold.")
check.close(new_codebook[[0, 2]], codebook[[0, 2]], "the codes in use", hint="They stay.")
check.close(new_sums[[0, 2]], sums[[0, 2]], "the sums of the codes in use")
distance = (new_codebook[[1, 3], None] - z).abs().sum(2).amin(1)
check.close(distance, [0.0, 0.0], "the distance of a revived code to the batch")
check.close(
    new_sums[[1, 3]], new_codebook[[1, 3]], "the sums of revived codes",
    hint="With a count of 1, the sum is the code; else the next update moves it.",
)  # fmt: skip
print("revive: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "revive_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 5, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
K, D, N, threshold = 40, 3, 200, 2.0
counts = torch.rand(K, generator=generator) * 1.8
counts[::2] += 2.0
counts[0], counts[1] = 2.0, 0.0  # on the threshold: in use
dead = counts < threshold
codebook, sums = torch.randn(2, K, D, generator=generator).unbind()
z = torch.randn(N, D, generator=generator)
arguments = codebook, counts, sums
found = revive(*(t.clone() for t in arguments), z, threshold)
names = "codebook", "counts", "sums"
with check.part(points, "codes in use", 1):
    for name, new, old in zip(names, found, arguments, strict=True):
        check.close(new[~dead], old[~dead], f"the {name} of codes in use", rtol=0, atol=0)
    alive = revive(codebook.clone(), counts + 2, sums.clone(), z, threshold)
    for name, new, old in zip(names, alive, (codebook, counts + 2, sums), strict=True):
        check.close(new, old, f"the {name} where no code is dead", rtol=0, atol=0)
    assert (found[0][dead] - codebook[dead]).abs().amax(1).min() > 0, "a dead code stayed"
with check.part(points, "dead codes", 1):
    for name, new, old in zip(names, found, arguments, strict=True):
        check.close(new[~dead], old[~dead], f"the {name} of codes in use", rtol=0, atol=0)
    check.close(found[1][dead], torch.ones(int(dead.sum())), "the counts of revived codes")
    check.close(found[2][dead], found[0][dead], "the sums of revived codes")
    distance = (found[0][dead][:, None] - z).abs().sum(2)
    check.close(distance.amin(1), torch.zeros(int(dead.sum())), "distance of a code to the batch")
    assert len(distance.argmin(1).unique()) > 10, "the revived codes should be unlike each other"
    again = revive(*(t.clone() for t in arguments), z, threshold)
    other = (again[0][dead][:, None] - z).abs().sum(2).argmin(1)
    assert (other != distance.argmin(1)).any(), "the vectors should be drawn at random"
    many = revive(torch.zeros(300, D), torch.zeros(300), torch.zeros(300, D), z[:9], 0.5)
    chosen = (many[0][:, None] - z[:9]).abs().sum(2)
    check.close(chosen.amin(1), torch.zeros(300), "distance to a batch smaller than the codebook")
    assert len(chosen.argmin(1).unique()) == 9, "some vectors of the batch are never chosen"
    wide = torch.randn(2_000, D, generator=generator)
    drawn = revive(torch.zeros(300, D), torch.zeros(300), torch.zeros(300, D), wide, 0.5)[0]
    places = (drawn[:, None] - wide).abs().sum(2).argmin(1).double()
    assert (places.mean() - 1_000).abs() < 250, "each vector of the batch should be as likely"
    cotangents = [torch.randn(s, generator=generator) for s in ((K, D), (K,), (K, D))]
    _, (gradient,) = check.vjp(
        lambda z: revive(*(t.clone() for t in arguments), z, threshold), z, cotangents
    )
    check.close(gradient, torch.zeros(N, D), "the gradient in z")
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 6 · How much of the codebook is in use?
#
# Count how often each code occurs, and call the shares $p_k$. Their entropy says how many bits a
# code number carries. The *perplexity* is its exponential. It is a number of codes: if $M$ codes
# are used equally often and the others never, it is $M$.
#
# **Exercise 6** (1 point, 10 minutes). Write
#
# $$\mathrm{perplexity} = \exp\Big(-\sum_{k=1}^{K} p_k \log p_k\Big),
#   \qquad 0 \log 0 = 0 .$$


# %% nbgrader={"grade": false, "grade_id": "perplexity", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perplexity(codes: Tensor, size: int) -> Tensor:
    """How many codes are in use, counted by how evenly they are used.

    Args:
        codes: int64, of any shape, 0 … K−1. size: K.

    Returns:
        float (), between 1 (always the same code) and K (all equally often).
    """
    ### BEGIN SOLUTION
    shares = torch.bincount(codes.flatten(), minlength=size) / codes.numel()
    return torch.special.entr(shares).sum().exp()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "perplexity_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
check.close(perplexity(torch.tensor([3, 3, 3]), 8), 1.0, "perplexity of one code only")
check.close(
    perplexity(torch.tensor([[0, 5], [5, 0]]), 8), 2.0, "perplexity of two codes of eight",
    hint="Entropy and exponential need the same base. A share of 0 adds 0 to the entropy.",
)  # fmt: skip
check.close(perplexity(torch.tensor([0, 0, 0, 1]), 2), 4 / 3**0.75, "perplexity of 3 : 1")
print("perplexity: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "perplexity_test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 6, 1 point.
### BEGIN HIDDEN TESTS
generator = check.generator()
for size, shape in ((6, (500,)), (50, (4, 7, 7)), (1_000, (3, 5))):
    codes = (torch.rand(shape, generator=generator) ** 2 * size).long()
    shares = torch.stack([(codes == k).double().mean() for k in range(size)])
    expected = torch.distributions.Categorical(probs=shares).entropy().exp()
    found = perplexity(codes, size)
    check.close(found, expected, f"perplexity of {codes.numel()} codes out of {size}", rtol=1e-3)
even = torch.arange(12).repeat(5)[torch.randperm(60, generator=generator)]
check.close(perplexity(even, 12), 12.0, "perplexity of codes used equally often", rtol=1e-3)
check.close(perplexity(even, 99), 12.0, "the same codes in a larger codebook", rtol=1e-3)
### END HIDDEN TESTS

# %% [markdown]
# ## Something that is no image
#
# Nothing so far knows what an image is. Before any network takes part, quantise a sound. Plucked
# strings, 8,000 samples a second, are cut into frames of eight samples. A frame is a vector in
# $\mathbb R^8$, and its code number of 7 bits stands for eight samples of 8 bits.
#
# `Codebook` puts your answers together. It holds the state that `ema_update` and `revive` hand
# on. With no network above it, it is an old acquaintance: $k$-means, one batch at a time.


# %%
class Codebook(nn.Module):
    """K codes in D dimensions, which follow the vectors that they are shown."""

    def __init__(self, size: int, dims: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.randn(size, dims))
        self.register_buffer("counts", torch.full((size,), ALIVE))
        self.register_buffer("sums", ALIVE * self.vectors)

    @torch.no_grad()
    def learn(self, z: Tensor, alive: float = ALIVE) -> Tensor:
        """One step on a batch z, float (N, D): revive, assign, average; gives the codes (N,)."""
        vectors, counts, sums = revive(self.vectors, self.counts, self.sums, z, alive)
        codes = nearest(z, vectors)
        self.counts, self.sums, self.vectors = ema_update(counts, sums, z, codes, DECAY)
        return codes


RATE, FRAME = 8_000, 8  # samples a second, samples a frame


def plucked(notes: int, seed: int) -> Tensor:
    """Notes of half a second on a string, pitches drawn from a scale: float (notes · 4000,)."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([0, 2, 4, 7, 9, 12, 14, 16])
    steps = scale[torch.randint(len(scale), (notes,), generator=generator)]
    pitch = 220 * 2 ** (steps[:, None, None] / 12)
    t, overtone = torch.arange(RATE // 2) / RATE, torch.arange(1, 9)[:, None]
    waves = torch.sin(2 * math.pi * pitch * overtone * t) * torch.exp(-3 * overtone * t) / overtone
    return waves.sum(dim=1).flatten() / 2


# %% [markdown]
# A codebook of 128 codes learns these frames in three ways from the same start: by gradient
# descent on your `vq_loss`, by moving averages, and by moving averages with revival. It is
# measured on a melody that it has not heard.


# %%
def learn_sound(way: str, frames: Tensor, unheard: Tensor) -> tuple[Codebook, train.History]:
    """A codebook of frames, float (N, FRAME), and how well it describes unheard ones."""
    torch.manual_seed(SEED)
    book = Codebook(CODES, FRAME).to(frames.device)
    vectors = nn.Parameter(book.vectors.clone())
    optimiser = torch.optim.Adam([vectors], lr=0.01)
    order = data.batches(len(frames), 1_000, seed=SEED)

    def step(k: int) -> dict[str, Tensor]:
        z = frames[next(order)]
        if way == "gradient":
            loss = vq_loss(z, vectors[nearest(z, book.vectors)], BETA)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            book.vectors = vectors.detach().clone()
        else:
            book.learn(z, alive=ALIVE if way == "averages and revival" else 0.0)
        codes = nearest(unheard, book.vectors)
        error = F.mse_loss(book.vectors[codes], unheard)
        ratio = 10 * torch.log10(unheard.pow(2).mean() / error)
        return {"decibels": ratio, "perplexity": perplexity(codes, CODES)}

    return book, train.run(step, SOUND_STEPS, state={"codebook": book}, seed=SEED)


# %% tags=["skip-execution"]
frames = plucked(notes=40, seed=SEED).view(-1, FRAME).to(profile.device())
melody = plucked(notes=8, seed=SEED + 1).to(profile.device())
unheard = melody.view(-1, FRAME)
ways = "gradient", "averages", "averages and revival"
learned = {way: learn_sound(way, frames, unheard) for way in ways}
figure, axes = plot.figure(1, 2, (3.4, 2.5))
for way, (_, course) in learned.items():
    axes[0, 0].plot(course.curves["perplexity"], label=way)
    axes[0, 1].plot(course.curves["decibels"], label=way)
axes[0, 0].set(xlabel="step", ylabel="perplexity, of 128")
axes[0, 1].set(xlabel="step", ylabel="signal to noise, dB")
axes[0, 0].legend(frameon=False)
plot.show(
    figure,
    "Perplexity and signal-to-noise ratio of three codebooks of sound over the steps: with "
    "revival the perplexity jumps above 100 at once and the ratio climbs to 15 dB; by gradient or by "
    "averages alone fewer than ten codes are in use and the ratio stays near 7 dB.",
)
for way, (_, course) in learned.items():
    last = {name: values[-1] for name, values in course.curves.items()}
    print(f"{way:21s} perplexity {last['perplexity']:6.1f}   {last['decibels']:5.1f} dB")

# %% tags=["skip-execution"]
book = learned["averages and revival"][0]
numbers = nearest(unheard, book.vectors)
decoded = book.vectors[numbers].flatten()
figure, axes = plot.figure(size=(6.4, 2.4))
for name, sound in (("played", melody), ("decoded", decoded)):
    axes[0, 0].plot(torch.arange(240) / RATE * 1e3, sound[:240].cpu(), label=name)
axes[0, 0].set(xlabel="milliseconds", ylabel="pressure")
axes[0, 0].legend(frameon=False)
plot.show(
    figure,
    "Thirty milliseconds of the unheard melody and of its decoded codes: a "
    "saw-toothed wave; the decoded one follows the played one and misses its sharpest peaks.",
)
sound_bits = math.log2(CODES) / FRAME
print(f"bits a sample: {sound_bits:.3f} as codes, 8 as bytes")

# %% [markdown]
# The start was bad luck of the common kind: codes drawn at random lie far from all frames, and few
# of them are nearest to everything. The others are nobody's nearest. A gradient that they do not
# get, or an average over nothing, can not bring them back. Revival puts them where the sounds are,
# and the codebook describes an unheard melody with a seventh of the squared error.
#
# ## 7 · An image as an array of codes
#
# Now images. An encoder turns an image into maps, a tensor $(N, D, H, W)$: at each of the
# $H \times W$ places stands one vector of $D$ numbers. That vector is quantised. The image becomes
# an array of $H \times W$ whole numbers.
#
# A tensor in memory is one long row of numbers, and the vectors do not lie in one piece in it:
# the $D$ numbers of one place are $H W$ apart. A `reshape` to $(N H W, D)$ gives the right shape
# and mixes places with dimensions. No error is raised, and training even works a little.
#
# **Exercise 7** (2 points, 20 minutes). Write the way from maps to vectors, from maps to codes,
# and from codes back to maps.


# %% nbgrader={"grade": false, "grade_id": "code_maps", "locked": false, "schema_version": 3, "solution": true, "task": false}
def to_vectors(maps: Tensor) -> Tensor:
    """The vectors of all places: float (N, D, H, W) → (N·H·W, D), image by image, row by row."""
    ### BEGIN SOLUTION
    return maps.movedim(1, -1).flatten(0, 2)
    ### END SOLUTION


def to_codes(maps: Tensor, codebook: Tensor) -> Tensor:
    """The number of the nearest code at each place.

    Args: maps: float (N, D, H, W). codebook: float (K, D).

    Returns: int64 (N, H, W), 0 … K−1.
    """
    ### BEGIN SOLUTION
    n, _, height, width = maps.shape
    return nearest(to_vectors(maps), codebook).view(n, height, width)
    ### END SOLUTION


def from_codes(codes: Tensor, codebook: Tensor) -> Tensor:
    """The code at each place: int64 (N, H, W) and float (K, D) → float (N, D, H, W)."""
    ### BEGIN SOLUTION
    return codebook[codes].movedim(-1, 1)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "code_maps_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
codebook = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [9.0, 8.0, 7.0]])
codes = torch.tensor([[[0, 1], [2, 0]], [[1, 1], [0, 2]]])
maps = from_codes(codes, codebook)
check.shape(maps, (2, 3, 2, 2), "the maps of two arrays of 2 × 2 codes")
check.close(
    maps[0, :, 1, 0], codebook[2], "the vector at row 1, column 0 of the first image",
    hint="The D numbers of a code go into D maps, at one place.",
)  # fmt: skip
check.close(to_vectors(maps)[3:5], codebook[[0, 1]], "last vector of image 0, first of image 1")
check.close(to_codes(maps + 0.1, codebook), codes, "the codes of the maps")
print("to_vectors, to_codes, from_codes: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "code_maps_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 7, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
for N, D, H, W in ((3, 6, 4, 5), (6, 6, 6, 6)):
    codebook = torch.randn(20, D, generator=generator) * 3
    codes = torch.randint(20, (N, H, W), generator=generator)
    maps, vectors = torch.empty(N, D, H, W), torch.empty(N * H * W, D)
    for i, (n, h, w) in enumerate(np.ndindex(N, H, W)):
        maps[n, :, h, w] = vectors[i] = codebook[codes[n, h, w]]
    noise = torch.randn(N, D, H, W, generator=generator) * 0.01
    with check.part(points, f"to vectors, {H} × {W} places", 0.25):
        check.close(to_vectors(maps), vectors, "the vectors")
    with check.part(points, f"to codes, {H} × {W} places", 0.5):
        found = to_codes(maps + noise, codebook)
        assert not found.is_floating_point(), f"codes should be whole numbers, not {found.dtype}"
        check.close(found, codes, "the codes")
    with check.part(points, f"from codes, {H} × {W} places", 0.25):
        check.close(from_codes(codes, codebook), maps, "the maps")
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## The autoencoder
#
# The networks are those of lab 22 in kind: convolutions down to 7 × 7 places, and transposed
# convolutions back up to logits of the eight grey levels. What is new stands between them. There
# is no $\mu$, no $\sigma$ and no KL term.


# %%
class Residual(nn.Module):
    """h + f(h) with a 3×3 and a 1×1 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 1)
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.body(h)


class VQVAE(nn.Module):
    """Images of 28×28 pixels as arrays of 7×7 codes, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(32, 64, 4, stride=2, padding=1), Residual(64), nn.SiLU(),
            nn.Conv2d(64, DIMS, 1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(DIMS, 64, 3, padding=1), Residual(64), nn.SiLU(),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1), nn.SiLU(),
            nn.ConvTranspose2d(32, LEVELS, 4, stride=2, padding=1),
        )  # fmt: skip
        self.codebook = Codebook(CODES, DIMS)

    def maps(self, x: Tensor) -> Tensor:
        """int64 (N, 1, 28, 28) in 0 … L−1 → float (N, D, 7, 7), not yet quantised."""
        return self.encoder(2 * x.float() / (LEVELS - 1) - 1)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """int64 (N, 1, 28, 28) → codes, int64 (N, 7, 7), 500 images at a time."""
        chunks = x.split(500)
        return torch.cat([to_codes(self.maps(c), self.codebook.vectors) for c in chunks])

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes, int64 (N, 7, 7) → logits (N, L, 28, 28), 500 images at a time."""
        chunks = codes.split(500)
        return torch.cat([self.decoder(from_codes(c, self.codebook.vectors)) for c in chunks])


# %% [markdown]
# The loss of an image has the three terms of the paper. The first is the negative log-likelihood
# of the pixels, here in nats a pixel. It reaches the encoder through `straight_through`. The
# codebook is no parameter here, as it learns by averages. So of `vq_loss` only the commitment
# loss has somebody to reach.


# %%
def negative_log_likelihood(x: Tensor, logits: Tensor) -> Tensor:
    """−log p(x | codes) of each image, (N,), in nats; logits float (N, L, 28, 28)."""
    return F.cross_entropy(logits, x[:, 0], reduction="none").sum(dim=(1, 2))


def vqvae_loss(model: VQVAE, x: Tensor) -> dict[str, Tensor]:
    """The loss of a batch x, int64 (N, 1, 28, 28); the codebook takes a step on the way."""
    maps = model.maps(x)
    z = to_vectors(maps)
    codes = model.codebook.learn(z).view(len(x), SIDE, SIDE)
    quantised = from_codes(codes, model.codebook.vectors)
    logits = model.decoder(straight_through(maps, quantised))
    nats = negative_log_likelihood(x, logits).mean()
    return {
        "loss": nats / x[0].numel() + vq_loss(z, to_vectors(quantised), BETA),
        "reconstruction": nats,
        "perplexity": perplexity(codes, CODES),
    }


# %% tags=["skip-execution"]
fashion = data.load(FASHION, "train", TRAIN_IMAGES)
fashion_test = data.load(FASHION, "test", TEST_IMAGES)
x_train = data.to_levels(fashion.pixels, LEVELS)
x_test = data.to_levels(fashion_test.pixels, LEVELS)
torch.manual_seed(SEED)
vqvae = VQVAE()
history = train.fit(
    vqvae, vqvae_loss, (x_train,), steps=STEPS, batch_size=BATCH, lr=3e-3, seed=SEED,
    bf16=False, checkpoint="23_vqvae",
)  # fmt: skip
vqvae.eval()
figure, axes = plot.figure(1, 2, (3.4, 2.5))
for ax, name, ylabel in zip(
    axes[0], ("reconstruction", "perplexity"), ("nats an image", f"codes, of {CODES}"), strict=True
):
    ax.plot(history.curves[name])
    ax.set(title=name, xlabel="step", ylabel=ylabel)
plot.show(
    figure,
    "Reconstruction term and perplexity over the steps of training: the first falls steeply, then "
    "slowly; the second leaps up at once, drops to about five codes, and then climbs above eighty.",
)

# %% [markdown]
# Watch the perplexity. On the second step nearly the whole codebook is revived, and it leaps up.
# Then the encoder moves fast, nearly all its vectors look alike, and a handful of codes is enough. As it
# learns to tell places apart, codes that have died are set down among the new vectors, and more and
# more of the codebook is in use. Switch revival off, with `alive=0.0`, and it stays near ten.
#
# ## Look
#
# Encode the test images, write the codes to a file as bytes, read them back, and decode what was
# read. The colours of an array show its codes: codes that lie close in the codebook have similar
# colours.


# %%
def picture(logits: Tensor) -> Tensor:
    """The expected grey level of each pixel: logits (N, L, H, W) → (N, 1, H, W) in [0, 1]."""
    levels = torch.linspace(0, 1, logits.shape[1], device=logits.device)
    return torch.einsum("nlhw,l->nhw", logits.softmax(1), levels)[:, None]


def coloured(codes: Tensor, codebook: Tensor) -> Tensor:
    """Codes (N, 7, 7) as images (N, 3, 28, 28): three principal components as red, green, blue."""
    centred = codebook - codebook.mean(0)
    three = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:3].T
    colours = (three / three.std(0) / 4 + 0.5).clamp(0, 1)
    return F.interpolate(from_codes(codes, colours), scale_factor=28 // SIDE)


# %% tags=["skip-execution"]
codes_test = vqvae.encode(x_test)
with TemporaryDirectory() as folder:
    path = Path(folder) / "codes.npy"
    np.save(path, codes_test.byte().cpu().numpy())
    stored = path.stat().st_size
    loaded = torch.from_numpy(np.load(path)).long().to(codes_test.device)
assert torch.equal(loaded, codes_test), "the codes changed on their way through the file"
print(f"{len(x_test)} images: {x_test.numel()} bytes as pixels, {stored} bytes as a file of codes")
reconstructions = picture(vqvae.decode(loaded))
plot.images(
    {
        "original": x_test[:12] / (LEVELS - 1),
        "codes": coloured(loaded[:12], vqvae.codebook.vectors),
        "decoded": reconstructions[:12],
    },
    "Twelve test images, their arrays of 7 × 7 codes as colours, and the decoded codes: kind, "
    "outline and brightness are kept, fine patterns and writing are not.",
)

# %% [markdown]
# An array is a coarse map of its image. The empty ground is a few codes that lie close to each
# other, bright cloth is others, and the places along an edge have codes of their own. What 7 × 7
# places can not say is lost: the pattern of a pullover, the print on a shirt.
#
# How evenly are the codes used?

# %% tags=["skip-execution"]
shares = torch.bincount(codes_test.flatten(), minlength=CODES) / codes_test.numel()
used, codes_perplexity = int((shares > 0).sum()), float(perplexity(codes_test, CODES))
figure, axes = plot.figure(size=(5.6, 2.2))
axes[0, 0].bar(torch.arange(CODES), shares.sort(descending=True).values.cpu())
axes[0, 0].axhline(1 / CODES, color=plot.COLOURS[5], label="all codes equally often")
axes[0, 0].set(xlabel="codes, most used first", ylabel="share of all places")
axes[0, 0].legend(frameon=False)
plot.show(
    figure,
    "How often each of the 128 codes is used in the test images: all occur; "
    "the most used has several times an equal share, and from there the shares fall off slowly.",
)
print(f"{used} of {CODES} codes occur in the test images; perplexity {codes_perplexity:.1f}")

# %% [markdown]
# ## 8 · A prior over the codes
#
# The codes are a smaller world with the old question: how probable is an array $c$ of 49 whole
# numbers? Draw it with all numbers equally likely, and the decoder gives a heap of patches. So
# learn a second model, the *prior*, for codes of clothes with label $y$. It reads the array in
# *raster order*, row by row from the left, and predicts each code from those before it:
#
# $$p(c \mid y) = \prod_{i=1}^{49} p\big(c_i \mid c_1, \dots, c_{i-1},\, y\big).$$
#
# Training is parallel: one pass gives the logits of all 49 places. For that the network must be
# *causal*. `CausalBlock` is given. What it puts out at a place depends on what came in at this
# place, left of it and above it. Lab 13 builds better ones and proves them.


# %%
class CausalBlock(nn.Module):
    """A gated residual convolution that sees no place after its own in raster order.

    The weights that it has, where ● is the own place, with a gap of 1 and of 3:

        1 1 1              1 1 1
        1 1 1              1 1 1
        1 ●            1 0 0 ●
    """

    def __init__(self, width: int, gap: int) -> None:
        super().__init__()
        self.gap = gap
        self.above = nn.Conv2d(width, 2 * width, (2, 3))
        self.left = nn.Conv2d(width, 2 * width, (1, 2), dilation=gap)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, h: Tensor) -> Tensor:
        """float (N, C, H, W) → (N, C, H, W)."""
        above = self.above(F.pad(h, (1, 1, 2, 0)))[:, :, :-1]
        left = self.left(F.pad(h, (self.gap, 0, 0, 0)))
        value, gate = (above + left).chunk(2, dim=1)
        return h + self.mix(value.tanh() * gate.sigmoid())


# %% [markdown]
# **Exercise 8** (2 points, 30 minutes). Write the prior. A block may see its own place, but the
# logits of place $i$ must not depend on $c_i$: the model would learn to copy it, its loss would
# fall to nothing, and its samples would be noise. So feed it the codes moved on by one place in
# raster order, the last one dropped, a learned vector in front. At place $i$ then stands $c_{i-1}$.
# Give all places the label, and a learned vector of their own: the same code means another thing
# at the top of an image than at its foot.


# %% nbgrader={"grade": false, "grade_id": "code_prior", "locked": false, "schema_version": 3, "solution": true, "task": false}
class CodePrior(nn.Module):
    """p(c | y) = Π p(c_i | c_<i, y) over arrays of 7×7 codes in raster order.

    Args:
        size: K, the number of codes.
        classes: the number of labels.
        width: maps inside the network.
    """

    def __init__(self, size: int, classes: int, width: int = 48) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.code = nn.Embedding(size, width)
        self.label = nn.Embedding(classes, width)
        self.first = nn.Parameter(torch.randn(width))
        self.place = nn.Parameter(0.1 * torch.randn(width, SIDE, SIDE))
        self.blocks = nn.Sequential(*(CausalBlock(width, gap) for gap in (1, 2, 3, 1)))
        self.last = nn.Conv2d(width, size, 1)
        ### END SOLUTION

    def forward(self, codes: Tensor, labels: Tensor) -> Tensor:
        """int64 (N, 7, 7) and int64 (N,) → logits (N, K, 7, 7); those of c_i see only c_<i and y."""
        ### BEGIN SOLUTION
        known = self.code(codes.flatten(1))[:, :-1]
        first = self.first.expand(len(codes), 1, -1)
        moved = torch.cat([first, known], dim=1).transpose(1, 2).unflatten(2, (SIDE, SIDE))
        h = moved + self.place + self.label(labels)[:, :, None, None]
        return self.last(F.silu(self.blocks(h)))
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "code_prior_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
prior, label = CodePrior(size=5, classes=3, width=8), torch.tensor([1])
codes = torch.randint(5, (1, SIDE, SIDE))
changed = codes.clone()
changed[0, 3, 3] = (codes[0, 3, 3] + 2) % 5
check.shape(prior(codes, label), (1, 5, SIDE, SIDE), "the logits")
moved = (prior(changed, label) - prior(codes, label))[0].abs().amax(0) > 1e-6
assert not moved[3, 3], "the logits of place (3, 3) depend on its own code: move the codes by one"
assert not moved[:3].any(), "logits above a place depend on its code; is it row by row?"
assert not moved[3, :3].any(), "logits left of a place depend on its code"
assert moved[3, 4], "the logits of the place to the right do not depend on this one"
assert moved[4, 3], "the logits of the place below do not depend on this one"
other = (prior(codes, torch.tensor([2])) - prior(codes, label))[0].abs().amax(0) > 1e-6
assert other.all(), "the label does not reach all places"
print("CodePrior: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "code_prior_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 8, 2 points.
### BEGIN HIDDEN TESTS
generator = check.generator()
raster = torch.arange(49).reshape(7, 7)
for size, classes in ((6, 3), (11, 10)):
    prior = CodePrior(size, classes)
    check.evaluate(prior)
    codes = torch.randint(size, (2, 7, 7), generator=generator)
    labels = torch.randperm(classes, generator=generator)[:2]
    check.shape(prior(codes, labels), (2, size, 7, 7), "the logits")
    step = torch.randn(2, size, 7, 7, generator=generator)
    check.descend(prior, prior, (codes, labels), step, lr=1e-3)
    logits = prior(codes, labels)
    assert logits.min() < 0, "a logit may be negative"
    changed = torch.stack([codes[0], (codes[1] + 1) % size])
    moved = (prior(changed, labels) - logits).abs().amax(1)
    check.close(moved[0], torch.zeros(7, 7), "change when another image changes", atol=1e-5)
    moved = (prior(codes, torch.stack([labels[0], labels[0]])) - logits).abs().amax(1)
    check.close(moved[0], torch.zeros(7, 7), "change when another label changes", atol=1e-5)
    assert (moved[1] > 1e-6).all(), "the label does not reach all places"
    alone = prior(codes[:1].repeat(classes, 1, 1), torch.arange(classes)).flatten(1)
    assert torch.pdist(alone).min() > 1e-4, "two labels give the same logits"
    random = torch.randint(49, (4,), generator=generator).tolist()
    places = [0, 6, 7, 24, 41, 47, 48, *random]
    same, label = codes[:1].repeat(len(places), 1, 1), labels[:1].repeat(len(places))
    changed = same.clone()
    changed.flatten(1)[torch.arange(len(places)), places] += 1
    moved = (prior(changed % size, label) - prior(same, label)).abs().amax(1)
    for i, seen in zip(places, moved, strict=True):
        row, column = divmod(i, 7)
        check.close(seen[raster <= i], torch.zeros(i + 1), f"change up to place {i}", atol=1e-5)
        if column < 6:
            assert seen[row, column + 1] > 1e-6, f"place {i + 1} does not see place {i}"
        if column < 6 and row < 6:
            assert seen[row + 1, column] > 1e-6, f"the place under place {i} does not see it"
### END HIDDEN TESTS

# %% [markdown]
# The loss of the prior is the negative log-likelihood of the codes. In bits it is the length of a
# file: with the prior, an arithmetic coder writes an array in that many bits, and reads it back.


# %%
def code_bits(logits: Tensor, codes: Tensor) -> Tensor:
    """−log₂ p(c | y) of each array: logits (N, K, 7, 7), codes (N, 7, 7) → (N,)."""
    return F.cross_entropy(logits, codes, reduction="none").sum(dim=(1, 2)) / math.log(2)


def prior_loss(model: CodePrior, codes: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Bits an array, and nats a code as the loss."""
    bits = code_bits(model(codes, labels), codes).mean()
    return {"loss": bits * math.log(2) / codes[0].numel(), "bits": bits}


# %% tags=["skip-execution"]
codes_train = vqvae.encode(x_train)
torch.manual_seed(SEED)
prior = CodePrior(CODES, CLASSES, PRIOR_WIDTH)
prior_history = train.fit(
    prior, prior_loss, (codes_train, fashion.labels), steps=PRIOR_STEPS, batch_size=BATCH,
    lr=3e-3, seed=SEED, checkpoint="23_vqvae_prior",
)  # fmt: skip
prior.eval()
order_0 = SIDE**2 * math.log2(codes_perplexity)
figure, axes = plot.figure(size=(5.2, 2.8))
axes[0, 0].plot(prior_history.curves["bits"], label="prior, in training")
axes[0, 0].axhline(SIDE**2 * math.log2(CODES), color=plot.COLOURS[5], label="7 bits a code")
axes[0, 0].axhline(order_0, color=plot.COLOURS[1], label="how often codes occur")
axes[0, 0].set(xlabel="step", ylabel="bits an image")
axes[0, 0].legend(frameon=False)
plot.show(
    figure,
    "Bits of an array of codes over the steps of the prior's training: it "
    "falls below what the frequencies of codes alone would give after a hundred steps, and to "
    "about half of that by the end.",
)

# %% [markdown]
# ## 9 · New codes, new clothes
#
# Sampling goes through the array once. At place $i$ the prior gives logits that depend on the
# codes drawn so far; draw $c_i$ from them, write it down, go on. That takes 49 passes. For pixels
# it would be 784, each over a larger image: here the array of codes pays for the second time.
#
# **Exercise 9** (2 points, 15 minutes). Write the sampler. It should work with any prior of the
# form of exercise 8. `Chain` is one that can be checked by hand: a table says which code follows
# which, and another which may lie under which.


# %%
class Chain(nn.Module):
    """A prior of three tables: logits of c_i = start[y] + after[code before] + below[code above]."""

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(classes, size))
        self.after = nn.Parameter(torch.zeros(size, size))
        self.below = nn.Parameter(torch.zeros(size, size))

    def forward(self, codes: Tensor, labels: Tensor) -> Tensor:
        """int64 (N, 7, 7) and int64 (N,) → logits (N, K, 7, 7)."""
        before = F.pad(self.after[codes.flatten(1)], (0, 0, 1, 0))[:, :-1]
        above = F.pad(self.below[codes.flatten(1)], (0, 0, SIDE, 0))[:, :-SIDE]
        logits = self.start[labels][:, None] + before + above
        return logits.transpose(1, 2).unflatten(2, (SIDE, SIDE))


# %% nbgrader={"grade": false, "grade_id": "sample_codes", "locked": false, "schema_version": 3, "solution": true, "task": false}
@torch.no_grad()
def sample_codes(prior: nn.Module, labels: Tensor) -> Tensor:
    """One array of codes for each label, drawn code by code in raster order.

    Args:
        prior: gives logits (N, K, 7, 7) for codes, int64 (N, 7, 7), and labels; those of a place
            depend on the codes before it alone.
        labels: int64 (N,).

    Returns:
        int64 (N, 7, 7), on the device of the labels.
    """
    ### BEGIN SOLUTION
    codes = torch.zeros(len(labels), SIDE, SIDE, dtype=torch.long, device=labels.device)
    for row in range(SIDE):
        for column in range(SIDE):
            logits = prior(codes, labels)[:, :, row, column]
            codes[:, row, column] = torch.distributions.Categorical(logits=logits).sample()
    return codes
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "sample_codes_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
chain = Chain(size=5, classes=2)
follow = torch.eye(5).roll(1, dims=1)  # after code k comes k + 1
check.load_state(chain, {"start": torch.zeros(2, 5), "after": 99 * follow, "below": 0 * follow})
torch.manual_seed(SEED)
drawn = sample_codes(chain, torch.tensor([0, 1] * 100))
check.shape(drawn, (200, SIDE, SIDE), "the codes for 200 labels")
steps = drawn.flatten(1).diff(dim=1) % 5
check.close(
    steps, torch.ones(200, 48), "the step from each code to the next in raster order",
    hint="Ask the prior again after every code; row by row, from the left.",
)  # fmt: skip
assert len(drawn[:, 0, 0].unique()) == 5, "the first code has five equal chances; is it drawn?"
print("sample_codes: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "sample_codes_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 9, 2 points.
### BEGIN HIDDEN TESTS
generator = check.generator()
for size, classes, N in ((3, 2, 400), (4, 3, 400)):
    chain = Chain(size, classes)
    tables = [1.5 * torch.randn(n, size, generator=generator) for n in (classes, size, size)]
    check.load_state(chain, dict(zip(("start", "after", "below"), tables, strict=True)))
    labels = torch.randint(classes, (N,), generator=generator)
    codes = sample_codes(chain, labels)
    check.shape(codes, (N, 7, 7), "the codes")
    assert codes.dtype == torch.int64, f"codes should be int64; found {codes.dtype}"
    flat = codes.flatten(1)
    logits = tables[0][labels][:, None].repeat(1, 49, 1)
    logits[:, 1:] += tables[1][flat[:, :-1]]
    logits[:, 7:] += tables[2][flat[:, :-7]]
    probabilities = logits.softmax(2).double()
    surprise = F.one_hot(flat, size) - probabilities
    spread = (probabilities * (1 - probabilities)).clamp(min=1e-9)
    for what, groups in (
        ("label", labels[:, None].expand(N, 49)),
        ("place", torch.arange(49).expand(N, 49)),
        ("code before", F.pad(flat[:, :-1], (1, 0))),
        ("code above", F.pad(flat[:, :-7], (7, 0))),
    ):
        for group in groups.unique():
            chosen = groups == group
            deviation = surprise[chosen].sum(0) / (spread[chosen].sum(0) + 4).sqrt()
            assert deviation.abs().max() < 6, f"wrong frequencies where the {what} is {group}"
    pairs = surprise[::2] * surprise[1::2]
    assert pairs.mean((0, 2)).abs().max() < 0.1, "the codes of different images are not independent"
assert not torch.equal(codes, sample_codes(chain, labels)), "a second call gives the same codes"
### END HIDDEN TESTS

# %% [markdown]
# Three rows of new clothes, from codes that know more and more: each number drawn with equal
# chances; each drawn as often as it occurs, but by itself; and all drawn from the prior.

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
device = codes_test.device
array = 12, SIDE, SIDE
by_share = torch.multinomial(shares, math.prod(array), replacement=True).view(array)
drawn = {
    "equal": torch.randint(CODES, array, device=device),
    "by share": by_share,
    "prior": sample_codes(prior, torch.arange(12, device=device) % CLASSES),
}
plot.images(
    {name: picture(vqvae.decode(codes)) for name, codes in drawn.items()},
    "Twelve decoded arrays of codes in each of three rows: with equal "
    "chances and by share there are only blots; from the prior come clothes.",
)

# %% [markdown]
# The first two rows hardly differ. How often a code occurs says little. What makes a picture is
# which codes stand next to which, and that is all the prior has to know: the decoder paints.

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
labels = torch.arange(CLASSES, device=device).repeat_interleave(SAMPLES // CLASSES + 1)[:SAMPLES]
sampled_codes = torch.cat([sample_codes(prior, chunk) for chunk in labels.split(500)])
samples = picture(vqvae.decode(sampled_codes))
plot.images(
    {name: samples[labels == c][:12] for c, name in enumerate(fashion.classes)},
    "Twelve samples of each class, drawn from the prior and decoded: most boots, "
    "sneakers, bags and pullovers are clear; some dresses, coats and sandals have holes or ragged "
    "edges.",
)

# %% [markdown]
# Compare them with the samples of lab 22. These are crisper, since each is made of codes that the
# decoder has seen on real clothes. Where a sample fails it does not blur, it breaks: a hole, half a
# garment. There the prior drew a code that does not fit, and drew the next ones as if it did.
#
# ## Measure: bits
#
# What does it cost to store a test image? As codes with the prior, a few times fewer bits than
# the pixels, and something is lost. The loss can be bought back: $-\log_2 p(x \mid c)$ bits more
# tell every pixel exactly. Codes and rest together are a bound on the likelihood, since
# $p(x) \ge p(x \mid c)\, p(c \mid y)\, p(y)$ for the one array $c$ that the encoder gives and the
# one label that we name, at $\log_2 10$ bits. That makes the model comparable with all others of
# this course.

# %% tags=["skip-execution"]
with torch.no_grad():
    chunks = zip(codes_test.split(500), fashion_test.labels.split(500), strict=True)
    prior_bits = float(torch.cat([code_bits(prior(c, y), c) for c, y in chunks]).mean())
    pairs = zip(x_test.split(500), codes_test.split(500), strict=True)
    rest = torch.cat([negative_log_likelihood(x, vqvae.decode(c)) for x, c in pairs])
rest_bits = float(rest.mean()) / math.log(2)
deflated = 8 * len(zlib.compress(x_test.byte().cpu().numpy().tobytes(), 9)) / len(x_test)
whole_bits = prior_bits + math.log2(CLASSES) + rest_bits
for name, bits in {
    "pixels, 256 levels": 784 * 8,
    "pixels, 8 levels": 784 * math.log2(LEVELS),
    "pixels, 8 levels, deflated as in PNG": deflated,
    "codes, 7 bits each": SIDE**2 * math.log2(CODES),
    "codes, by how often they occur": order_0,
    "codes, with the prior": prior_bits,
    "codes, label and rest: every pixel": whole_bits,
}.items():
    print(f"{name:40s} {bits:7.1f} bits an image")
print(f"bits per dimension: {whole_bits / 784:.3f} or less")

# %% [markdown]
# Frequencies alone save half a bit a code. Knowing the codes before, and the label, saves half of
# all bits. An exact copy of the pixels costs far less than by the method of a PNG, which knows
# nothing of clothes, and most of that cost is the rest: the decoder is small, and treats pixels as
# independent given the codes, as the VAE's does.
#
# ## Measure: samples
#
# Reconstructions and samples are scored as in lab 22, by the Fréchet distance to test images on
# the features of the course's own classifier. The reconstructions tell what the codes can say at
# all. The samples can hardly be better than they are.

# %% tags=["skip-execution"]
error = float(F.mse_loss(reconstructions, x_test / (LEVELS - 1)))
sampled = scores.to_pixels(samples)
quality = scores.score(sampled, fashion_test.pixels, features="fashion")
decoded = scores.to_pixels(reconstructions)
decoded_quality = scores.score(decoded, fashion_test.pixels, features="fashion")
agreement = scores.class_accuracy(sampled, labels, features="fashion")
for name, found in (("reconstructions", decoded_quality), ("samples", quality)):
    print(f"{name:16s} Fréchet {found['fid_course']:6.2f}   IS {found['is_course']:.2f}")
print(f"mean squared error of the reconstructions: {error:.4f}, pixels between 0 and 1")
seen = scores.class_accuracy(decoded, fashion_test.labels, features="fashion")
print(f"taken for their label: {agreement:.1%} of the samples, {seen:.1%} of the reconstructions")

# %% [markdown]
# Most of the distance is there already in the reconstructions, before any prior takes part. Better
# samples need more places or more codes before they need a better prior. Lab 51 goes that way, with
# a loss for the decoder that cares for sharp texture.
#
# **Exercise 10** (2 points, 15 minutes; graded by hand). In your own words: (a) The
# straight-through gradient is not the gradient of the loss. What is the true gradient of the loss
# in $z$, and when is the copied one a good guess? Which term of the loss sees to that? (b) A
# colleague has $K = 512$ and a perplexity of 3 that does not rise. What has happened, what will
# the reconstructions look like, and name two remedies. (c) Another colleague's prior reaches 0.1
# bits an image, and its samples are noise. What is the first thing to look for?

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) The code does not change when z moves a little, so the true gradient is zero almost
# everywhere, and not defined on the borders between codes. The copied gradient is that of the
# loss at the code e. If e is near z, and the decoder's loss is smooth between them, it is about
# the gradient that the loss would have at z without a quantiser. The commitment loss keeps z
# near its code; the codebook loss, or the averages, keep the code near its vectors.
#
# (b) The codebook has collapsed: about three codes are in use, the rest are dead because they
# are never the nearest. Each place of an image can say only one of three things, so the
# reconstructions show coarse outlines that are much alike. Remedies: revive dead codes on
# vectors of the batch; start the codebook from encoder outputs; fewer dimensions or normalised
# vectors; moving averages in place of a gradient; a larger β or a lower learning rate of the
# encoder so that the codes can follow.
#
# (c) That each place sees its own code, directly or through a layer: the codes were not moved by
# one place, or a block is not causal. When sampling, that code is not there yet.
# ### END SOLUTION

# %% [markdown]
# ## Record
#
# The last cell writes the numbers of this run to a file, with profile, seed, hardware and
# versions. The tables of the book are made from such files.


# %% tags=["skip-execution"]
def draw(n: int) -> Tensor:
    """n images of labels in turn, (n, 1, 28, 28) in [0, 1]."""
    return picture(vqvae.decode(sample_codes(prior, torch.arange(n, device=device) % CLASSES)))


sound_runs = {way: course for way, (_, course) in learned.items()}
numbers = {
    **quality,
    "reconstruction_fid_course": decoded_quality["fid_course"],
    "reconstruction_mse": error,
    "label_accuracy": agreement,
    "reconstruction_label_accuracy": seen,
    "codebook_perplexity": codes_perplexity,
    "codebook_used": used,
    "codebook_size": CODES,
    "code_bits": SIDE**2 * math.log2(CODES),
    "order0_bits": order_0,
    "prior_bits": prior_bits,
    "rest_bits": rest_bits,
    "deflate_bits": deflated,
    "elbo_nats": -whole_bits * math.log(2),
    "bits_per_dim": whole_bits / 784,
    "sound_decibels": sound_runs["averages and revival"].curves["decibels"][-1],
    "sound_decibels_no_revival": sound_runs["averages"].curves["decibels"][-1],
    "sound_decibels_gradient": sound_runs["gradient"].curves["decibels"][-1],
    "sound_bits_per_sample": sound_bits,
    "parameters": records.parameter_count(vqvae, prior) + vqvae.codebook.vectors.numel(),
    "train_seconds": sum(run.seconds for run in (history, prior_history, *sound_runs.values())),
    "milliseconds_per_sample_1": records.milliseconds_per_sample(draw, 1),
    "milliseconds_per_sample_256": records.milliseconds_per_sample(draw, 256),
}
records.write("23_vqvae", numbers, seed=SEED)
print("recorded: " + ", ".join(numbers))
