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
# # Lab 21 · Autoencoder
#
# In this lab a network learns to press an image of 784 pixels through a few numbers and to make
# the image again from them. You show that the simplest such network finds what principal
# component analysis finds, build a convolutional one that does better, and try its codes as
# features for a classifier with ten labels a class. Then comes the question that the lab exists
# for: is an autoencoder a generative model? You decode random numbers, look, and measure.
# The page [Autoencoder](../../book/21_autoencoder.md) derives everything that you write here.
#
# You write ten answers, worth 20 points together. After each stands a check that you can run at
# once. It looks at your answer from several sides and says what it finds. The points are given
# later, by tests that you do not see and that try more cases.

# %%
import math
import time
from copy import deepcopy

import scipy.linalg
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
LATENTS = 16  # dimensions of a code, as in lab 22
CLASSES = 10
PER_CLASS = 10  # labels that the classifiers are given
DECAY = 0.01  # weight of ‖W‖² / 2 in the logistic regression
NOISE = 0.25  # standard deviation of a pixel in the VAE
FASHION = profile.choose(test="fashion_small", quick="fashion_small", full="fashion")
TRAIN_IMAGES = profile.choose(test=512, quick=None, full=None)  # None: all there are
TEST_IMAGES = profile.choose(test=256, quick=2_000, full=10_000)
LINEAR_IMAGES = profile.choose(test=200, quick=2_000, full=60_000)
ITERATIONS = profile.choose(test=10, quick=100, full=150)  # of L-BFGS
BATCH = profile.choose(test=48, quick=48, full=128)
STEPS = profile.choose(test=3, quick=700, full=12_000)
MAP_STEPS = profile.choose(test=3, quick=300, full=6_000)
VAE_STEPS = profile.choose(test=3, quick=600, full=12_000)
CLASSIFIER_STEPS = profile.choose(test=3, quick=60, full=200)
REPEATS = profile.choose(test=2, quick=5, full=10)  # choices of the labelled images
SAMPLES = profile.choose(test=256, quick=2_000, full=10_000)  # drawn for the scores

# %% [markdown]
# ## The images
#
# Clothes in grey, 28×28 pixels between 0 and 1. The labels are put aside: for most of this lab
# nobody says what is on an image.

# %%
fashion = data.load(FASHION, "train", TRAIN_IMAGES)
fashion_test = data.load(FASHION, "test", TEST_IMAGES)
x_train, x_test = data.to_float(fashion.pixels), data.to_float(fashion_test.pixels)
plot.grid(x_train[:32], "Thirty-two training images: shirts, trousers, dresses, shoes and bags.")

# %% [markdown]
# ## 1 · What is lost
#
# An *encoder* turns an image $x$ into a short vector $z$, the *code*. A *decoder* turns the code
# into an image $\hat x$. Nobody says what a good code is. All that is asked is that little gets
# lost on the way through.
#
# **Exercise 1** (1 point, 5 minutes). What is lost is measured by the *reconstruction error*, the
# squared difference summed over all $P$ numbers of an image:
#
# $$\ell(x, \hat x) = \|x - \hat x\|^2 = \sum_{i=1}^{P} (x_i - \hat x_i)^2 .$$


# %% nbgrader={"grade": false, "grade_id": "reconstruction_error", "locked": false, "schema_version": 3, "solution": true, "task": false}
def reconstruction_error(x: Tensor, decoded: Tensor) -> Tensor:
    """Squared difference between each image and its reconstruction, summed over the image.

    Args:
        x, decoded: float (N, …), of one shape: (N, C, H, W), (N, P), or any other. They may hold
            any values, not only those between 0 and 1.

    Returns:
        float (N,), of the same dtype, differentiable in both arguments, also where they are equal.
    """
    ### BEGIN SOLUTION
    return (x - decoded).pow(2).flatten(1).sum(dim=1)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "reconstruction_error_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
x = torch.zeros(3, 1, 2, 5)
check.close(
    reconstruction_error(x, x + torch.tensor([0.0, 1.0, -3.0]).view(3, 1, 1, 1)), [0.0, 10.0, 90.0],
    "the error of three images of 10 pixels that are off by 0, 1 and −3",
    hint="Square, then sum over the pixels of an image. Images are not mixed.",
)  # fmt: skip
check.close(
    reconstruction_error(torch.ones(2, 4), torch.zeros(2, 4)), [4.0, 4.0], "the error of vectors"
)
_, gradients = check.vjp(reconstruction_error, (x, x + 1), torch.ones(3))
for name, gradient, expected in zip(("x", "the reconstruction"), gradients, (-2, 2), strict=True):
    check.close(
        gradient, expected * torch.ones(3, 1, 2, 5), f"the gradient of the error in {name}",
        hint="Is there a detach or a .data?",
    )  # fmt: skip
print("reconstruction_error: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "reconstruction_error_test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 1, 1 point.
### BEGIN HIDDEN TESTS
generator = check.generator()
shapes = ((7, 1, 5, 6), (1, 1, 4, 4), (4, 4), (3, 3, 8, 5), (5, 5, 5, 5), (6, 9), (1, 3), (2, 1))
for dtype in (torch.float32, torch.float64):
    for shape in shapes:
        for size in (0.1, 3.0, 40.0):
            x, decoded = torch.randn(2, *shape, generator=generator, dtype=dtype) * size
            if size == 3:
                decoded[-1] = x[-1]  # a perfect reconstruction; its gradient is zero
            copies = x.clone(), decoded.clone()
            found = reconstruction_error(*copies)
            what = f"the error of images of shape {shape}"
            wanted = torch.einsum("np,np->n", *[(x - decoded).double().reshape(len(x), -1)] * 2)
            check.close(found, wanted, what, atol=1e-6 * size**2)
            assert found.dtype == dtype, f"{what} should be {dtype}; found {found.dtype}"
            for value, before in zip(copies, (x, decoded), strict=True):
                assert torch.equal(value, before), "the function has changed its arguments"
            cotangent = torch.randn(shape[0], generator=generator, dtype=dtype)
            _, (d_x, d_decoded) = check.vjp(reconstruction_error, (x, decoded), cotangent)
            slope = 2 * (x - decoded) * cotangent.view(-1, *[1] * (len(shape) - 1))
            check.close(d_x, slope, "the gradient in x", atol=1e-5 * size)
            check.close(d_decoded, -slope, "the gradient in the reconstruction", atol=1e-5 * size)
### END HIDDEN TESTS

# %% [markdown]
# ## 2 · Principal components
#
# Before any network: what is the best that straight lines can do? Let $W$ be a matrix of $K$
# orthonormal columns of $P$ numbers. The code of $x$ is $W^\top (x - m)$, and its reconstruction
# $m + W W^\top (x - m)$. The mean error over the data is least when $m$ is the mean of the data
# and the columns of $W$ are the $K$ directions in which they vary most, the *principal components*.
#
# **Exercise 2** (2 points, 20 minutes). Compute both. The principal components are the
# eigenvectors of the covariance with the largest eigenvalues,
#
# $$C = \frac1N\sum_{n=1}^N (x_n - m)(x_n - m)^\top, \qquad
#   C\,w_k = \lambda_k w_k, \quad \lambda_1 \ge \lambda_2 \ge \dots$$
#
# which are also the right singular vectors of the centred data. Compute them exactly: methods
# such as `torch.pca_lowrank`, which try random directions, are only close.


# %% nbgrader={"grade": false, "grade_id": "pca", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pca(x: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Mean and first principal components of data.

    Args:
        x: float (N, P), one row a datum; N may be smaller than P.
        components: K, between 1 and min(N − 1, P).

    Returns:
        The mean m, (P,), and W, (P, K): orthonormal columns, the direction of largest variance
        first; each may have either sign. Both have the dtype of x.
    """
    ### BEGIN SOLUTION
    mean = x.mean(dim=0)
    _, _, vt = torch.linalg.svd(x - mean, full_matrices=False)
    return mean, vt[:components].T
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "pca_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
cross = torch.tensor(
    [[2.0, 0, 0], [-2.0, 0, 0], [0, 0, 1.0], [0, 0, -1.0], [0, 0.1, 0], [0, -0.1, 0]]
)
turn = torch.linalg.qr(torch.tensor([[1.0, 2, 0], [0, 1, 3], [2, 0, 1]]))[0]
mean, W = pca(cross @ turn.T + torch.tensor([5.0, -7, 1]), 2)
check.close(mean, [5.0, -7.0, 1.0], "the mean of the data", hint="One number for each column.")
check.shape(W, (3, 2), "W for two components of data with three columns")
check.close(W.T @ W, torch.eye(2), "WᵀW", hint="The columns are orthonormal.")
check.close(
    (W.T @ turn[:, [0, 2]]).abs(), torch.eye(2), "the agreement of W with the two widest directions",
    atol=1e-3, hint="Is the mean taken off? Is the largest variance first?",
)  # fmt: skip
print("pca: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "pca_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 2, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def known_components(
    n: int, p: int, dtype: torch.dtype, ratio: float = 1.35
) -> tuple[Tensor, Tensor, Tensor]:
    """Data (n, p) with their mean, (p,), and all their principal components, (p, min(n − 1, p))."""
    rank = min(n - 1, p)
    some = torch.randn(n, rank, generator=generator, dtype=torch.float64)
    scores_ = torch.linalg.qr(some - some.mean(0))[0]  # orthonormal, and each of mean zero
    widths = 8 * ratio ** -torch.arange(rank).double()
    directions = torch.linalg.qr(torch.randn(p, rank, generator=generator).double())[0]
    mean = 4 * torch.randn(p, generator=generator).double()
    return (scores_ * widths @ directions.T + mean).to(dtype), mean, directions


cases = (
    (60, 8, 3), (40, 6, 6), (5, 20, 4), (30, 12, 1), (12, 12, 5), (9, 9, 8), (2, 3, 1), (300, 5, 2),
    (120, 70, 3),  # of many widths, so that only an exact method tells them apart
)  # fmt: skip
found = []
for dtype, atol in ((torch.float64, 1e-6), (torch.float32, 2e-3)):
    for n, p, k in cases:
        x, mean, directions = known_components(n, p, dtype, 1.03 if n == 120 else 1.35)
        before = x.clone()
        found.append((pca(x, k), mean, directions[:, :k], dtype, atol, f"{n} rows of {p} numbers"))
        assert torch.equal(x, before), "the function has changed its argument"
with check.part(points, "mean and subspace", 1):
    for (m, W), mean, directions, dtype, atol, what in found:
        check.close(m, mean, f"the mean of {what}", atol=atol)
        check.shape(W, directions.shape, f"W of {what}")
        projector = directions @ directions.T
        spanned = torch.linalg.qr(W.double())[0]
        check.close(spanned @ spanned.T, projector, f"the subspace of {what}", atol=atol)
        assert m.dtype == W.dtype == dtype, f"expected {dtype}; found {m.dtype}, {W.dtype}"
with check.part(points, "the directions", 1):
    for (_, W), _, directions, _, atol, what in found:
        k = directions.shape[1]
        check.close(W.T.double() @ W.double(), torch.eye(k), f"WᵀW of {what}", atol=atol)
        agreement = (W.T.double() @ directions).abs()
        check.close(agreement, torch.eye(k), f"W of {what} and the components", atol=atol)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 3 · Are two subspaces the same?
#
# A network that spans the same subspace will have other columns: turned, stretched, mixed. To
# compare the subspaces and not the columns, we need a measure that does not see the mixing.
# Take the closest pair of directions, one in each subspace, and the angle between them. Then the
# closest pair among the directions that are orthogonal to those, and so on. The $K$ *principal
# angles* are all zero exactly when the subspaces are the same.
#
# **Exercise 3** (2 points, 20 minutes). Compute them. With orthonormal bases $Q_A$, $Q_B$ of both
# subspaces, their cosines are the singular values of one small matrix (Björck and Golub, 1973):
#
# $$\cos\theta_k = \sigma_k\big(Q_A^\top Q_B\big).$$
#
# Two things need care. The columns that you are given are not orthonormal. And near $\theta = 0$
# the cosine is so flat that single precision can not tell an angle of $10^{-4}$ from zero.


# %% nbgrader={"grade": false, "grade_id": "principal_angles", "locked": false, "schema_version": 3, "solution": true, "task": false}
def principal_angles(a: Tensor, b: Tensor) -> Tensor:
    """The principal angles between the column spaces of two matrices.

    Args:
        a, b: float32 or float64 (P, K), P ≥ K; the columns of each are linearly independent, and
            neither orthogonal nor of length one.

    Returns:
        float64 (K,), the angles in radians, 0 … π/2, the smallest first. Computed in double
        precision whatever the arguments have, and right to 1e-6: 0 for equal subspaces, not NaN.
    """
    ### BEGIN SOLUTION
    q_a, _ = torch.linalg.qr(a.double())
    q_b, _ = torch.linalg.qr(b.double())
    cosines = torch.linalg.svdvals(q_a.T @ q_b)  # the largest first
    return cosines.clamp(max=1).arccos()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "principal_angles_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
plane = torch.tensor([[1.0, 0], [0, 1], [0, 0]]).double()
mixed = plane @ torch.tensor([[2.0, 5], [1, -3]]).double()
check.close(
    principal_angles(plane, mixed), [0.0, 0.0], "the angles of a plane to itself, other columns",
    atol=1e-6, hint="Make both bases orthonormal first. A cosine of 1 + 1e-16 has no arc cosine.",
)  # fmt: skip
tilt = torch.tensor([[1.0, 0], [0, math.cos(0.3)], [0, math.sin(0.3)]]).double()
check.close(
    principal_angles(mixed, tilt * 3), [0.0, 0.3], "the angles of a plane to one tilted by 0.3",
    atol=1e-6, hint="Angles in radians, the smallest first.",
)  # fmt: skip
small = principal_angles(torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [1e-4]]))
check.close(
    small, [1e-4], "a small angle, from float32", atol=1e-6, hint="Turn into float64 before the QR."
)
print("principal_angles: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "principal_angles_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 3, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def orthogonal(rows: int, columns: int) -> Tensor:
    return torch.linalg.qr(torch.randn(rows, columns, generator=generator).double())[0]


def mixing(k: int) -> Tensor:
    """An invertible (k, k) matrix that stretches and mixes, by no more than 8 to 1."""
    widths = 0.5 * 8 ** torch.rand(k, generator=generator).double()
    return orthogonal(k, k) * widths @ orthogonal(k, k)


def subspaces(p: int, angles: list[float]) -> tuple[Tensor, Tensor]:
    """Two (p, k) matrices, p ≥ 2k, whose column spaces have these principal angles."""
    k, angles = len(angles), torch.tensor(angles).double()
    q = orthogonal(p, 2 * k)
    tilted = q[:, :k] * angles.cos() + q[:, k:] * angles.sin()
    return q[:, :k] @ mixing(k), tilted @ mixing(k)


with check.part(points, "the angles", 1):
    for p, angles in {
        9: [0.1, 0.4, 0.9, 1.3], 6: [0.2, 0.7, 1.1], 4: [0.5, math.pi / 2], 2: [1.0], 30: [0.6] * 3,
    }.items():  # fmt: skip
        a, b = subspaces(max(p, 2 * len(angles)), angles)
        copies = a.clone(), b.clone()
        found = principal_angles(*copies)
        check.close(found, angles, f"angles of subspaces of {len(angles)} dimensions", atol=2e-6)
        assert found.dtype == torch.float64, f"angles should be float64; found {found.dtype}"
        for value, before in zip(copies, (a, b), strict=True):
            assert torch.equal(value, before), "the function has changed its arguments"
        check.close(principal_angles(b, a), angles, "the angles the other way round", atol=2e-6)
        check.close(principal_angles(-3 * a, b), angles, "the angles of longer columns", atol=2e-6)
    for p, k in ((5, 4), (7, 5), (3, 2)):  # these share some directions
        a, b = orthogonal(p, k) @ mixing(k), orthogonal(p, k) @ mixing(k)
        wanted = torch.tensor(scipy.linalg.subspace_angles(a.numpy(), b.numpy())[::-1].copy())
        check.close(principal_angles(a, b), wanted, f"{k} angles in {p} dimensions", atol=2e-6)
with check.part(points, "small angles", 1):
    for k in (1, 2, 3, 5):
        for _ in range(4):
            a = orthogonal(12, k) @ mixing(k)
            equal = principal_angles(a, a @ mixing(k))
            check.close(equal, torch.zeros(k), "the angles of a subspace to itself", atol=2e-6)
        whole = principal_angles(orthogonal(k, k) @ mixing(k), mixing(k))
        check.close(whole, torch.zeros(k), "the angles of the whole space to itself", atol=2e-6)
    angles = [0.0, 2e-5, 1e-3, 1.2, math.pi / 2]
    check.close(principal_angles(*subspaces(20, angles)), angles, "angles near 0", atol=2e-6)
    a, b = (t.float() for t in subspaces(16, [1e-4, 1e-3, 0.8]))
    wanted = scipy.linalg.subspace_angles(a.double().numpy(), b.double().numpy())[::-1].copy()
    found = principal_angles(a, b)
    check.close(found, torch.tensor(wanted), "small angles of float32 matrices", atol=2e-6)
    assert found.dtype == torch.float64, f"angles should be float64; found {found.dtype}"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 4 · A linear autoencoder
#
# Now a network, the smallest: the encoder is one matrix $E$ and the decoder another, $D$, each
# with a vector that is added.
#
# $$z = E x + c, \qquad \hat x = D z + b, \qquad
#   E \in \mathbb R^{K\times P},\; D \in \mathbb R^{P \times K}.$$
#
# Nobody tells it about variances, orthonormal columns or eigenvectors. It is only asked to make
# the reconstruction error small, by gradient descent.
#
# **Exercise 4** (2 points, 10 minutes). Write this network. Nothing is bent on the way: no
# activation, no normalisation, no dropout.


# %% nbgrader={"grade": false, "grade_id": "linear_autoencoder", "locked": false, "schema_version": 3, "solution": true, "task": false}
class LinearAutoencoder(nn.Module):
    """An encoder and a decoder that are affine maps: z = Ex + c and x̂ = Dz + b.

    D and E are two matrices: each learns on its own and can become any matrix. They start at random
    numbers, others in every new network. b is learned as well and has a number of its own for each
    of the P numbers of x; c may be left out. Both maps are the same in training and evaluation
    mode, and a row of their output depends on the same row of their input only.

    Args:
        pixels: P, the numbers of a datum.
        latents: K, the numbers of a code, K ≤ P.
    """

    ### BEGIN SOLUTION
    def __init__(self, pixels: int, latents: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(pixels, latents)
        self.decoder = nn.Linear(latents, pixels)

    ### END SOLUTION

    def encode(self, x: Tensor) -> Tensor:
        """float (N, P) → codes (N, K)."""
        ### BEGIN SOLUTION
        return self.encoder(x)
        ### END SOLUTION

    def decode(self, z: Tensor) -> Tensor:
        """float (N, K) → reconstructions (N, P)."""
        ### BEGIN SOLUTION
        return self.decoder(z)
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "linear_autoencoder_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
model, x, z = LinearAutoencoder(pixels=12, latents=3), torch.randn(4, 12), torch.randn(4, 3)
for name, f, inputs, outputs in (("encode", model.encode, x, 3), ("decode", model.decode, z, 12)):
    found = f(inputs)
    check.shape(found, (4, outputs), f"{name} of four rows")
    check.close(
        f(inputs[:1] + inputs[1:2] - inputs[2:3])[0], found[0] + found[1] - found[2],
        f"{name}(u + v − w), beside {name}(u) + {name}(v) − {name}(w)",
        atol=1e-4, hint="An affine map keeps such sums. Is there an activation?",
    )  # fmt: skip
    learned = check.parameter_gradients(f, model, inputs, torch.ones_like(found))
    assert any(g.any() for g in learned.values()), f"no weight learns from {name}; is one detached?"
    _, (gradient,) = check.vjp(f, inputs, torch.ones_like(found))
    assert gradient.any(), f"{name} has no gradient in its argument; is something detached?"
check.descend(model.decode, model, torch.zeros(1, 3), 100 * torch.arange(12.0)[None], lr=0.1)
start = model.decode(torch.zeros(1, 3))[0]
assert start.diff().max() < 0, "b should learn a number of its own for each pixel"
print("LinearAutoencoder: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "linear_autoencoder_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 4, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
sizes = ((12, 3), (7, 1), (5, 5), (40, 6))


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def slopes(f, inputs: int) -> Tensor:
    """The matrix (inputs, outputs) of an affine map."""
    return (f(torch.eye(inputs)) - f(torch.zeros(1, inputs))).detach()


with check.part(points, "two affine maps", 1):
    for pixels, latents in sizes:
        model = LinearAutoencoder(pixels, latents)
        x, z = normal(9, pixels), normal(9, latents)
        for name, f, inputs, outputs in (
            ("encode", model.encode, x, latents), ("decode", model.decode, z, pixels),
        ):  # fmt: skip
            matrix = slopes(f, inputs.shape[1]).double()
            rank = int(torch.linalg.matrix_rank(matrix, rtol=1e-4))
            assert rank == latents, f"{name} starts with rank {rank}; expected {latents}"
            check.descend(f, model, inputs, normal(9, outputs), lr=1e-2)
            matrix, shift = slopes(f, inputs.shape[1]), f(torch.zeros_like(inputs[:1])).detach()
            for size in (0.1, 3.0, 100.0):
                copy = inputs * size
                found = f(copy)
                assert torch.equal(copy, inputs * size), f"{name} has changed its argument"
                wanted = inputs * size @ matrix + shift
                scale = wanted.abs().mean().item()
                check.close(found, wanted, f"{name} of rows", rtol=1e-3, atol=1e-3 * scale)
                model.encode(normal(3, pixels))  # must leave no trace
                alone = f(inputs[2:3] * size)
                check.close(alone[0], wanted[2], f"{name} of one row", rtol=1e-3, atol=1e-3 * scale)
        saved = model.encode(x), model.decode(z)
        check.evaluate(model)
        check.close(model.encode(x), saved[0], "encode in evaluation mode")
        check.close(model.decode(z), saved[1], "decode in evaluation mode")
with check.part(points, "all of it learns", 1):
    for pixels, latents in sizes:
        model, other = LinearAutoencoder(pixels, latents), LinearAutoencoder(pixels, latents)
        x, z = normal(9, pixels), normal(9, latents)
        for name, f, inputs, outputs in (
            ("encode", model.encode, x, latents), ("decode", model.decode, z, pixels),
        ):  # fmt: skip
            cotangent, matrix = normal(9, outputs), slopes(f, inputs.shape[1])
            _, (gradient,) = check.vjp(f, inputs, cotangent)
            check.close(gradient, cotangent @ matrix.T, f"the gradient of {name}", atol=1e-4)
            before = f(inputs)
            check.descend(f, model, inputs, cotangent, lr=1e-3)
            assert ((f(inputs) - before) * cotangent).sum() < 0, f"{name} does not learn"
            moved = (slopes(f, inputs.shape[1]) - matrix).abs()
            assert (moved.amax(0) > 1e-6).all(), f"a row of the matrix of {name} does not learn"
            assert (moved.amax(1) > 1e-6).all(), f"a column of the matrix of {name} does not learn"
        for f, g, inputs, wide, outputs in (
            (model.encode, model.decode, pixels, latents, latents),
            (model.decode, model.encode, latents, pixels, pixels),
        ):  # fmt: skip
            still = slopes(g, wide)
            check.descend(f, model, normal(5, inputs), normal(5, outputs), lr=1e-2)
            assert torch.equal(slopes(g, wide), still), (
                "E and D are not two matrices: one moves both"
            )
        first, second = (
            slopes(LinearAutoencoder(pixels, latents).encode, pixels) for _ in range(2)
        )
        assert (first - second).abs().max() > 1e-4, "two networks start with the same E"
        first, second = (
            slopes(LinearAutoencoder(pixels, latents).decode, latents) for _ in range(2)
        )
        assert (first - second).abs().max() > 1e-4, "two networks start with the same D"
        check.load_state(other, check.state(model))
        check.close(other.encode(x), model.encode(x), "encode of a loaded copy")
        check.close(other.decode(z), model.decode(z), "decode of a loaded copy")
        zero, target = torch.zeros(1, latents), normal(1, pixels)
        for _ in range(120):
            check.descend(model.decode, model, zero, model.decode(zero).detach() - target, lr=0.1)
        check.close(model.decode(zero), target, "b, after learning to be a given image", atol=0.05)
    for pixels, latents in ((12, 3), (5, 5)):
        model = LinearAutoencoder(pixels, latents)
        for name, f, inputs, outputs in (
            ("E", model.encode, pixels, latents), ("D", model.decode, latents, pixels),
        ):  # fmt: skip
            wanted, rows = 3 * normal(inputs, outputs), torch.eye(inputs)
            rows, targets = torch.cat([rows, -rows]), torch.cat([wanted, -wanted])
            lr, error = 0.4 / inputs, f(rows).detach() - targets
            for _ in range(500):
                if error.abs().max() < 0.02:
                    break
                before = check.state(model)
                check.descend(f, model, rows, error, lr)
                found = f(rows).detach() - targets
                if found.norm() < error.norm():
                    lr, error = 1.2 * lr, found
                else:  # the step was too long
                    check.load_state(model, before)
                    lr = lr / 3
            check.close(slopes(f, inputs), wanted, f"{name}, after learning a matrix", atol=0.05)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## Train the linear one
#
# Does it find the principal components? We take all images at once, so that the gradient is exact,
# and a method that learns the curvature from the gradients that it has seen (L-BFGS). Two more
# things make it quick, and the page says why. The mean image is taken off first, because it is
# far longer than any component. And all weights start small: a large random decoder would first
# have to be unlearned.
#
# The columns of $D$ are the images that the decoder can mix. We read them off by decoding one unit
# of each number of the code.


# %%
def decoder_columns(model: LinearAutoencoder, latents: int, device: torch.device) -> Tensor:
    """D, (P, K): what one unit of each number of the code adds to the reconstruction."""
    with torch.no_grad():
        units = torch.eye(latents, device=device)
        return (model.decode(units) - model.decode(torch.zeros_like(units))).T


def train_linear(x: Tensor, latents: int, iterations: int) -> tuple[LinearAutoencoder, list[float]]:
    """Minimise the mean error of x, (N, P); gives the largest angle to PCA at each look."""
    model = LinearAutoencoder(x.shape[1], latents).to(x.device)
    for p in model.parameters():
        p.data *= 0.01
    optimiser = torch.optim.LBFGS(
        model.parameters(), max_iter=iterations, max_eval=iterations, history_size=20,
        line_search_fn="strong_wolfe", tolerance_grad=1e-6, tolerance_change=0,
    )  # fmt: skip
    components, angles = pca(x, latents)[1], []

    def look() -> Tensor:
        columns = decoder_columns(model, latents, x.device)
        angles.append(float(principal_angles(columns, components)[-1]))
        optimiser.zero_grad()
        loss = reconstruction_error(x, model.decode(model.encode(x))).mean()
        loss.backward()
        return loss

    optimiser.step(look)
    return model, angles


# %% tags=["skip-execution"]
flat = x_train.flatten(1)[:LINEAR_IMAGES]
centred = flat - flat.mean(0)
spectrum = torch.linalg.svdvals(centred).square() / len(centred)
linear, linear_angles = {}, {}
clock = time.perf_counter()
for latents in (2, 4, 9):
    torch.manual_seed(SEED)
    linear[latents], linear_angles[latents] = train_linear(centred, latents, ITERATIONS)
linear_seconds = time.perf_counter() - clock
for latents, model in linear.items():
    with torch.no_grad():
        error = reconstruction_error(centred, model.decode(model.encode(centred))).mean()
    print(f"K = {latents}: error {error:.3f}, PCA {spectrum[latents:].sum():.3f}", end=";  ")
    print(f"λ_K {spectrum[latents - 1]:.2f}, λ_K+1 {spectrum[latents]:.2f}", end=";  ")
    print(f"largest principal angle {linear_angles[latents][-1]:.1e}")

# %% tags=["skip-execution"]
figure, axes = plot.figure(size=(5.2, 2.8))
for latents, course in linear_angles.items():
    axes[0, 0].plot(course, label=f"K = {latents}")
axes[0, 0].axhline(1e-2, color="#777777", linestyle=":", label="one hundredth")
axes[0, 0].set(yscale="log", xlabel="evaluations of the gradient", ylabel="largest principal angle")
axes[0, 0].legend(frameon=False)
plot.show(
    figure,
    "The largest principal angle between decoder and PCA over the evaluations of the gradient, on a "
    "logarithmic scale: for two and four components it falls below a hundredth, for nine it hardly "
    "moves.",
)


def signed(columns: Tensor) -> Tensor:
    """Columns (784, K) as images (K, 1, 28, 28): 0 is grey, the largest value black or white."""
    return (columns / columns.abs().amax(0) / 2 + 0.5).T.reshape(-1, 1, 28, 28)


plot.images(
    {
        "PCA": signed(pca(centred, 4)[1]),
        "network": signed(decoder_columns(linear[4], 4, centred.device)),
    },
    "Four principal components over the four columns of the linear decoder, as images: the same "
    "shapes of shirts, trousers and shoes, mixed in other ways.",
    scale=0.9,
)

# %% [markdown]
# With two and with four components the subspaces are the same, to a hundredth of a radian and
# better. The images are not: any invertible mix $DG$ of the columns, undone by $G^{-1}E$ in the
# encoder, has the same error. The network finds the subspace and has no reason to find the axes.
#
# With nine it is slow, though the error is already as good as PCA's. Turn the last direction by an
# angle $\varepsilon$ towards the first one left out, and the error rises by
# $\sin^2\!\varepsilon\,(\lambda_K - \lambda_{K+1})$. The ninth and tenth eigenvalue are almost the same:
# the error hardly notices which of the two directions it keeps, and so does its gradient.
#
# ## 5 · A convolutional autoencoder
#
# **Exercise 5** (3 points, 25 minutes). Now bend it. Write an encoder from an image to $D$ numbers,
# and a decoder from $D$ numbers to an image. A good start: two convolutions of stride 2
# (28 → 14 → 7) with 32 and 64 maps and an activation after each, then two linear layers; and the
# same way back with transposed convolutions.
#
# The code may be any $D$ real numbers, so nothing follows the last layer of the encoder. A pixel
# lies between 0 and 1, so a sigmoid follows the last layer of the decoder.


# %% nbgrader={"grade": false, "grade_id": "conv_autoencoder", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ConvAutoencoder(nn.Module):
    """Encoder and decoder for images of 28×28 pixels between 0 and 1.

    Both are convolutional (they hold `nn.Conv2d` or `nn.ConvTranspose2d` layers with kernels larger
    than 1×1) with activations between the layers. The encoder sees every pixel in its grey value
    and ends in a linear layer or convolution; the decoder ends in a sigmoid and uses nothing but
    the code. In evaluation mode both give the same output for the same input, and the output for
    an image or code does not depend on the others of its batch.

    Args:
        latents: D, the numbers of a code.
    """

    ### BEGIN SOLUTION
    def __init__(self, latents: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(64 * 7 * 7, 256), nn.SiLU(), nn.Linear(256, latents),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(latents, 256), nn.SiLU(), nn.Linear(256, 64 * 7 * 7), nn.SiLU(),
            nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1), nn.SiLU(),
            nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1), nn.Sigmoid(),
        )  # fmt: skip

    ### END SOLUTION

    def encode(self, x: Tensor) -> Tensor:
        """float (N, 1, 28, 28) in [0, 1] → codes (N, D)."""
        ### BEGIN SOLUTION
        return self.encoder(x)
        ### END SOLUTION

    def decode(self, z: Tensor) -> Tensor:
        """float (N, D) → images (N, 1, 28, 28), above 0 and below 1."""
        ### BEGIN SOLUTION
        return self.decoder(z)
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "conv_autoencoder_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
model, z = ConvAutoencoder(latents=5), torch.randn(6, 5)
x = F.interpolate(torch.rand(6, 1, 7, 7), 28)
check.evaluate(model)
check.shape(model.encode(x), (6, 5), "the codes of six images")
check.shape(model.decode(z), (6, 1, 28, 28), "the images of six codes")
check.descend(model.encode, model, x, torch.randn(6, 5), lr=1e-4)
check.descend(model.decode, model, z, torch.randn(6, 1, 28, 28), lr=1e-4)
codes, decoded = model.encode(x), model.decode(z)
assert codes.min() < 0, "a number of the code should be able to be negative; is it activated?"
assert decoded.min() > 0 and decoded.max() < 1, "pixels should lie between 0 and 1: a sigmoid"
for name, f, inputs, outputs in (
    ("code", model.encode, x, codes),
    ("image", model.decode, z, decoded),
):
    check.close(
        f(inputs), outputs, f"the {name} of the same input, in evaluation mode", atol=1e-5,
        hint="Nothing is drawn at random in evaluation mode.",
    )  # fmt: skip
    check.close(
        f(inputs[:1]), outputs[:1], f"the {name} of one input alone", atol=1e-4,
        hint="In evaluation mode it must not depend on the others of its batch.",
    )  # fmt: skip
    learned = check.parameter_gradients(f, model, inputs, torch.randn_like(outputs))
    kernels = [g for g in learned.values() if g.dim() == 4 and g.shape[2:].numel() > 1 and g.any()]
    assert kernels, f"no convolution takes part in making a {name}, or it does not learn"
    _, (gradient,) = check.vjp(f, inputs, torch.randn_like(outputs))
    assert gradient.any(), f"a {name} has no gradient in what it is made from; is it detached?"
print("ConvAutoencoder: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "conv_autoencoder_test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 5, 3 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def images(n: int) -> Tensor:
    """Patches of random greys, (n, 1, 28, 28)."""
    return F.interpolate(torch.rand(n, 1, 7, 7, generator=generator), 28)


def rank(value: Tensor) -> int:
    """How many of the columns vary independently of one another."""
    value = value.double()
    return int(torch.linalg.matrix_rank(value - value.mean(0), rtol=1e-5))


def logits(decoded: Tensor) -> Tensor:
    return decoded.double().logit()


def has_kernel(gradients: dict[str, Tensor]) -> bool:
    return any(g.dim() == 4 and g.shape[2:].numel() > 1 and g.any() for g in gradients.values())


with check.part(points, "the encoder", 1):
    model, x = ConvAutoencoder(7), images(12)
    check.evaluate(model)
    copy = x.clone()
    check.shape(model.encode(copy), (12, 7), "the codes")
    assert torch.equal(copy, x), "the encoder has changed its images"
    check.descend(model.encode, model, x, normal(12, 7), lr=1e-4)
    codes, spread = model.encode(x), model.encode(x).std(0).mean()
    assert (model.encode(x) - codes).abs().max() < 1e-3 * spread, "codes of the same images differ"
    for batch in (x[3:4], x[[3, 5]]):
        alone = model.encode(batch)
        check.shape(alone, (len(batch), 7), "the codes")
        assert (alone[0] - codes[3]).abs().max() < 1e-2 * spread, "a code depends on other images"
    assert rank(codes) == 7, "a number of the code says nothing of its own"
    slopes = [check.vjp(model.encode, x[:1], one[None])[1][0].flatten() for one in torch.eye(7)]
    free = int(torch.linalg.matrix_rank(torch.stack(slopes).double(), rtol=1e-5))
    assert free == 7, f"a code of 7 numbers, but the encoder gives only {free} ways to change it"
    lines = x[3].repeat(56, 1, 1, 1)  # one row, or one column, made lighter or darker by a half
    for i in range(28):
        lines[i, :, i] = (lines[i, :, i] + 0.5) % 1
        lines[28 + i, :, :, i] = (lines[28 + i, :, :, i] + 0.5) % 1
    moved = (model.encode(lines) - codes[3]).abs().amax(1)
    assert moved.min() > 1e-4 * spread, "the encoder does not see all of an image"
    greys = torch.linspace(0, 1, 51).view(51, 1, 1, 1).expand(51, 1, 28, 28)
    plain = model.encode(greys)
    moved = (plain[1:] - plain[:-1]).abs().amax(1)
    assert moved.min() > 1e-4 * spread, "two greys look the same to the encoder"
    contrast = (plain[0] - plain[-1]).norm() / (plain[0].norm() + plain[-1].norm())
    assert contrast > 0.03, "black and white look almost the same; are pixels taken for 0 … 255?"
    u, v = images(6) / 2, images(6) / 2
    bent = model.encode(u + v) - model.encode(u) - model.encode(v) + model.encode(0 * u)
    assert bent.abs().max() > 1e-3 * spread, "the encoder is linear: there is no activation"
    training = ConvAutoencoder(7)  # a norm after the last layer would hide what all images share
    dull, spotted = (training.encode(x) for x in (0.3 * images(40), (images(40) > 0.9).float()))
    moved = (dull.mean(0) - spotted.mean(0)).abs().max()
    assert moved > 1e-3 * spotted.std(0).mean(), "codes of any batch have the same mean: a norm?"
with check.part(points, "the decoder", 1):
    model, z = ConvAutoencoder(7), normal(16, 7) * 2
    check.evaluate(model)
    copy = z.clone()
    check.shape(model.decode(copy), (16, 1, 28, 28), "the decoded images")
    assert torch.equal(copy, z), "the decoder has changed its codes"
    for _ in range(2):
        decoded = model.decode(z)
        assert decoded.min() > 0 and decoded.max() < 1, "a pixel is not between 0 and 1"
        check.descend(model.decode, model, z, normal(16, 1, 28, 28), lr=1e-4)
    decoded = model.decode(z)
    spread = logits(decoded).std(0)
    model.encode(images(16))  # must leave no trace in the decoder
    for batch in (z[3:4], z[[3, 5]], z[[3, *range(1, 16)]]):
        change = (logits(model.decode(batch)[0]) - logits(decoded[3])).abs().max()
        assert change < 1e-2 * spread.mean(), "an image depends on more than its code"
    assert spread.min() > 1e-4 * spread.mean(), "a pixel is the same for all codes"
    effects = logits(model.decode(z[3] + 3 * torch.eye(7))) - logits(model.decode(z[3:4]))
    assert int(torch.linalg.matrix_rank(effects.flatten(1), rtol=1e-4)) == 7, (
        "a number of the code has no effect of its own on the image"
    )
    pulls = normal(20, 1, 28, 28).split(1)
    slopes = torch.cat([check.vjp(model.decode, z[:1], pull)[1][0] for pull in pulls])
    free = int(torch.linalg.matrix_rank(slopes.double(), rtol=1e-5))
    assert free == 7, f"a code of 7 numbers, but the image changes in {free} ways only"
    for axis in (2, 3):
        varies = (effects - effects.mean(axis, keepdim=True)).abs().amax((1, 2, 3))
        assert varies.min() > 1e-3 * spread.mean(), "all rows, or all columns, are the same"
    u, v = 3 * normal(6, 7), 3 * normal(6, 7)
    parts = [logits(model.decode(some)) for some in (u + v, u, v, 0 * u)]
    bent = parts[0] - parts[1] - parts[2] + parts[3]
    assert bent.abs().max() > 3e-3 * spread.mean(), "the decoder is linear: there is no activation"
with check.part(points, "both networks learn", 1):
    model, other, x, z = ConvAutoencoder(12), ConvAutoencoder(12), images(6), normal(6, 12)
    check.evaluate(model)
    check.evaluate(other)
    start = check.state(model)
    check.load_state(other, start)
    check.close(other.encode(x), model.encode(x), "the codes of a loaded copy", atol=1e-4)
    check.close(other.decode(z), model.decode(z), "the images of a loaded copy", atol=1e-4)
    coded = check.parameter_gradients(model.encode, model, x, normal(6, 12))
    decoded = check.parameter_gradients(model.decode, model, z, normal(6, 1, 28, 28))
    for name in coded:
        assert coded[name].any() or decoded[name].any(), f"{name} does not learn"
    assert has_kernel(coded) and has_kernel(decoded), "a network has no convolution that learns"
    _, (d_x,) = check.vjp(model.encode, x, normal(6, 12))
    _, (d_z,) = check.vjp(model.decode, z, normal(6, 1, 28, 28))
    assert d_x.any(), "codes have no gradient in the image"
    assert d_z.abs().amax(0).min() > 0, "images have no gradient in a number of the code"
    for image in x[:2].split(1):  # an activation after the code would slow some of its numbers
        pulls = [
            check.parameter_gradients(model.encode, model, image, one[None])
            for one in torch.eye(12)
        ]
        lengths = torch.stack([sum(g.pow(2).sum() for g in p.values()).sqrt() for p in pulls])
        assert lengths.max() < 4 * lengths.min(), "some numbers of a code learn far more slowly"
    for sign in (1, -1):
        check.load_state(model, start)
        for step in range(12):  # ever longer
            lowest = (sign * model.encode(x[:1])).min()
            if lowest > 12:
                break
            pull = torch.full((1, 12), -1.0 * sign)
            check.descend(model.encode, model, x[:1], pull, lr=1e-5 * 4**step)
        assert lowest > 12, f"a code can not learn to be {12 * sign}: is something after it?"
    for white in (False, True):
        check.load_state(model, start)
        sign, inside = (-1.0 if white else 1.0), True
        for step in range(24):
            pixels = model.decode(z[:1])
            distance = 1 - pixels if white else pixels
            if inside and not white and distance.min() < 1e-3:
                assert distance.min() > 0, "a pixel is cut off at 0; a sigmoid never is"
                inside = False
            if distance.max() < 0.03:
                break
            pull = torch.full((1, 1, 28, 28), sign)
            check.descend(model.decode, model, z[:1], pull, lr=1e-5 * 2**step)
        assert distance.max() < 0.03, (
            f"pixels can not all learn to be {'white' if white else 'black'}"
        )
    check.load_state(model, start)
    for step in range(16):
        pixels = model.decode(z[:1]).detach()
        if pixels.median() < 3e-5:
            break
        pull = 1 / (pixels * (1 - pixels)).clamp(min=1e-7)  # as strong however dark
        check.descend(model.decode, model, z[:1], pull, lr=1e-5 * 2**step)
    assert pixels.median() < 3e-5, "pixels stop above black; is a clamp after the sigmoid?"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## Train the convolutional one
#
# The loss is the error of exercise 1, averaged over a batch.


# %%
def autoencoder_loss(model: ConvAutoencoder, x: Tensor) -> dict[str, Tensor]:
    """The mean reconstruction error of a batch x, float (N, 1, 28, 28)."""
    return {"loss": reconstruction_error(x, model.decode(model.encode(x))).mean()}


@torch.no_grad()
def encode_all(model: ConvAutoencoder, x: Tensor) -> Tensor:
    """Codes (N, D) of images (N, 1, 28, 28), 500 at a time."""
    return torch.cat([model.encode(chunk) for chunk in x.split(500)])


@torch.no_grad()
def decode_all(model: nn.Module, z: Tensor) -> Tensor:
    """Images (N, 1, 28, 28) of codes (N, D), 500 at a time."""
    return torch.cat([model.decode(chunk) for chunk in z.split(500)])


# %% tags=["skip-execution"]
torch.manual_seed(SEED)
autoencoder = ConvAutoencoder(LATENTS)
history = train.fit(
    autoencoder, autoencoder_loss, (x_train,), steps=STEPS, batch_size=BATCH, lr=2e-3, seed=SEED,
    checkpoint="21_autoencoder",
)  # fmt: skip
autoencoder.eval()
codes_train, codes_test = encode_all(autoencoder, x_train), encode_all(autoencoder, x_test)
reconstructions = decode_all(autoencoder, codes_test)
mean, W = pca(x_train.flatten(1), LATENTS)
pca_train, pca_test = ((x.flatten(1) - mean) @ W for x in (x_train, x_test))
projected = (mean + pca_test @ W.T).reshape(x_test.shape)
test_error, pca_error = (
    float(reconstruction_error(x_test, x).mean()) for x in (reconstructions, projected)
)
print(f"error of a test image through {LATENTS} numbers: PCA {pca_error:.2f}, ", end="")
print(f"convolutional autoencoder {test_error:.2f}")

# %% tags=["skip-execution"]
plot.images(
    {
        "original": x_test[:12],
        f"PCA, {LATENTS}": projected[:12].clamp(0, 1),
        f"network, {LATENTS}": reconstructions[:12],
    },
    "Twelve test images, over what PCA and the convolutional autoencoder make of sixteen numbers: "
    "PCA leaves grey ghosts of other clothes; the network gives clear outlines without fine detail.",
)

# %% [markdown]
# Both have the same sixteen numbers to say what is on the image. PCA adds up sixteen fixed images,
# and where they do not fit, a sleeve shows through a trouser leg. The network can also say *instead*.
# It pays with training, and with losing what made PCA easy: there is no order of components, no
# guarantee of the best, and no formula that tells which codes are in use.
#
# ## The map of the codes
#
# Sixteen dimensions can not be drawn, so we train a second autoencoder whose code has two. Lab 22
# draws the same map for a VAE.

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
map_autoencoder = ConvAutoencoder(latents=2)
map_history = train.fit(
    map_autoencoder, autoencoder_loss, (x_train,), steps=MAP_STEPS, batch_size=BATCH, lr=2e-3,
    seed=SEED, checkpoint="21_autoencoder_map",
)  # fmt: skip
map_autoencoder.eval()
map_codes = encode_all(map_autoencoder, x_test)
plot.latent_map(
    map_codes,
    fashion_test.labels,
    fashion_test.classes,
    "Codes of the test images in two dimensions, coloured by class: classes open like fans to all "
    "sides, dense here and thin there, neither round nor centred on zero, with empty land between.",
)

# %% [markdown]
# Kinds of clothes lie together, although no label was used. But look at the axes and at the shape.
# The codes spread where it suited the network, dense here and thin there, to any distance and to any
# side of zero, and between them lies land where no image was ever put. Now decode a regular grid over
# the whole map.

# %% tags=["skip-execution"]
low, high = (map_codes.quantile(q, dim=0) for q in (0.02, 0.98))
across, up = (torch.linspace(0, 1, 12, device=low.device) for _ in range(2))
corners = torch.stack(torch.meshgrid(across, up.flip(0), indexing="xy"), -1).reshape(-1, 2)
plot.grid(
    decode_all(map_autoencoder, low + corners * (high - low)),
    "Decoded points of a regular grid over the map: clothes where the codes of images lie; between "
    "unlike kinds faint ghosts of both, and in empty corners ragged blocks.",
    columns=12,
)

# %% [markdown]
# ## 6 · Ten labels a class
#
# Labels are dear and images are cheap. Suppose that of all training images only ten of each kind
# have a label. Can the autoencoder, which saw all images and no label, help to learn from those
# hundred? A result from one choice of a hundred images would say little: with another choice it
# is another. So we choose several times, and look at the spread.
#
# **Exercise 6** (2 points, 15 minutes). Write the choice. It must come out the same for the same
# seed, and it must not disturb torch's random numbers, which others use.


# %% nbgrader={"grade": false, "grade_id": "few_labels", "locked": false, "schema_version": 3, "solution": true, "task": false}
def few_labels(labels: Tensor, per_class: int, seed: int) -> Tensor:
    """Places of a random choice of examples, equally many of each class.

    Within a class every choice of `per_class` different examples is equally likely, whatever is
    chosen in the other classes. The choice depends on nothing but the arguments, and torch's
    global random numbers go on as if the function had not been called.

    Args:
        labels: int64 (N,), 0 … C−1, each class at least once, in any order.
        per_class: how many examples of each class, ≥ 1.
        seed: ≥ 0; another seed gives another choice.

    Returns:
        int64 (C · per_class,), indices into `labels`, none twice, in any order.

    Raises:
        ValueError: a class has fewer than `per_class` examples.
    """
    ### BEGIN SOLUTION
    generator, chosen = torch.Generator().manual_seed(seed), []
    for c in range(int(labels.max()) + 1):
        members = (labels == c).nonzero()[:, 0]
        if len(members) < per_class:
            raise ValueError(f"class {c} has {len(members)} examples, not {per_class}")
        order = torch.randperm(len(members), generator=generator).to(labels.device)
        chosen.append(members[order[:per_class]])
    return torch.cat(chosen)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "few_labels_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
labels = torch.arange(3).repeat(20)[torch.randperm(60)]
first = few_labels(labels, 4, seed=1)
check.shape(first, (12,), "four of each of three classes")
assert len(first.unique()) == 12, "an example was chosen twice"
check.close(labels[first].bincount(), [4, 4, 4], "how many were chosen of each class")
assert torch.equal(first, few_labels(labels, 4, seed=1)), "the same seed gave another choice"
draws = [set(few_labels(labels, 4, seed=s).tolist()) for s in range(100)]
assert draws[0] != draws[1], "another seed gave the same choice"
assert len(set.union(*draws)) == 60, "in a hundred choices some examples were never chosen"
torch.manual_seed(SEED)
expected = torch.rand(1)
torch.manual_seed(SEED)
few_labels(labels, 4, seed=1)
check.close(torch.rand(1), expected, "the next global random number", hint="Use a generator.")
try:
    few_labels(labels, 21, seed=1)
except ValueError:
    print("few_labels: all that this check looks at holds")
else:
    raise AssertionError("21 examples of a class of 20 should raise a ValueError")

# %% nbgrader={"grade": true, "grade_id": "few_labels_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 6, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def mixed_labels(*counts: int) -> Tensor:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=generator)]


with check.part(points, "what is chosen", 1):
    for counts, per_class in (
        ((20, 31, 4), 4), ((9, 9), 1), ((13,) * 12, 10), ((5, 5, 6), 5), ((8,), 3), ((300, 40), 20),
    ):  # fmt: skip
        for labels in (mixed_labels(*counts), mixed_labels(*counts).sort().values):
            copy = labels.clone()
            chosen = few_labels(copy, per_class, int(torch.randint(99, (), generator=generator)))
            assert torch.equal(copy, labels), "the function has changed its argument"
            check.shape(chosen, (len(counts) * per_class,), "the choice")
            assert chosen.dtype == torch.int64, f"places should be int64; found {chosen.dtype}"
            assert chosen.min() >= 0 and chosen.max() < len(labels), "a place is out of range"
            assert len(chosen.unique()) == len(chosen), "an example was chosen twice"
            check.close(labels[chosen].bincount(), [per_class] * len(counts), "of each class")
    for counts, per_class in (((20, 4, 20), 5), ((6, 6), 7), ((30, 30, 1), 2), ((3, 9), 4)):
        try:
            few_labels(mixed_labels(*counts), per_class, 0)
        except ValueError:
            continue
        raise AssertionError("there is no ValueError where a class is too small")
    first, second = (mixed_labels(*[9] * 6) for _ in range(2))
    for labels in (first, second, first):  # as many labels and the same seed, but others
        check.close(labels[few_labels(labels, 5, 5)].bincount(), [5] * 6, "how many of each class")
with check.part(points, "how it is chosen", 1):
    labels, runs, per_class = mixed_labels(9, 9, 6), 500, 3
    first = int(torch.randint(10_000, (), generator=generator))
    taken = torch.zeros(runs, len(labels)).double()
    for i in range(runs):
        torch.manual_seed(7 * i)
        expected = torch.rand(1)
        torch.manual_seed(7 * i)
        taken[i, few_labels(labels, per_class, first + i)] = 1
        assert torch.equal(torch.rand(1), expected), "the global random numbers were moved"
    torch.manual_seed(1)
    for i in range(0, runs, 50):
        again = few_labels(labels, per_class, first + i)
        check.close(taken[i, again], torch.ones(9), "the choice of the same seed")
    share = per_class / torch.tensor([9.0, 9.0, 6.0]).double()[labels]
    check.close(taken.mean(0), share, "how often an example is chosen", atol=0.11, rtol=0)
    same, size = labels[:, None] == labels, torch.tensor([9.0, 9.0, 6.0]).double()[labels]
    wanted = torch.where(same, -share * (1 - share) / (size - 1), 0.0)
    wanted = wanted.where(~torch.eye(24).bool(), share * (1 - share))
    check.close(taken.T.cov(), wanted, "which examples are chosen together", atol=0.06, rtol=0)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 7 · A classifier from features
#
# The simplest classifier is linear, $p(y = c \mid z) \propto \exp(w_c^\top z + b_c)$, and is the
# same for raw pixels, principal components and codes. Only the features differ.
#
# They differ in size, too. So first move them to mean zero and divide by *one* number, the root of
# their mean variance. To divide each feature by its own standard deviation is common, and harmful
# here: a pixel in the corner that is dark in ninety-nine images and a little lighter in one would
# count as much as all others, and a test image could hold a value of a thousand there. Mean and
# size come from the labelled images alone: nothing is learned from test images.
#
# $$\tilde z_d = \frac{z_d - \mu_d}{s}, \qquad
#   \mu_d = \frac1N\sum_n z_{nd}, \qquad
#   s^2 = \frac1{ND} \sum_{n,d} (z_{nd} - \mu_d)^2 .$$
#
# **Exercise 7** (2 points, 25 minutes). Write this, and the fit of $W$ and $b$. With fewer images
# than features many $W$ make no mistake, so large weights are made to cost:
#
# $$\min_{W,\,b}\;\; -\frac1N\sum_{n=1}^{N} \log p(y_n \mid z_n) + \frac{\gamma}{2}\,\|W\|^2,
#   \qquad \|W\|^2 = \sum_{c,d} W_{cd}^2 .$$
#
# The shift $b$ costs nothing. The problem is convex and small: go all the way to the minimum.
# `torch.optim.LBFGS` with `line_search_fn="strong_wolfe"` does it in one call of `step` if it is
# allowed enough iterations and its tolerances are small.


# %% nbgrader={"grade": false, "grade_id": "few_label_classifier", "locked": false, "schema_version": 3, "solution": true, "task": false}
def normalise(z: Tensor, z_test: Tensor) -> tuple[Tensor, Tensor]:
    """Both sets of features, moved and scaled by the mean μ and size s of the first.

    Args:
        z: float (N, D), the labelled ones, not all equal. z_test: float (M, D).

    Returns:
        The scaled z, (N, D), and z_test, (M, D). μ has D numbers, s is one.
    """
    ### BEGIN SOLUTION
    mean = z.mean(dim=0)
    size = (z - mean).pow(2).mean().sqrt()
    return (z - mean) / size, (z_test - mean) / size
    ### END SOLUTION


def logistic_regression(z: Tensor, y: Tensor, classes: int, decay: float) -> tuple[Tensor, Tensor]:
    """W and b that minimise mean cross-entropy (natural logarithm) + decay/2 · ‖W‖².

    Args:
        z: float (N, D), used as they are. y: int64 (N,), 0 … C−1, each class at least once.
        classes: C ≥ 2.
        decay: γ > 0.

    Returns:
        W, (C, D), and b, (C,), of z's dtype and on its device, without a gradient. At them no
        derivative of the objective is larger than 1e-3.
    """
    ### BEGIN SOLUTION
    W = torch.zeros(classes, z.shape[1], dtype=z.dtype, device=z.device, requires_grad=True)
    b = torch.zeros(classes, dtype=z.dtype, device=z.device, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [W, b], max_iter=1_000, line_search_fn="strong_wolfe", tolerance_grad=1e-5,
        tolerance_change=0,
    )  # fmt: skip

    def objective() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(z @ W.T + b, y) + decay / 2 * W.pow(2).sum()
        loss.backward()
        return loss

    optimiser.step(objective)
    return W.detach(), b.detach()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "few_label_classifier_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
z = torch.tensor([[1.0, 10], [3, 10], [5, 10], [7, 10]])
scaled, scaled_test = normalise(z, torch.tensor([[4.0, 10], [9, 11]]))
check.close(
    scaled, (z - torch.tensor([4.0, 10])) / math.sqrt(2.5), "the labelled features",
    hint="One mean for each feature; one size for all, from the variance over all of them.",
)  # fmt: skip
check.close(
    scaled_test, torch.tensor([[0.0, 0], [5, 1]]) / math.sqrt(2.5), "the test features",
    hint="They are moved and scaled by the numbers of the labelled ones.",
)  # fmt: skip
torch.manual_seed(SEED)
y = torch.arange(3).repeat(8)
z = torch.randn(24, 4) + 2 * F.one_hot(y, 4)
for decay in (0.5, 0.05):
    W, b = logistic_regression(z, y, classes=3, decay=decay)
    check.shape(W, (3, 4), "W")
    check.shape(b, (3,), "b")
    miss = (torch.softmax(z @ W.T + b, 1) - F.one_hot(y, 3)) / 24
    check.close(
        miss.T @ z + decay * W, torch.zeros(3, 4), f"the derivative in W, decay {decay}", atol=1e-3,
        hint="At a minimum it is zero. Mean over the images? Half of the decay? Enough iterations?",
    )  # fmt: skip
    check.close(
        miss.sum(0), torch.zeros(3), f"the derivative in b, decay {decay}", atol=1e-3,
        hint="b is part of the model and costs nothing.",
    )  # fmt: skip
print("normalise and logistic_regression: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "few_label_classifier_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 7, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
with check.part(points, "normalise", 1):
    for n, m, d in ((6, 9, 4), (3, 1, 5), (5, 5, 5), (4, 7, 1), (40, 3, 30), (2, 4, 3)):
        for dtype in (torch.float32, torch.float64):
            widths = 0.2 + 5 * torch.rand(d, generator=generator, dtype=dtype)
            z = torch.randn(n, d, generator=generator, dtype=dtype) * widths
            shift = 4 * torch.randn(d, generator=generator, dtype=dtype)
            z = z + shift
            if d > 3:
                z[:, 1] = 0.3  # one that tells nothing
            z_test = 3 * torch.randn(m, d, generator=generator, dtype=dtype) - shift
            if n == 5:
                z, z_test = z / 100, z_test / 100  # a size far below one
            copies = z.clone(), z_test.clone()
            found, found_test = normalise(*copies)
            for value, before in zip(copies, (z, z_test), strict=True):
                assert torch.equal(value, before), "the function has changed its arguments"
            mean = z.double().sum(0) / n
            size = ((z.double() - mean) ** 2).sum().div(n * d).sqrt()
            check.close(found, (z - mean) / size, "the labelled features", atol=1e-4)
            check.close(found_test, (z_test - mean) / size, "the test features", atol=1e-4)
            assert found.dtype == found_test.dtype == dtype, "the dtype has changed"
with check.part(points, "logistic_regression", 1):
    for n, d, classes, decay, dtype in (
        (40, 6, 4, 0.3, torch.float64), (40, 6, 4, 0.03, torch.float64), (25, 40, 5, 0.1, None),
        (30, 3, 3, 1.5, None), (36, 12, 12, 0.02, torch.float64), (20, 2, 2, 0.1, torch.float64),
        (9, 5, 3, 0.01, torch.float64), (60, 8, 4, 0.001, torch.float64),
    ):  # fmt: skip
        y = torch.cat([torch.arange(classes), torch.arange(classes)])  # each class, then uneven
        y = torch.cat([y, y.new_zeros(n)])[:n][torch.randperm(n, generator=generator)]
        z = torch.randn(n, d, generator=generator, dtype=dtype)
        z = z + 0.8 * torch.randn(classes, d, generator=generator, dtype=dtype)[y] + 0.7
        if n == 60:
            z = z * 2.0 ** torch.arange(-4, 4)  # long and narrow: twenty iterations do not do
        copies = z.clone(), y.clone()
        W, b = logistic_regression(*copies, classes, decay)
        what = f"{n} examples, {d} features, {classes} classes, decay {decay}"
        for value, before in zip(copies, (z, y), strict=True):
            assert torch.equal(value, before), "the function has changed its arguments"
        check.shape(W, (classes, d), f"W of {what}")
        check.shape(b, (classes,), f"b of {what}")
        assert W.dtype == b.dtype == z.dtype, f"W and b should be {z.dtype} like the features"
        assert not W.requires_grad and not b.requires_grad, "W and b should carry no gradient"
        W, b, z = W.double(), b.double(), z.double()
        miss = (torch.softmax(z @ W.T + b, 1) - F.one_hot(y, classes)) / n
        slope = miss.T @ z + decay * W
        check.close(slope, torch.zeros(classes, d), f"the slope in W, {what}", atol=1.05e-3)
        check.close(miss.sum(0), torch.zeros(classes), f"the slope in b, {what}", atol=1.05e-3)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 8 · A classifier that learns its features
#
# The other way is to learn everything from the hundred labelled images: encoder and classifier
# together, from random weights. Or from the weights that the autoencoder has found: that is
# *fine-tuning*. Both need the same module.
#
# **Exercise 8** (2 points, 15 minutes). Put one linear layer on top of an autoencoder's encoder.
# The logits of an image with the code $z$ are
#
# $$\ell = W z + b, \qquad W \in \mathbb R^{C \times D},\; b \in \mathbb R^C .$$


# %% nbgrader={"grade": false, "grade_id": "classifier", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Classifier(nn.Module):
    """The logits Wz + b of an image's code z: the encoder of an autoencoder, and one linear layer.

    Nothing is put between the code and the linear layer, or after it. W, b and the encoder all
    learn. The autoencoder is used as it is and not copied: to train the classifier is to train the
    encoder that it was given.

    Args:
        autoencoder: a ConvAutoencoder.
        latents: D, the numbers of its code.
        classes: C.
    """

    ### BEGIN SOLUTION
    def __init__(self, autoencoder: ConvAutoencoder, latents: int, classes: int) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.head = nn.Linear(latents, classes)

    ### END SOLUTION

    def forward(self, x: Tensor) -> Tensor:
        """float (N, 1, 28, 28) in [0, 1] → logits (N, C)."""
        ### BEGIN SOLUTION
        return self.head(self.autoencoder.encode(x))
        ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "classifier_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
body = ConvAutoencoder(latents=5)
model = Classifier(body, latents=5, classes=3)
x = F.interpolate(torch.rand(40, 1, 4, 4), 28)
check.evaluate(body)
check.evaluate(model)
for _ in range(3):
    check.descend(model, model, x, torch.randn(40, 3), lr=1e-2)
logits = model(x)
check.shape(logits, (40, 3), "the logits of forty images")
codes = torch.cat([body.encode(x), torch.ones(40, 1)], 1).double()
fitted = codes @ torch.linalg.lstsq(codes, logits.detach().double()).solution
check.close(
    (logits - fitted).abs().max() / logits.std(), 0.0, "what Wz + b does not explain of the logits",
    atol=1e-3, hint="Is there an activation between the code and the layer, or after it?",
)  # fmt: skip
before = body.encode(x)
check.descend(model, model, x, torch.randn(40, 3), lr=1e-2)
assert (body.encode(x) - before).any(), "the encoder that was given should learn as well"
print("Classifier: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "classifier_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 8, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def explained(codes: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """W and b stacked, (D + 1, C), of the best Wz + b, and what it leaves of the logits."""
    codes = torch.cat([codes.detach().double(), torch.ones(len(codes), 1)], 1)
    solution = torch.linalg.lstsq(codes, logits.detach().double()).solution
    return solution, logits.detach() - codes @ solution


def holds(gradients: dict[str, Tensor], wanted: Tensor, most: int) -> bool:
    """Whether one of the gradients is `wanted`, in whatever shape, or holds it among `most` numbers."""
    size = 1e-3 * wanted.abs().max()
    small = [g.flatten() for g in gradients.values() if wanted.numel() <= g.numel() <= most]
    return any(((wanted.flatten()[:, None] - g).abs().amin(1) < size).all() for g in small)


def grow(body: ConvAutoencoder, x: Tensor) -> None:
    """Scale all weights up until the codes of x differ so much that an activation would show."""
    names = check.parameters(body)
    for _ in range(20):
        if body.encode(x).std(0).mean() > 0.7:
            break
        grown = {n: v * 1.3 if n in names else v for n, v in check.state(body).items()}
        check.load_state(body, grown)


with check.part(points, "the logits", 1):
    for latents, classes in ((5, 3), (9, 12), (3, 2)):
        body = ConvAutoencoder(latents)
        x = F.interpolate(torch.rand(60, 1, 7, 7, generator=generator), 28)
        check.evaluate(body)
        before = body.encode(x)
        model = Classifier(body, latents, classes)
        check.close(
            body.encode(x), before, "the codes of the autoencoder that was given", atol=1e-4
        )
        check.evaluate(body)  # and the rest is in training mode
        copy = x.clone()
        size = model(copy).std() + 1e-6
        assert torch.equal(copy, x), "the classifier has changed its images"
        check.close(model(x) / size, model(x) / size, "the logits, twice, in training", atol=1e-3)
        alone = model(x[:1]) / size
        check.close(alone, model(x)[:1] / size, "the logits of one image, in training", atol=1e-3)
        check.evaluate(model)
        check.shape(model(x), (60, classes), "the logits")
        grow(body, x)
        check.descend(model, model, x, normal(60, classes), lr=1e-3)
        logits = model(x)
        rest = explained(body.encode(x), logits)[1].abs().max() / logits.std()
        assert rest < 3e-3, "Wz + b leaves a part of the logits unexplained"
        check.close(model(x[:1]), logits[:1], "the logits of an image alone", rtol=1e-2, atol=1e-2)
        check.close(model(x), logits, "the logits of the same images", rtol=1e-2, atol=1e-2)
with check.part(points, "all of it learns", 1):
    for latents, classes in ((5, 3), (9, 12)):
        body = ConvAutoencoder(latents)
        model = Classifier(body, latents, classes)
        check.evaluate(body)
        check.evaluate(model)
        x = F.interpolate(torch.rand(60, 1, 7, 7, generator=generator), 28)
        check.descend(model, model, x, normal(60, classes), lr=1e-3)
        codes, cotangent = body.encode(x).detach(), normal(60, classes) + normal(classes)
        learned = check.parameter_gradients(model, model, x, cotangent)
        most = classes * (latents + 1)
        assert holds(learned, cotangent.T @ codes, most), "no parameter has the gradient of W"
        assert holds(learned, cotangent.sum(0), most), "no parameter has the gradient of b"
        grow(body, x)
        solution, _ = explained(body.encode(x), model(x))
        pull = cotangent @ solution[:-1].T.float()  # what the linear layer sends back to the codes
        through = check.parameter_gradients(model, body, x, cotangent)
        wanted = check.parameter_gradients(body.encode, body, x, pull)
        for name, slope in wanted.items():
            error = 0.03 * slope.abs().max() + 1e-6
            check.close(through[name], slope, f"the gradient of {name}", rtol=0.03, atol=error)
        codes = body.encode(x).detach()
        check.descend(model, model, x, cotangent, lr=1e-3)
        spread = codes.std(0).mean()
        assert (body.encode(x) - codes).abs().max() > 1e-5 * spread, "the encoder does not learn"
        names = check.parameter_gradients(body.encode, body, x, normal(60, latents))
        parts = sum(bool(g.any()) for g in names.values())
        assert sum(bool(g.any()) for g in learned.values()) >= parts + 1, "a part does not learn"
        other = Classifier(ConvAutoencoder(latents), latents, classes)
        check.load_state(other, check.state(model))
        check.evaluate(other)
        check.close(other(x), model(x), "the logits of a loaded copy", atol=1e-4)
        image, start = x[:1], check.state(model)
        for c in range(classes):
            check.load_state(model, start)
            pull = torch.ones(1, classes)
            pull[:, c] = -classes
            for step in range(12):  # ever longer
                logits = model(image)[0]
                margin = logits[c] - logits[torch.arange(classes) != c].max()
                if margin > 4:
                    break
                check.descend(model, model, image, pull, lr=1e-5 * 4**step)
            assert margin > 4, "the classifier can not learn to be sure of a class"
        for sign in (1, -1):
            check.load_state(model, start)
            for step in range(12):
                lowest = (sign * model(image)).min()
                if lowest > 2:
                    break
                pull = torch.full((1, classes), -1.0 * sign)
                check.descend(model, model, image, pull, lr=1e-5 * 4**step)
            assert lowest > 2, (
                f"logits can not all learn to be {2 * sign}; is something after them?"
            )
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## Few labels, five ways
#
# Each way gets the same hundred images, several times over, each time others.


# %%
def accuracy(logits: Tensor, y: Tensor) -> float:
    """Share of rows whose largest logit is at the label, 0 to 1."""
    return float((logits.argmax(1) == y).double().mean())


def from_features(z: Tensor, z_test: Tensor, seed: int) -> float:
    """Test accuracy of logistic regression on the features of the labelled images."""
    chosen = few_labels(fashion.labels, PER_CLASS, seed)
    labelled, test = normalise(z[chosen], z_test)
    W, b = logistic_regression(labelled, fashion.labels[chosen], CLASSES, DECAY)
    return accuracy(test @ W.T + b, fashion_test.labels)


def classifier_loss(model: Classifier, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The mean cross-entropy of a batch of images and labels."""
    return {"loss": F.cross_entropy(model(x), y)}


def from_network(body: ConvAutoencoder, seed: int) -> tuple[float, float]:
    """Test accuracy of an encoder trained with a linear layer on top, and the seconds it took."""
    chosen = few_labels(fashion.labels, PER_CLASS, seed)
    model = Classifier(body, LATENTS, CLASSES)
    course = train.fit(
        model, classifier_loss, (x_train[chosen], fashion.labels[chosen]), steps=CLASSIFIER_STEPS,
        batch_size=len(chosen) // 2, lr=2e-3, seed=seed,
    )  # fmt: skip
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(chunk) for chunk in x_test.split(500)])
    return accuracy(logits, fashion_test.labels), course.seconds


# %% tags=["skip-execution"]
found = {
    name: [from_features(z, z_test, seed) for seed in range(REPEATS)]
    for name, (z, z_test) in {
        "784 raw pixels": (x_train.flatten(1), x_test.flatten(1)),
        f"{LATENTS} principal components": (pca_train, pca_test),
        f"{LATENTS} codes": (codes_train, codes_test),
    }.items()
}
classifier_seconds = 0.0
for name, fresh in (("network from scratch", True), ("network, fine-tuned", False)):
    found[name] = []
    for seed in range(REPEATS):
        torch.manual_seed(seed)
        body = ConvAutoencoder(LATENTS) if fresh else deepcopy(autoencoder)
        share, seconds = from_network(body, seed)
        found[name].append(share)
        classifier_seconds += seconds
few = {name: torch.tensor(shares) for name, shares in found.items()}
for name, shares in few.items():
    print(f"{name:24s} {shares.mean():.1%} ± {shares.std():.1%}", end="    ")
    print(" ".join(f"{share:.1%}" for share in shares))

# %% tags=["skip-execution"]
figure, axes = plot.figure(size=(5.6, 2.4))
for i, shares in enumerate(few.values()):
    axes[0, 0].scatter(shares, [i] * len(shares), s=18, color=plot.COLOURS[i], alpha=0.7)
    axes[0, 0].plot(shares.mean(), i, "|", markersize=16, color=plot.COLOURS[i])
axes[0, 0].set(xlabel="test accuracy, ten labels a class", ylim=(len(few) - 0.5, -0.5))
axes[0, 0].set_yticks(range(len(few)), few)
plot.show(
    figure,
    "Test accuracies with ten labels a class, one dot for each choice of labelled images and a bar "
    "at the mean, for five ways: their dots overlap.",
)

# %% [markdown]
# Read the spread before the means. Another hundred images move a way by one or two points, and the
# ways are no further apart than that. Who reports one run has found a difference, whichever way it
# goes.
#
# What can be said: sixteen numbers made without any label carry about as much for this task as all
# 784 pixels do, with a fiftieth of the weights to fit. And no way is clearly ahead. Clothes in the
# middle of a 28×28 image are told apart well by which pixels are bright, so a linear classifier on
# pixels is hard to beat. A network gains nothing over it when it has a hundred images, wherever it
# starts. An autoencoder keeps what is needed to draw the image, and that is not always what is needed
# to name it.
#
# ## 9 · Is an autoencoder a generative model?
#
# A generative model draws new data. A decoder makes an image of *any* code. So draw a code, decode
# it, and there is a new image. The question is only: from which distribution? An autoencoder was
# never asked about one.
#
# We try two. The first is what one would do without thinking, $\mathcal N(0, I)$. The second looks
# at the codes of the training images and fits a Gaussian to them, by maximum likelihood:
#
# $$m = \frac1N\sum_{n=1}^{N} z_n, \qquad
#   \Sigma = \frac1N \sum_{n=1}^{N} (z_n - m)(z_n - m)^\top .$$
#
# To draw from $\mathcal N(m, \Sigma)$, take noise $\varepsilon \sim \mathcal N(0, I)$ and a matrix
# $L$ with $LL^\top = \Sigma$, such as Cholesky's. Then $z = m + L\varepsilon$ has mean $m$ and
# covariance $\mathbb E[L\varepsilon\varepsilon^\top L^\top] = \Sigma$.
#
# **Exercise 9** (2 points, 15 minutes). Write the fit and the draw.


# %% nbgrader={"grade": false, "grade_id": "prior_samples", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fit_gaussian(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the Gaussian under which codes are most probable.

    Args:
        z: float (N, D), N ≥ 2.

    Returns:
        m, (D,), and Σ, (D, D), of z's dtype: sums divided by N, not by N − 1.
    """
    ### BEGIN SOLUTION
    mean = z.mean(dim=0)
    return mean, (z - mean).T @ (z - mean) / len(z)
    ### END SOLUTION


def sample_codes(mean: Tensor, covariance: Tensor, n: int) -> Tensor:
    """n independent draws from N(m, Σ), with new noise in every call.

    Args:
        mean: float (D,). covariance: float (D, D), symmetric and positive definite.
        n: how many, ≥ 1.

    Returns:
        float (n, D), of the mean's dtype and on its device, drawn by torch's random numbers.
    """
    ### BEGIN SOLUTION
    root = torch.linalg.cholesky(covariance)
    noise = torch.randn(n, len(mean), dtype=mean.dtype, device=mean.device)
    return mean + noise @ root.T
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "prior_samples_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
m, covariance = fit_gaussian(torch.tensor([[1.0, 0], [3, 0], [1, 2], [3, 2], [2, 1], [2, 1]]))
check.close(m, [2.0, 1.0], "the mean of six codes")
check.close(
    covariance, torch.eye(2) * 2 / 3, "the covariance of six codes",
    hint="Take the mean off, then average the products over the six.",
)  # fmt: skip
torch.manual_seed(SEED)
m, covariance = torch.tensor([3.0, -1.0]), torch.tensor([[4.0, 1.8], [1.8, 1.0]])
many = sample_codes(m, covariance, 50_000)
check.shape(many, (50_000, 2), "the draws")
check.close(many.mean(0), m, "the mean of many draws", atol=0.05)
check.close(
    many.T.cov(), covariance, "the covariance of many draws", atol=0.1,
    hint="z = m + Lε for each row: as rows, ε Lᵀ. L is a root of Σ as a matrix.",
)  # fmt: skip
assert not torch.equal(many, sample_codes(m, covariance, 50_000)), "every call draws new noise"
print("fit_gaussian and sample_codes: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "prior_samples_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 9, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def covariance_of(d: int) -> Tensor:
    """A covariance (d, d) in no special position, variances 0.3 to 3."""
    q = torch.linalg.qr(torch.randn(d, d, generator=generator).double())[0]
    return q * torch.linspace(0.3, 3, d).double() @ q.T


with check.part(points, "the fit", 1):
    for n, d in ((6, 3), (2, 4), (5, 5), (30, 1), (400, 7)):
        for dtype in (torch.float32, torch.float64):
            z = torch.randn(n, d, generator=generator, dtype=dtype) * 2
            z = z @ torch.randn(d, d, generator=generator, dtype=dtype)
            z = z + 3 * torch.randn(d, generator=generator, dtype=dtype)
            before = z.clone()
            m, covariance = fit_gaussian(z)
            assert torch.equal(z, before), "the function has changed its argument"
            mean = z.double().sum(0) / n
            wanted = torch.einsum("ni,nj->ij", *[z.double() - mean] * 2) / n
            fine = 1e-9 if dtype == torch.float64 else 1e-5
            check.close(m, mean, "the mean", atol=1e-4)
            error = fine * wanted.abs().max()
            check.close(covariance, wanted, "the covariance", rtol=fine, atol=error)
            assert m.dtype == covariance.dtype == dtype, f"expected {dtype}; found {m.dtype}"
with check.part(points, "the draws", 1):
    for d, n in ((3, 60_000), (1, 30_000), (6, 60_000)):
        m, covariance = 2 * torch.randn(d, generator=generator).double(), covariance_of(d)
        small = sample_codes(m, covariance / 400, 20_000) * 20
        check.close(
            small.T.cov().reshape(d, d), covariance, "a small covariance of draws", rtol=0, atol=0.2
        )
        for dtype in (torch.float32, torch.float64):
            inputs = m.to(dtype), covariance.to(dtype)
            copies = [t.clone() for t in inputs]
            z = sample_codes(*copies, n)
            for value, before in zip(copies, inputs, strict=True):
                assert torch.equal(value, before), "the function has changed its arguments"
            check.shape(z, (n, d), "the draws")
            assert z.dtype == dtype, f"the draws should be {dtype}; found {z.dtype}"
            check.close(z.double().mean(0), m, "the mean of the draws", rtol=0, atol=0.05)
            found = z.double().T.cov().reshape(d, d)
            check.close(found, covariance, "the covariance of the draws", rtol=0, atol=0.12)
            noise = torch.linalg.solve_triangular(
                torch.linalg.cholesky(covariance), (z.double() - m).T, upper=False
            )
            assert noise.abs().amax(1).min() > 3.5, "no draw lies far out; is the noise cut off?"
            for power, moment in ((3, 0.0), (4, 3.0)):
                theirs = noise.pow(power).mean(1)
                check.close(
                    theirs, torch.full((d,), moment), f"moment {power} of the noise", atol=0.35
                )
            lag = (noise[:, 1:] * noise[:, :-1]).mean(1)
            check.close(lag, torch.zeros(d), "neighbours in the draws", atol=0.04)
            halves = (noise[:, : n // 2] * noise[:, n // 2 :]).mean(1)
            check.close(halves, torch.zeros(d), "both halves of the draws", atol=0.04)
            assert (sample_codes(*inputs, n) - z).abs().mean() > 0.1, "the noise must be new"
            seed = int(torch.randint(2**31, (), generator=generator))
            again = [(torch.manual_seed(seed), sample_codes(*inputs, 9))[1] for _ in range(2)]
            assert torch.equal(*again), "torch's random numbers do not fix the draws"
    for n, d in ((3, 3), (1, 2), (2, 4)):  # all numbers of a batch, seen over many batches
        m, covariance = torch.ones(d), covariance_of(d).float()
        drawn = torch.stack([sample_codes(m, covariance, n) for _ in range(1_500)])
        check.shape(drawn, (1_500, n, d), "the draws")
        whole = torch.block_diag(*[covariance] * n)
        found = (drawn.reshape(1_500, n * d) - 1).double()
        check.close(found.mean(0), torch.zeros(n * d), "mean of small batches", atol=0.25)
        check.close(found.T.cov(), whole, "numbers of small batches", rtol=0, atol=0.55)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## Where the codes lie
#
# For comparison we train a variational autoencoder of the same two networks. The encoder gives two
# numbers for each of the code, a mean $\mu$ and $\log\sigma^2$. The decoder is given
# $z = \mu + \sigma\varepsilon$, and the loss has a second term that asks the codes to be like
# draws from $\mathcal N(0, I)$. Lab 22 derives it. Here it is given.


# %%
class VAE(nn.Module):
    """The encoder of one convolutional autoencoder and the decoder of another."""

    def __init__(self, latents: int) -> None:
        super().__init__()
        self.encoder, self.decoder = ConvAutoencoder(2 * latents), ConvAutoencoder(latents)

    def encode(self, x: Tensor) -> Tensor:
        """A code for each image: a draw from N(μ, diag σ²)."""
        mu, logvar = self.encoder.encode(x).chunk(2, dim=1)
        return mu + (logvar / 2).exp() * torch.randn_like(mu)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder.decode(z)


def vae_loss(model: VAE, x: Tensor) -> dict[str, Tensor]:
    """−ELBO of a batch, but for a constant: pixels are Gaussian with standard deviation NOISE."""
    mu, logvar = model.encoder.encode(x).chunk(2, dim=1)
    z = mu + (logvar / 2).exp() * torch.randn_like(mu)
    error = reconstruction_error(x, model.decode(z)).mean()
    kl = 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum(1).mean()
    return {"loss": error / (2 * NOISE**2) + kl, "error": error, "KL": kl}


# %% tags=["skip-execution"]
torch.manual_seed(SEED)
vae = VAE(LATENTS)
vae_history = train.fit(
    vae, vae_loss, (x_train,), steps=VAE_STEPS, batch_size=BATCH, lr=2e-3, seed=SEED,
    checkpoint="21_autoencoder_vae",
)  # fmt: skip
vae.eval()
torch.manual_seed(SEED)
codes = {"autoencoder": codes_train, "VAE": encode_all(vae, x_train)}
gaussians = {name: fit_gaussian(z.double()) for name, z in codes.items()}
for name, (m, covariance) in gaussians.items():
    widths = torch.linalg.eigvalsh(covariance).sqrt()
    print(f"{name:12s} length of the mean {m.norm():.2f}; standard deviations along ", end="")
    print(f"the axes of the codes from {widths[0]:.2f} to {widths[-1]:.2f}")

# %% tags=["skip-execution"]
figure, axes = plot.figure(1, 2, (3.2, 3.0))
noise = sample_codes(torch.zeros(LATENTS), torch.eye(LATENTS), 1_000).to(codes_train.device)
for ax, (name, z) in zip(axes[0], codes.items(), strict=True):
    widest = torch.linalg.eigh(gaussians[name][1])[1][:, [-1, -2]].float()
    for points_, label in ((z[:2_000], "codes of images"), (noise, "N(0, I)")):
        ax.scatter(*(points_ @ widest).T.cpu(), s=3, alpha=0.5, label=label)
    ax.set(title=name, aspect="equal")
    ax.legend(frameon=False, markerscale=3, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
plot.show(
    figure,
    "Codes of training images and draws from N(0, I), along the two directions in which the codes "
    "vary most: the autoencoder's codes are a wide, bent cloud and the draws one small spot of it; the "
    "VAE's codes lie around the draws, on the same scale.",
)

# %% [markdown]
# The draws from $\mathcal N(0, I)$ fall into a small part of where the autoencoder puts its codes,
# and in other directions they may miss the codes altogether. It could not be otherwise. Stretch all
# codes by a hundred and let the decoder shrink them first: not one reconstruction changes, and so
# the loss can not prefer one to the other. Where codes lie is an accident of training.
#
# ## What comes out

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
device = codes_train.device
standard = sample_codes(torch.zeros(LATENTS), torch.eye(LATENTS), SAMPLES).to(device)
fitted = {name: sample_codes(*g, SAMPLES).float() for name, g in gaussians.items()}
drawn = {
    "AE, N(0, I)": decode_all(autoencoder, standard),
    "AE, fitted": decode_all(autoencoder, fitted["autoencoder"]),
    "VAE, N(0, I)": decode_all(vae, standard),
    "VAE, fitted": decode_all(vae, fitted["VAE"]),
}
plot.images(
    {**{name: x[:14] for name, x in drawn.items()}, "test images": x_test[:14]},
    "Five rows of images. From N(0, I) the autoencoder decodes grey fog with dark blotches; from a "
    "Gaussian fitted to its codes, clothes, some of them torn or doubled. The VAE decodes soft clothes "
    "from N(0, I), and more varied ones from a fitted Gaussian. The last row are test images.",
)

# %% [markdown]
# That is the answer as a picture. Here it is as a number: the Fréchet distance to the test images on
# the features of the course's own classifier, as in all labs. Reconstructions of test images are
# scored too. They are the best that a decoder can do, whatever it is given.

# %% tags=["skip-execution"]
with torch.no_grad():
    vae_reconstructions = torch.cat([vae.decode(vae.encode(chunk)) for chunk in x_test.split(500)])
quality = {}
for name, pixels in {
    "AE, reconstructions": reconstructions,
    "VAE, reconstructions": vae_reconstructions,
    **drawn,
    "training images": x_train[:SAMPLES],
}.items():
    quality[name] = scores.score(scores.to_pixels(pixels), fashion_test.pixels, features="fashion")
    print(f"{name:22s} Fréchet {quality[name]['fid_course']:7.2f}", end="   ")
    print(f"IS {quality[name]['is_course']:.2f}")

# %% [markdown]
# An autoencoder whose codes are drawn from $\mathcal N(0, I)$ is no generative model. Its Fréchet
# distance is several times that of its own reconstructions. An Inception Score near 1, on a scale
# from 1 to 10, says that the classifier sees neither clear classes nor many.
#
# The same decoder, given codes from a fitted Gaussian, does far better. It may even beat the VAE on
# $\mathcal N(0, I)$, whose reconstructions are blurred by the noise on its codes; and the VAE gains
# by a fit as well. So nothing was wrong with the decoder. What was missing is a distribution over
# codes. To fit one afterwards has been named *ex-post density estimation* (Ghosh et al., 2020). It
# is a partial remedy: codes are no Gaussian, and where the ellipsoid covers empty land, the decoder
# makes torn things. Nor is there a likelihood by which to judge the whole.
#
# Two ways lead on. The VAE (lab 22) makes the codes follow a distribution that was chosen before.
# The VQ-VAE (lab 23) keeps the autoencoder and learns a strong distribution over its codes.
#
# **Exercise 10** (2 points, 15 minutes; graded by hand). In your own words: (a) A colleague trains
# an autoencoder and moves and scales each number of its code so that it has mean 0 and variance 1
# over the training images. "Now the codes are $\mathcal N(0, I)$, so I can draw from it." What has
# improved, what has not, and how would you show it? (b) Another colleague widens the code from 16
# to 784 numbers. The reconstruction error falls almost to zero. What happens to samples from a
# fitted Gaussian, and why is a small error no proof of a good code?

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) Draws now have the right place and size in each dimension, so samples are better than before.
# But mean 0 and variance 1 in each dimension is less than N(0, I): the numbers of a code are still
# correlated, and even after those are removed the codes are clustered and bent, with empty regions
# in which draws fall and the decoder was never trained. One sees it in a scatter plot of two of the
# numbers beside draws, in samples that are torn or mixed of two kinds, and in a Fréchet distance
# that stays well above that of the reconstructions.
#
# (b) With 784 numbers the encoder can hand over all pixels: little has to be learned about clothes.
# The codes fill a small, bent part of a large space, about as thin as the images fill the space of
# pixels. A Gaussian over them has nearly all of its mass where no code is, and its samples look like
# samples of a Gaussian fitted to pixels: no clothes. The error measures how much passes through the
# code. It says nothing of how codes are distributed, or whether what lies between them means
# anything. It is the bottleneck that forces a code to be worth something, not the error.
# ### END SOLUTION

# %% [markdown]
# ## Record
#
# The last cell writes the numbers of this run to a file, with profile, seed, hardware and
# versions. The tables of the book are made from such files. The scores without a name of their own
# are those of the autoencoder with codes from $\mathcal N(0, I)$: the answer to the question.


# %% tags=["skip-execution"]
def draw(n: int) -> Tensor:
    """n images (n, 1, 28, 28) decoded from N(0, I)."""
    z = sample_codes(torch.zeros(LATENTS), torch.eye(LATENTS), n)
    return decode_all(autoencoder, z.to(device))


ways = dict(zip(("pixels", "pca", "codes", "scratch", "finetuned"), few.values(), strict=True))
numbers = {
    **quality["AE, N(0, I)"],
    "fitted_fid_course": quality["AE, fitted"]["fid_course"],
    "reconstruction_fid_course": quality["AE, reconstructions"]["fid_course"],
    "vae_fid_course": quality["VAE, N(0, I)"]["fid_course"],
    "vae_fitted_fid_course": quality["VAE, fitted"]["fid_course"],
    "vae_reconstruction_fid_course": quality["VAE, reconstructions"]["fid_course"],
    "vae_is_course": quality["VAE, N(0, I)"]["is_course"],
    "fitted_is_course": quality["AE, fitted"]["is_course"],
    "reconstruction_error": test_error,
    "pca_reconstruction_error": pca_error,
    "linear_components": 4,
    "linear_largest_angle": linear_angles[4][-1],
    **{f"{way}_accuracy": float(shares.mean()) for way, shares in ways.items()},
    **{f"{way}_accuracy_spread": float(shares.std()) for way, shares in ways.items()},
    "accuracy_repeats": REPEATS,
    "parameters": records.parameter_count(autoencoder),
    "train_seconds": linear_seconds
    + sum(run.seconds for run in (history, map_history, vae_history))
    + classifier_seconds,
    "milliseconds_per_sample_1": records.milliseconds_per_sample(draw, 1),
    "milliseconds_per_sample_256": records.milliseconds_per_sample(draw, 256),
}
records.write("21_autoencoder", numbers, seed=SEED)
print("recorded: " + ", ".join(numbers))
