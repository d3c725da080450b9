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
# # Lab 33 · Deep convolutional GAN
#
# A generative adversarial network is easy to write and hard to train. In this lab you build the
# pair of networks that made it routine, the DCGAN (Radford et al., 2016), and switch off each of
# its guidelines once to see what it was for. Then you look inside: what did the discriminator
# learn about images that nobody labelled, and what does the generator know of the things it
# draws? The page [Deep convolutional GAN](../../book/33_dcgan.md) derives everything that you
# write here.
#
# You write nine answers, worth 20 points together. After each stands a check that you can run at
# once. It looks at your answer from several sides and says what it finds. The points are given
# later, by tests that you do not see and that try more cases.

# %%
import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor, nn
from torch.nn import functional as F

from gmlib import check, data, plot, profile, records, scores, train

# %% [markdown]
# ## Sizes
#
# All sizes of the lab stand here, one for each profile. Nothing below knows which profile runs.
#
# The paper trains with a learning rate of 0.0002 for many epochs. The quick profile has a
# thousand steps and takes 0.002, for the faces 0.001, or there would be little to see.

# %%
SEED = 0
NOISE = 100  # dimensions of the noise z
FASHION = profile.choose(test="fashion_small", quick="fashion_small", full="fashion")
TRAIN_IMAGES = profile.choose(test=512, quick=None, full=None)  # None: all there are
TEST_IMAGES = profile.choose(test=256, quick=2_000, full=10_000)
WIDTH = profile.choose(test=4, quick=24, full=64)
BATCH = profile.choose(test=16, quick=32, full=128)
STEPS = profile.choose(test=3, quick=900, full=20_000)
LR = profile.choose(test=1e-3, quick=2e-3, full=2e-4)
FACE_LR = profile.choose(test=1e-3, quick=1e-3, full=2e-4)
FACE_SIZE = profile.choose(test=16, quick=16, full=32)  # pixels; the faces are drawn on 16 × 16
FACE_WIDTH = profile.choose(test=4, quick=32, full=64)
FACE_BATCH = profile.choose(test=16, quick=64, full=128)
FACE_STEPS = profile.choose(test=3, quick=380, full=8_000)
OFF_WIDTH = profile.choose(test=4, quick=16, full=32)  # of the networks with a guideline off
OFF_STEPS = profile.choose(test=2, quick=150, full=2_500)
OFF_POOL = profile.choose(test=2, quick=2, full=1)  # and how much smaller their images are
CODER_STEPS = profile.choose(test=3, quick=360, full=6_000)
LABELLED = profile.choose(test=64, quick=1_000, full=10_000)  # images with a label, for the SVM
SAMPLES = profile.choose(test=256, quick=2_000, full=10_000)  # drawn for the scores
CANDIDATES = profile.choose(test=400, quick=4_000, full=10_000)  # faces to choose exemplars from

# %% [markdown]
# ## Images
#
# The generator ends in a tanh, so an image is scaled to $[-1, 1]$. Two data sets are used. The
# clothes are the ones of all labs. The faces are drawn from a list of attributes, and every face
# is there twice, once without and once with glasses.

# %%
fashion = data.load(FASHION, "train", TRAIN_IMAGES)
fashion_test = data.load(FASHION, "test", TEST_IMAGES)
x_train = data.to_float(fashion.pixels, -1, 1)
x_test = data.to_float(fashion_test.pixels, -1, 1)
faces = data.load("faces", "train")
x_faces = data.to_float(faces.pixels, -1, 1)[:, :, :: 32 // FACE_SIZE, :: 32 // FACE_SIZE]
x_faces = x_faces.contiguous()


def visible(x: Tensor) -> Tensor:
    """Images in [−1, 1] as images in [0, 1]."""
    return (x + 1) / 2


plot.grid(visible(x_train[:16]), "Sixteen pieces of clothing in grey.")
plot.grid(
    visible(x_faces[:16]),
    "Eight pixel faces, each without and with dark glasses; hair, skin and clothes differ.",
)

# %% [markdown]
# ## 1 · The generator
#
# A convolution of stride 2 halves an image. Its transpose, the *fractionally strided*
# convolution, doubles it, and learns how. The generator is a stack of them: noise becomes many
# small maps, and each stage makes the maps twice as large and half as many, until one stage
# makes the image.
#
# **Exercise 1** (3 points, 25 minutes). Write the generator as three stages. Let $D$ be the
# dimensions of the noise, $W$ the width, $C$ the channels and $S$ the height and width of the
# image, a multiple of 4.
#
# | stage | from | to | by | then |
# |---|---|---|---|---|
# | 0 | $z$, seen as $D$ maps of $1\times1$ | $2W$ maps of $S/4 \times S/4$ | fractionally strided convolution, kernel $S/4$ | batch norm |
# | 1 | $2W$ maps | $W$ maps of $S/2 \times S/2$ | fractionally strided convolution, kernel 4, stride 2, padding 1 | batch norm |
# | 2 | $W$ maps | $C$ maps of $S \times S$ | the same | nothing |
#
# `stage` gives what a stage computes before its activation. The activations are added in
# `forward`, which stands there: ReLU after stages 0 and 1, tanh after stage 2. There is no other
# layer, in particular no hidden layer that is fully connected. Batch norm is torch's own with
# its defaults. A convolution before a batch norm may have a bias, one number a map, or none; the
# last one has one. All of it learns. Leave the start values as torch makes them: they are
# exercise 3.


# %% nbgrader={"grade": false, "grade_id": "generator", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Generator(nn.Module):
    """Noise to image by fractionally strided convolutions: Radford et al. (2016), section 3.

    Args:
        noise: D, the dimensions of z. width: W. channels: C, of the image.
        size: S, height and width of the image, a multiple of 4.
    """

    ### BEGIN SOLUTION
    def __init__(self, noise: int, width: int, channels: int, size: int) -> None:
        super().__init__()
        self.project = nn.ConvTranspose2d(noise, 2 * width, size // 4, bias=False)
        self.norm_0 = nn.BatchNorm2d(2 * width)
        self.grow = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False)
        self.norm_1 = nn.BatchNorm2d(width)
        self.paint = nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)

    ### END SOLUTION

    def stage(self, k: int, h: Tensor) -> Tensor:
        """What stage k = 0, 1 or 2 computes, before its activation.

        float (N, D) → (N, 2W, S/4, S/4) → (N, W, S/2, S/2) → (N, C, S, S) for k = 0, 1, 2.
        """
        ### BEGIN SOLUTION
        if k == 0:
            return self.norm_0(self.project(h[:, :, None, None]))
        return self.norm_1(self.grow(h)) if k == 1 else self.paint(h)
        ### END SOLUTION

    def forward(self, z: Tensor) -> Tensor:
        """float (N, D) → images (N, C, S, S) in (−1, 1)."""
        h = F.relu(self.stage(0, z))
        h = F.relu(self.stage(1, h))
        return torch.tanh(self.stage(2, h))


# %% nbgrader={"grade": false, "grade_id": "generator_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
model, z = Generator(noise=6, width=5, channels=3, size=16), torch.rand(40, 6)
inputs = z, torch.rand(40, 10, 4, 4), torch.rand(40, 5, 8, 8)
for k, sizes in enumerate([(40, 10, 4, 4), (40, 5, 8, 8), (40, 3, 16, 16)]):
    check.shape(model.stage(k, inputs[k]), sizes, f"stage {k} of 40 inputs")
check.shape(model(z[:2]), (2, 3, 16, 16), "two images")
for k, maps in ((0, 10), (1, 5)):
    h = model.stage(k, inputs[k])
    hint = "Each map is normalised over the batch and all places; nothing follows."
    check.close(h.mean((0, 2, 3)), torch.zeros(maps), f"stage {k}: means", atol=0.01, hint=hint)
    check.close(h.std((0, 2, 3)), torch.ones(maps), f"stage {k}: spreads", rtol=0.05, hint=hint)
check.close(model.stage(0, 0 * z), 0 * inputs[1], "stage 0 of zeros: one bias a map", atol=1e-3)
check.close(
    model.stage(2, inputs[2][:1]), model.stage(2, inputs[2])[:1], "stage 2 of one input alone",
    hint="No batch norm at the output: an image would depend on the others of its batch.",
)  # fmt: skip
spot = torch.zeros(2, 5, 8, 8)
spot[1, 0, 3, 4] = 1
reach = (model.stage(2, spot)[1] - model.stage(2, spot)[0]).abs().amax(0).nonzero()
found = reach.amin(0).tolist(), reach.amax(0).tolist()
assert found == ([5, 7], [8, 10]), (
    "place (3, 4) should reach rows 5 to 8 and columns 7 to 10 of the next maps; "
    f"found from (row, column) {found[0]} to {found[1]}. Kernel 4, stride 2, padding 1."
)
check.evaluate(model)
check.close(
    model(z[:1]), model(z)[:1], "an image alone, in evaluation mode", atol=1e-4,
    hint="In evaluation mode batch norm uses the averages that it has kept.",
)  # fmt: skip
print("Generator: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "generator_test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 1, 3 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def uniform(*shape: int) -> Tensor:
    return 2 * torch.rand(shape, generator=generator) - 1


def upward_kernel(stage, maps: int, grid: int) -> tuple[Tensor, Tensor]:
    """The weights (maps, outputs, 4, 4) of a stage that doubles, and its answer to zeros."""
    inputs = torch.zeros(maps + 1, maps, grid, grid)
    inputs[torch.arange(maps), torch.arange(maps), 1, 1] = 1
    found = stage(inputs)
    return (found[:-1] - found[-1:])[:, :, 1:5, 1:5], found[-1:]


def is_doubling(stage, maps: int, grid: int, what: str) -> None:
    """A convolution of stride 1/2 with sixteen free weights, whatever the input."""
    kernel, zero = upward_kernel(stage, maps, grid)
    h = uniform(5, maps, grid, grid) * 3
    wanted = F.conv_transpose2d(h, kernel, stride=2, padding=1) + zero
    check.close(stage(h), wanted, what, rtol=1e-3, atol=1e-3 * wanted.std())
    check.close(stage(h[:1]), wanted[:1], f"{what}, one input", rtol=1e-3, atol=1e-3 * wanted.std())
    flat = kernel.reshape(-1, 16)
    rank = int(torch.linalg.matrix_rank(flat.double(), rtol=1e-3))
    assert rank == min(flat.shape), f"{what}: only {rank} of 16 weights are free; is it resized?"
    edge = (zero - zero[:, :, :1, :1]).abs().max()
    assert edge < 1e-3 * wanted.std(), f"{what}: zeros do not give the same everywhere"
    _, (gradient,) = check.vjp(stage, h, torch.ones_like(wanted))
    pull = F.conv2d(torch.ones_like(wanted), kernel, stride=2, padding=1)
    check.close(gradient, pull, f"{what}: gradient", rtol=1e-3, atol=1e-3 * pull.abs().max())


def starts_as_torch_does(kernel: Tensor, what: str) -> None:
    """Uniform, and as wide as torch draws a convolution, fractionally strided or not."""
    widths = sorted((16 * maps) ** -0.5 for maps in kernel.shape[:2])
    widest = kernel.abs().max()
    assert 0.8 * widths[0] < widest < 1.01 * widths[1], f"{what} starts at up to {widest:.3f}"
    assert widest < 2.2 * kernel.std(), f"{what} does not start as torch makes it"


def is_linear_in_weights(model, k: int, h: Tensor, degree: int) -> None:
    """Weights times their gradients give the output again, twice if γ multiplies it too."""
    check.evaluate(model)
    found = model.stage(k, h)
    pull, values = uniform(*found.shape), check.parameters(model)
    slopes = check.parameter_gradients(lambda h: model.stage(k, h), model, h, pull)
    total = sum((slopes[n] * p).sum() for n, p in values.items())
    error = 1e-3 * (found * pull).abs().sum()
    check.close(total, degree * (found * pull).sum(), f"weights of stage {k}", atol=error)


def is_batch_norm(model, twin, k: int, h: Tensor) -> None:
    """With torch's defaults, for inputs that hardly differ too; γ and β learn.

    `twin` is a copy of `model`, in training mode; its γ and β are moved.
    """
    check.evaluate(model)
    a = model.stage(k, 0.01 * h).double()  # averages of 0 and 1: not normalised
    a = a - a.mean((0, 2, 3), keepdim=True)
    wanted = a / (a.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    check.close(twin.stage(k, 0.01 * h), wanted, f"stage {k} of small inputs", rtol=0.01, atol=0.01)
    size, middle = 1 / a[:, 0].numel(), torch.zeros(a.shape[1])
    for step, (mean, spread) in enumerate(((0.5, 1), (0.5, 1.5), (9.5, 1.5))):
        found = twin.stage(k, h).detach()
        pull = found - 0.5 if step == 1 else torch.ones_like(found)
        speed = 9.0 if step == 2 else 0.5
        check.descend(lambda h: twin.stage(k, h), twin, h, -pull, lr=speed * size)
        found = twin.stage(k, h)
        check.close(found.mean((0, 2, 3)), middle + mean, f"stage {k}, β moved", atol=0.1)
        check.close(found.std((0, 2, 3)), middle + spread, f"stage {k}, γ moved", atol=0.1)


SIZES = ((6, 8, 3, 16), (9, 5, 1, 28), (4, 6, 2, 32))  # noise, width, channels, size
with check.part(points, "stage 2, the image", 1):
    for d, W, C, S in SIZES:
        model = Generator(d, W, C, S)
        is_doubling(lambda h, m=model: m.stage(2, h), W, S // 2, f"stage 2 of {S} × {S}")
        kernel, zero = upward_kernel(lambda h, m=model: m.stage(2, h), W, S // 2)
        starts_as_torch_does(kernel, f"stage 2 of {S} × {S}")
        assert zero.abs().amax((0, 2, 3)).min() > 0, "the last convolution should have a bias"
        is_linear_in_weights(model, 2, uniform(3, W, S // 2, S // 2), 1)
        dark = torch.zeros(1, W, S // 2, S // 2)
        check.descend(
            lambda h, m=model: m.stage(2, h), model, dark, -torch.ones_like(zero), lr=1 / S**2
        )
        check.close(model.stage(2, dark) - zero, torch.ones_like(zero), "the bias has learned 1")
with check.part(points, "stages 0 and 1, the hidden maps", 1):
    for d, W, C, S in SIZES:
        model, fresh, twin = (Generator(d, W, C, S) for _ in range(3))
        inputs = uniform(60, d) * 2, uniform(60, 2 * W, S // 4, S // 4) * 2
        check.load_state(twin, check.state(fresh))
        for k in (0, 1):
            is_batch_norm(fresh, twin, k, inputs[k])
            is_linear_in_weights(fresh, k, inputs[k], 2)
        h = F.relu(twin.stage(1, F.relu(twin.stage(0, inputs[0]))))
        check.close(
            twin(inputs[0]), torch.tanh(twin.stage(2, h)), "images of large maps", atol=1e-4
        )
        kernel, _ = upward_kernel(lambda h, m=fresh: m.stage(1, h), 2 * W, S // 4)
        starts_as_torch_does(kernel, f"stage 1 of {S} × {S}")
        for k, maps, grid in ((0, 2 * W, S // 4), (1, W, S // 2)):
            copy = inputs[k].clone()
            h = model.stage(k, copy)
            assert torch.equal(copy, inputs[k]), "a stage has changed its input"
            check.shape(h, (60, maps, grid, grid), f"stage {k}")
            check.close(h.mean((0, 2, 3)), torch.zeros(maps), f"stage {k}: means", atol=2e-3)
            spread = h.var((0, 2, 3), correction=0)
            check.close(spread, torch.ones(maps), f"stage {k}: variances", rtol=0.05)
            assert (h[:20] - model.stage(k, inputs[k][:20])).abs().max() > 1e-3, (
                f"stage {k} in training does not depend on the batch"
            )
            for _ in range(80):
                model.stage(k, inputs[k])
        check.evaluate(model)
        for k in (0, 1):
            again = model.stage(k, inputs[k])
            check.close(again.mean((0, 2, 3)), torch.zeros(len(again[0])), "kept means", atol=0.02)
            check.close(again.std((0, 2, 3)), torch.ones(len(again[0])), "kept spreads", rtol=0.06)
        is_doubling(lambda h, m=model: m.stage(1, h), 2 * W, S // 4, f"stage 1 of {S} × {S}")
        answers = model.stage(0, torch.cat([torch.eye(d), torch.zeros(1, d)]))
        weights, zero = answers[:-1] - answers[-1:], answers[-1:]
        uneven = (zero - zero[:, :, :1, :1]).abs().max()
        assert uneven < 1e-3, "stage 0 has a bias for each place; a convolution has one a map"
        wanted = torch.einsum("nd,dmij->nmij", inputs[0], weights) + zero
        check.close(model.stage(0, inputs[0]), wanted, "stage 0 is linear", rtol=1e-3, atol=3e-3)
        check.close(model.stage(0, inputs[0][:1]), wanted[:1], "stage 0 of one", atol=3e-3)
        rank = int(torch.linalg.matrix_rank(weights.reshape(d, -1).double(), rtol=1e-3))
        assert rank == d, f"stage 0 tells {rank} of {d} dimensions of the noise apart"
        apart = (weights - weights.mean((2, 3), keepdim=True)).abs().amax((2, 3))
        assert apart.min() > 1e-4, "stage 0 draws the same at every place"
with check.part(points, "the whole", 1):
    for d, W, C, S in SIZES:
        model, z = Generator(d, W, C, S), uniform(7, d)
        count = sum(p.numel() for p in check.parameters(model).values())
        least = 2 * W * d * (S // 4) ** 2 + 2 * W * W * 16 + W * C * 16 + C + 2 * 3 * W
        assert count - least in (0, W, 2 * W, 3 * W), (
            f"expected {least} parameters, and {2 * W} or {W} more for a bias; found {count}"
        )
        for mode in ("training", "evaluation"):
            h = F.relu(model.stage(1, F.relu(model.stage(0, z))))
            wanted = torch.tanh(model.stage(2, h))
            check.close(model(z), wanted, f"images in {mode}", atol=1e-4)
            check.evaluate(model)
        check.close(model(z[3:4]), wanted[3:4], "an image alone, in evaluation", atol=1e-4)
        pull = uniform(7, C, S, S)
        found = check.parameter_gradients(model, model, z, pull)
        silent = [n for n, g in found.items() if not g.any() and g.numel() > 2 * W]
        assert not silent, f"no gradient reaches {silent}"
        twin = Generator(d, W, C, S)
        for k, h in ((0, uniform(40, d)), (1, uniform(40, 2 * W, S // 4, S // 4))):
            fresh, once = Generator(d, W, C, S), Generator(d, W, C, S)
            check.load_state(once, check.state(fresh))
            check.evaluate(fresh)
            a = fresh.stage(k, h)  # averages of 0 and 1: not normalised
            once.stage(k, h)
            check.evaluate(once)
            mean, variance = 0.1 * a.mean((0, 2, 3)), 0.9 + 0.1 * a.var((0, 2, 3))
            wanted_a = (a - mean[:, None, None]) / variance.sqrt()[:, None, None]
            check.close(once.stage(k, h), wanted_a, f"stage {k} after one batch", atol=1e-3)
        check.load_state(twin, check.state(model))
        check.evaluate(twin)
        check.close(twin(z), wanted, "the images of a loaded copy", atol=1e-4)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 2 · The discriminator
#
# The discriminator is the generator's mirror image. Convolutions of stride 2 halve the image,
# with no pooling between them: how to make an image smaller is learned as well. Its activations
# are *leaky* rectifiers, $\max(a, 0.2\,a)$. A plain ReLU passes no gradient where it is silent,
# and it is through the discriminator that the generator gets its gradient.
#
# **Exercise 2** (3 points, 20 minutes). Write it as three stages, too.
#
# | stage | from | to | by | then |
# |---|---|---|---|---|
# | 0 | image, $C$ maps of $S\times S$ | $W$ maps of $S/2 \times S/2$ | convolution, kernel 4, stride 2, padding 1 | nothing |
# | 1 | $W$ maps | $2W$ maps of $S/4 \times S/4$ | the same | batch norm |
# | 2 | $2W$ maps | one logit an image | convolution, kernel $S/4$ | nothing |
#
# Stage 0 has no batch norm, so that the discriminator sees the mean and the spread of the
# images. The logit is the number whose sigmoid is the probability that the image is real; the
# sigmoid itself is in the loss. What was said of batch norm, biases and start values holds here,
# too: stages 0 and 2 have a bias. The activation that is added in `forward`, `leaky`, stands there.


# %% nbgrader={"grade": false, "grade_id": "discriminator", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Discriminator(nn.Module):
    """Image to logit by strided convolutions: Radford et al. (2016), section 3.

    Args:
        channels: C, of the image. width: W.
        size: S, height and width of the image, a multiple of 4.
    """

    ### BEGIN SOLUTION
    def __init__(self, channels: int, width: int, size: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, width, 4, stride=2, padding=1)
        self.halve = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(2 * width)
        self.judge = nn.Conv2d(2 * width, 1, size // 4)

    ### END SOLUTION

    def stage(self, k: int, h: Tensor) -> Tensor:
        """What stage k = 0, 1 or 2 computes, before its activation.

        float (N, C, S, S) → (N, W, S/2, S/2) → (N, 2W, S/4, S/4) → (N,) for k = 0, 1, 2.
        """
        ### BEGIN SOLUTION
        if k == 0:
            return self.look(h)
        return self.norm(self.halve(h)) if k == 1 else self.judge(h).flatten()
        ### END SOLUTION

    @staticmethod
    def leaky(a: Tensor) -> Tensor:
        """max(a, 0.2 a), entry by entry: the activation of stages 0 and 1."""
        return F.leaky_relu(a, 0.2)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, S, S) → logits (N,): positive means real."""
        h = self.leaky(self.stage(0, x))
        h = self.leaky(self.stage(1, h))
        return self.stage(2, h)


# %% nbgrader={"grade": false, "grade_id": "discriminator_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
model = Discriminator(channels=3, width=5, size=16)
inputs = torch.rand(40, 3, 16, 16), torch.rand(40, 5, 8, 8), torch.rand(40, 10, 4, 4)
for k, sizes in enumerate([(40, 5, 8, 8), (40, 10, 4, 4), (40,)]):
    check.shape(model.stage(k, inputs[k]), sizes, f"stage {k} of 40 inputs")
check.shape(model(inputs[0][:1]), (1,), "the logit of one image")
for k in (0, 2):
    check.close(
        model.stage(k, inputs[k][:1]), model.stage(k, inputs[k])[:1], f"stage {k}, one input alone",
        hint="No batch norm here.",
    )  # fmt: skip
    double = model.stage(k, 2 * inputs[k]) - model.stage(k, inputs[k])
    check.close(
        double, model.stage(k, inputs[k]) - model.stage(k, 0 * inputs[k]),
        f"what doubling its input adds to stage {k}", atol=1e-4, hint="A convolution is linear.",
    )  # fmt: skip
h = model.stage(1, inputs[1])
hint = "Each map is normalised over the batch and all places; nothing follows."
check.close(h.mean((0, 2, 3)), torch.zeros(10), "stage 1: means", atol=0.01, hint=hint)
check.close(h.std((0, 2, 3)), torch.ones(10), "stage 1: spreads", rtol=0.05, hint=hint)
check.evaluate(model)
check.close(model(inputs[0][:1]), model(inputs[0])[:1], "a logit in evaluation mode", atol=1e-4)
print("Discriminator: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "discriminator_test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 2, 3 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def uniform(*shape: int) -> Tensor:
    return 2 * torch.rand(shape, generator=generator) - 1


def downward_kernel(stage, maps: int, grid: int) -> tuple[Tensor, Tensor]:
    """The weights (outputs, maps, 4, 4) of a stage that halves, and its answer to zeros."""
    inputs = torch.zeros(maps * 16 + 1, maps, grid, grid)
    inputs[:-1, :, 1:5, 1:5] = torch.eye(maps * 16).reshape(-1, maps, 4, 4)
    found = stage(inputs)
    seen = (found[:-1] - found[-1:])[:, :, 1, 1]
    return seen.T.reshape(-1, maps, 4, 4), found[-1:]


def is_halving(stage, maps: int, grid: int, what: str) -> None:
    """A convolution of stride 2 with sixteen free weights, whatever the input."""
    kernel, zero = downward_kernel(stage, maps, grid)
    h = uniform(5, maps, grid, grid) * 3
    wanted = F.conv2d(h, kernel, stride=2, padding=1) + zero
    check.close(stage(h), wanted, what, rtol=1e-3, atol=1e-3 * wanted.std())
    check.close(stage(h[:1]), wanted[:1], f"{what}, one input", rtol=1e-3, atol=1e-3 * wanted.std())
    flat = kernel.reshape(-1, 16)
    rank = int(torch.linalg.matrix_rank(flat.double(), rtol=1e-3))
    assert rank == min(flat.shape), f"{what}: only {rank} of 16 weights are free; is it pooled?"
    edge = (zero - zero[:, :, :1, :1]).abs().max()
    assert edge < 1e-3 * wanted.std(), f"{what}: zeros do not give the same everywhere"
    _, (gradient,) = check.vjp(stage, h, torch.ones_like(wanted))
    pull = F.conv_transpose2d(torch.ones_like(wanted), kernel, stride=2, padding=1)
    check.close(gradient, pull, f"{what}: gradient", rtol=1e-3, atol=1e-3 * pull.abs().max())


def starts_as_torch_does(weights: Tensor, inputs: int, what: str) -> None:
    """Uniform, and as wide as torch draws a convolution of so many inputs."""
    widest = weights.abs().max() * inputs**0.5
    assert 0.8 < widest < 1.01, f"{what} starts at up to {widest:.2f} times what torch takes"
    assert widest < 2.2 * weights.std() * inputs**0.5, f"{what} does not start as torch makes it"


def is_linear_in_weights(model, k: int, h: Tensor, degree: int) -> None:
    """Weights times their gradients give the output again, twice if γ multiplies it too."""
    check.evaluate(model)
    found = model.stage(k, h)
    pull, values = uniform(*found.shape), check.parameters(model)
    slopes = check.parameter_gradients(lambda h: model.stage(k, h), model, h, pull)
    total = sum((slopes[n] * p).sum() for n, p in values.items())
    error = 1e-3 * (found * pull).abs().sum()
    check.close(total, degree * (found * pull).sum(), f"weights of stage {k}", atol=error)


def is_batch_norm(model, twin, k: int, h: Tensor) -> None:
    """With torch's defaults, for inputs that hardly differ too; γ and β learn.

    `twin` is a copy of `model`, in training mode; its γ and β are moved.
    """
    check.evaluate(model)
    a = model.stage(k, 0.01 * h).double()  # averages of 0 and 1: not normalised
    a = a - a.mean((0, 2, 3), keepdim=True)
    wanted = a / (a.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    check.close(twin.stage(k, 0.01 * h), wanted, f"stage {k} of small inputs", rtol=0.01, atol=0.01)
    size, middle = 1 / a[:, 0].numel(), torch.zeros(a.shape[1])
    for step, (mean, spread) in enumerate(((0.5, 1), (0.5, 1.5), (9.5, 1.5))):
        found = twin.stage(k, h).detach()
        pull = found - 0.5 if step == 1 else torch.ones_like(found)
        speed = 9.0 if step == 2 else 0.5
        check.descend(lambda h: twin.stage(k, h), twin, h, -pull, lr=speed * size)
        found = twin.stage(k, h)
        check.close(found.mean((0, 2, 3)), middle + mean, f"stage {k}, β moved", atol=0.1)
        check.close(found.std((0, 2, 3)), middle + spread, f"stage {k}, γ moved", atol=0.1)


SIZES = ((3, 8, 16), (1, 5, 28), (2, 6, 32))  # channels, width, size
with check.part(points, "stages 0 and 1", 1):
    for C, W, S in SIZES:
        model = Discriminator(C, W, S)
        is_halving(lambda x, m=model: m.stage(0, x), C, S, f"stage 0 of {S} × {S}")
        kernel, zero = downward_kernel(lambda x, m=model: m.stage(0, x), C, S)
        starts_as_torch_does(kernel, 16 * C, f"stage 0 of {S} × {S}")
        assert zero.abs().amax((0, 2, 3)).min() > 0, "the first convolution should have a bias"
        is_linear_in_weights(model, 0, uniform(3, C, S, S), 1)
        dark = torch.zeros(1, C, S, S)
        check.descend(
            lambda x, m=model: m.stage(0, x), model, dark, -torch.ones_like(zero), lr=4 / S**2
        )
        check.close(model.stage(0, dark) - zero, torch.ones_like(zero), "the bias has learned 1")
        model, fresh, twin = (Discriminator(C, W, S) for _ in range(3))
        x = uniform(60, W, S // 2, S // 2) * 2
        check.load_state(twin, check.state(fresh))
        is_batch_norm(fresh, twin, 1, x)
        is_linear_in_weights(fresh, 1, x, 2)
        kernel, _ = downward_kernel(lambda h, m=fresh: m.stage(1, h), W, S // 2)
        starts_as_torch_does(kernel, 16 * W, f"stage 1 of {S} × {S}")
        copy = x.clone()
        h = model.stage(1, copy)
        assert torch.equal(copy, x), "a stage has changed its input"
        check.shape(h, (60, 2 * W, S // 4, S // 4), "stage 1")
        check.close(h.mean((0, 2, 3)), torch.zeros(2 * W), "stage 1: means", atol=2e-3)
        spread = h.var((0, 2, 3), correction=0)
        check.close(spread, torch.ones(2 * W), "stage 1: variances", rtol=0.05)
        assert (h[:20] - model.stage(1, x[:20])).abs().max() > 1e-3, (
            "stage 1 in training does not depend on the batch"
        )
        for _ in range(80):
            model.stage(1, x)
        check.evaluate(model)
        h = model.stage(1, x)
        check.close(h.mean((0, 2, 3)), torch.zeros(2 * W), "kept means", atol=0.02)
        check.close(h.std((0, 2, 3)), torch.ones(2 * W), "kept spreads", rtol=0.06)
        is_halving(lambda h, m=model: m.stage(1, h), W, S // 2, f"stage 1 of {S} × {S}")
with check.part(points, "stage 2, the logit", 1):
    for C, W, S in SIZES:
        model, h = Discriminator(C, W, S), uniform(30, 2 * W, S // 4, S // 4) * 20
        units = torch.eye(h[0].numel()).reshape(-1, *h.shape[1:])
        zero = model.stage(2, torch.zeros_like(h[:1]))
        weights = (model.stage(2, units) - zero).reshape(h.shape[1:])
        wanted = (h * weights).sum((1, 2, 3)) + zero
        check.close(model.stage(2, h), wanted, "stage 2 is linear", rtol=1e-3, atol=3e-3)
        check.close(model.stage(2, h[:1]), wanted[:1], "stage 2 of one", rtol=1e-3, atol=3e-3)
        assert zero.abs() > 0, "the last convolution should have a bias"
        starts_as_torch_does(weights, weights.numel(), "stage 2")
        is_linear_in_weights(model, 2, h, 1)
        fresh = Discriminator(C, W, S)
        before = fresh.stage(2, 0 * h[:1])
        check.descend(lambda h, m=fresh: m.stage(2, h), fresh, 0 * h[:1], -torch.ones(1), lr=1.0)
        check.close(fresh.stage(2, 0 * h[:1]) - before, [1.0], "the last bias has learned 1")
        apart = (weights - weights.mean((1, 2), keepdim=True)).abs().amax((1, 2))
        assert apart.min() > 1e-4, "the logit does not tell places apart; is it pooled?"
        apart = (weights - weights.mean(0)).abs().amax(0)
        assert apart.min() > 1e-4, "the logit does not tell the maps apart"
        _, (gradient,) = check.vjp(lambda h, m=model: m.stage(2, h), h, torch.ones(30))
        check.close(gradient, weights.expand_as(h), "the gradient of stage 2", rtol=1e-3)
with check.part(points, "the whole", 1):
    for C, W, S in SIZES:
        model, x = Discriminator(C, W, S), uniform(7, C, S, S)
        count = sum(p.numel() for p in check.parameters(model).values())
        least = 2 * W * (S // 4) ** 2 + 2 * W * W * 16 + W * C * 16 + W + 1 + 2 * 2 * W
        assert count - least in (0, 2 * W), (
            f"expected {least} parameters, or {2 * W} more for a bias; found {count}"
        )
        for mode in ("training", "evaluation"):
            h = F.leaky_relu(model.stage(1, F.leaky_relu(model.stage(0, x), 0.2)), 0.2)
            wanted = model.stage(2, h)
            check.close(model(x), wanted, f"logits in {mode}", atol=1e-4)
            check.evaluate(model)
        check.close(model(x[3:4]), wanted[3:4], "a logit alone, in evaluation", atol=1e-4)
        found = check.parameter_gradients(model, model, x, uniform(7))
        silent = [n for n, g in found.items() if not g.any() and g.numel() > 2 * W]
        assert not silent, f"no gradient reaches {silent}"
        twin = Discriminator(C, W, S)
        check.load_state(twin, check.state(model))
        check.evaluate(twin)
        check.close(twin(x), wanted, "the logits of a loaded copy", atol=1e-4)
        fresh, once = Discriminator(C, W, S), Discriminator(C, W, S)
        check.load_state(once, check.state(fresh))
        check.evaluate(fresh)
        h = uniform(40, W, S // 2, S // 2)
        a = fresh.stage(1, h)  # averages of 0 and 1: not normalised
        once.stage(1, h)
        check.evaluate(once)
        mean, variance = 0.1 * a.mean((0, 2, 3)), 0.9 + 0.1 * a.var((0, 2, 3))
        wanted = (a - mean[:, None, None]) / variance.sqrt()[:, None, None]
        check.close(once.stage(1, h), wanted, "stage 1 after one batch", atol=1e-3)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## 3 · The start
#
# Two more guidelines concern the first step. All weights are drawn small, and the optimiser is
# Adam (Kingma and Ba, 2015) with less memory than usual. Adam steps along a running mean of the
# gradients, $m \leftarrow \beta_1 m + (1-\beta_1) g$. With the usual $\beta_1 = 0.9$ a player
# still answers to what the other did ten steps ago, and the two begin to swing. The paper takes
# $\beta_1 = 0.5$.
#
# **Exercise 3** (2 points, 15 minutes). Write both as one function that readies a network, a
# generator or a discriminator.
#
# - Weights of all convolutions, fractionally strided ones, and linear layers (`nn.Conv2d`,
#   `nn.ConvTranspose2d`, `nn.Linear`): $\mathcal N(0, 0.02^2)$, that is, a *standard deviation* of
#   0.02, each drawn on its own.
# - Batch norm (`nn.BatchNorm2d`): scale $\gamma \sim \mathcal N(1, 0.02^2)$, shift $\beta = 0$.
# - All other biases: 0.
# - Adam over all parameters, learning rate `lr`, $\beta_1 = 0.5$, $\beta_2 = 0.999$, torch's
#   defaults elsewhere.
#
# It will be used on other networks as well. So first a small one that holds every layer of this
# list, some inside others, with a bias and without, and none of them as it should start.


# %%
def every_layer() -> nn.Module:
    """A network of all layers that `prepare` knows: noise (N, 30) → numbers (N, 2)."""
    model = nn.Sequential(
        nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 270, bias=False)),
        nn.Sequential(nn.Unflatten(1, (30, 3, 3)), nn.BatchNorm2d(30), nn.ReLU()),
        nn.ConvTranspose2d(30, 20, 4, stride=2, padding=1), nn.Conv2d(20, 10, 3, bias=False),
        nn.Flatten(), nn.Linear(160, 2),
    )  # fmt: skip
    for p in model.parameters():
        p.data += 1
    return model


# %% nbgrader={"grade": false, "grade_id": "prepare", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prepare(model: nn.Module, lr: float = 2e-4) -> torch.optim.Optimizer:
    """Draws all weights of `model` anew, in place, from torch's global generator.

    Args:
        model: a generator or a discriminator, of any layers named in the card, at any depth, with
            or without biases. Nothing else of it changes: not its mode, and not the averages that
            batch norm keeps.
        lr: the learning rate.

    Returns:
        The optimiser of its parameters: Adam with β₁ = 0.5 and β₂ = 0.999.
    """
    ### BEGIN SOLUTION
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
    return torch.optim.Adam(model.parameters(), lr=lr, betas=(0.5, 0.999))
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "prepare_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
for model in (Generator(50, 32, 1, 16), Discriminator(1, 32, 16), every_layer()):
    optimiser = prepare(model, lr=0.01)
    for name, p in check.parameters(model).items():
        if p.numel() > 128:
            check.close(p.mean(), 0.0, f"the mean of {name}", atol=3e-3)
            check.close(p.std(), 0.02, f"the spread of {name}", rtol=0.1, hint="0.02, not 0.02².")
        elif p.numel() in (64, 32, 30) and p.mean() > 0.5:
            check.close(p.mean(), 1.0, f"the mean of {name}", atol=0.02)
            check.close(p.std(), 0.02, f"the spread of {name}", rtol=0.6, hint="γ ~ N(1, 0.02²)")
        else:
            check.close(p, torch.zeros_like(p), name, hint="Shifts and biases start at zero.")
    before, ones = check.parameters(model), check.parameters(model)
    for sign in (1, 1, -1):
        check.set_gradients(model, {n: sign * torch.ones_like(p) for n, p in ones.items()})
        optimiser.step()
    moved = check.parameters(model)
    for name, p in moved.items():
        check.close(
            p - before[name], torch.full_like(p, -0.02 + 0.01 * 0.125 / 0.875),
            f"how far {name} went after gradients of 1, 1 and −1", rtol=0.01,
            hint="By lr for each of the first two. β₁ = 0.5 forgets fast: the third turns it back.",
        )  # fmt: skip
print("prepare: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "prepare_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 3, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def networks(width: int) -> list:
    """A generator, a discriminator and one of every layer, and how many maps are normalised."""
    made = [(Generator(40, width, 3, 20), {width, 2 * width})]
    return [*made, (Discriminator(3, width, 20), {2 * width}), (every_layer(), {30})]


with check.part(points, "the weights", 1):
    for model, maps in networks(48):
        drawn = check.parameters(model)  # whatever stood there before
        start = {
            n: v + (0.3 if v.is_floating_point() else 3) for n, v in check.state(model).items()
        }
        check.load_state(model, start)
        prepare(model)
        drawn = check.parameters(model)
        kept = {n: v for n, v in check.state(model).items() if n not in drawn}
        assert all(torch.equal(v, start[n]) for n, v in kept.items()), "kept averages have changed"
        scales = 0
        for name, p in drawn.items():
            p = p.double()
            if p.numel() > 300:
                error = 6 * 0.02 / p.numel() ** 0.5
                check.close(p.mean(), 0.0, f"the mean of {name}", atol=error)
                check.close(p.std(), 0.02, f"the spread of {name}", atol=error)
                kurtosis = (p / 0.02).pow(4).mean()
                check.close(kurtosis, 3.0, f"moment 4 of {name}", atol=60 / p.numel() ** 0.5)
                if p.numel() > 10_000:
                    assert p.abs().max() > 0.06, f"{name} is cut off"
            elif p.numel() in maps and p.mean() > 0.5:
                scales += 1
                check.close(p.mean(), 1.0, f"the mean of {name}", atol=0.02)
                assert 0.012 < p.std() < 0.03, f"the spread of {name} is {p.std():.3f}"
            else:
                check.close(p, torch.zeros_like(p), name)
        assert scales == len(maps), f"expected {len(maps)} scales of batch norm, found {scales}"
        prepare(model)
        again = check.parameters(model)
        assert all(not torch.equal(again[n], p) for n, p in drawn.items() if p.any()), (
            "two starts are the same"
        )
        large = [again[n].flatten() for n, p in drawn.items() if p.numel() > 300]
        for i, p in enumerate(large):
            for q in large[:i]:
                n = min(len(p), len(q), 5_000)
                alike = (p[:n] * q[:n]).mean() / 0.02**2 * n**0.5
                assert alike.abs() < 6, "two layers have been given the same numbers"
    shapes = [tuple(p.shape) for p in drawn.values() if p.dim() > 1]
    assert shapes == [(40, 30), (270, 40), (30, 20, 4, 4), (10, 20, 3, 3), (2, 160)], (
        f"every_layer has been changed: {shapes}"
    )
    for model, _ in networks(5):  # an optimiser made before still drives the same parameters
        earlier = check.optimiser(model, 1.0)
        prepare(model)
        drawn = check.parameters(model)
        check.set_gradients(model, {n: torch.ones_like(p) for n, p in drawn.items()})
        earlier.step()
        for name, p in check.parameters(model).items():
            check.close(p, drawn[name] - 1, f"{name}: is it drawn in place?")
    model = every_layer()  # deeper, with layers of equal shapes, in float64
    model[1].inner = every_layer()
    model[1].inner[0].inner = Discriminator(3, 48, 20)
    model.to(torch.float64)
    scales = []
    for _ in range(40):
        prepare(model)
        drawn = check.parameters(model)
        scales += [p for p in drawn.values() if p.numel() in (30, 96) and p.mean() > 0.5]
    for name, p in drawn.items():
        assert p.dtype == torch.float64, f"{name} should stay float64; found {p.dtype}"
        if p.numel() > 300:
            check.close(p.std(), 0.02, f"the spread of {name}", atol=6 * 0.02 / p.numel() ** 0.5)
    alike = [(p, q) for p in drawn.values() for q in drawn.values() if p.shape == q.shape]
    assert not any(p is not q and p.any() and torch.equal(p, q) for p, q in alike), (
        "two layers have been given the same numbers"
    )
    scales = (torch.cat(scales) - 1) / 0.02
    check.close(scales.std(), 1.0, "the spread of all scales, of 0.02", atol=0.06)
    check.close((scales**4).mean(), 3.0, "moment 4 of all scales", atol=0.8)
    for model, S in ((Generator(6, 4, 1, 16), 4), (Discriminator(1, 2, 16), 8)):
        h = torch.randn(30, *((8, 4, 4) if S == 4 else (2, 8, 8)), generator=generator)
        prepare(model)
        means = model.stage(1, h).mean((0, 2, 3))
        check.close(means, 0 * means, "a network in training mode should stay in it", atol=1e-3)
        check.evaluate(model)
        prepare(model)
        alone = model.stage(1, h[:1])
        check.close(alone, model.stage(1, h)[:1], "one in evaluation mode should stay so")
    twin, _ = networks(48)[0]
    torch.manual_seed(7)
    prepare(twin)
    first = check.parameters(twin)
    torch.manual_seed(7)
    prepare(twin)
    second = check.parameters(twin)
    assert all(torch.equal(first[n], second[n]) for n in first), "the global generator is not used"
with check.part(points, "the optimiser", 1):
    for lr in (None, 0.003, 0.05):
        for model, _ in networks(3):
            optimiser = prepare(model) if lr is None else prepare(model, lr)
            own = {n: p.requires_grad_() for n, p in check.parameters(model).items()}
            size = 2e-4 if lr is None else lr
            reference = torch.optim.Adam(own.values(), lr=size, betas=(0.5, 0.999))
            for step in range(7):
                scale = (0.0, 1e-7, 1e2, 1e1, 1e0, 1e-1, 1e-3)[step]  # first none, and no motion
                pull = {n: torch.randn(p.shape, generator=generator) for n, p in own.items()}
                pull = {n: scale * g for n, g in pull.items()}
                check.set_gradients(model, pull)
                for n, p in own.items():
                    p.grad = pull[n].clone()
                optimiser.step()
                reference.step()
                for n, p in check.parameters(model).items():
                    what = f"{n} after step {step + 1}"
                    check.close(p, own[n], what, rtol=1e-5, atol=0.01 * size)
    model = Discriminator(1, 2, 16)
    optimiser = prepare(model, 0.01)  # a long way after one large gradient
    own = {n: p.requires_grad_() for n, p in check.parameters(model).items()}
    reference = torch.optim.Adam(own.values(), lr=0.01, betas=(0.5, 0.999))
    for step in range(150):
        for p in own.values():
            p.grad = torch.ones_like(p) * (1.0 if step else 100.0)
        check.set_gradients(model, {n: p.grad for n, p in own.items()})
        optimiser.step()
        reference.step()
    for n, p in check.parameters(model).items():
        check.close(p, own[n], f"{n} after 150 steps", rtol=1e-4, atol=1e-3)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ## Train
#
# The game itself is the one of lab 31, and is given. With logits $\ell$, $-\log\sigma(\ell) =
# \mathrm{softplus}(-\ell)$ and $-\log(1-\sigma(\ell)) = \mathrm{softplus}(\ell)$, so no sigmoid is
# formed. Two things are easily lost. In the discriminator's turn the fakes are detached: the
# generator must not learn to help it. In the generator's turn they are not, or nothing would
# reach the generator.


# %%
def noise(n: int) -> Tensor:
    """z uniform in [−1, 1], float (n, D), as in the paper."""
    return 2 * torch.rand(n, NOISE, device=profile.device()) - 1


def discriminator_loss(D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """−log D(real) − log(1 − D(fake)), averaged over the batch; no gradient into `fake`."""
    return F.softplus(-D(real)).mean() + F.softplus(D(fake.detach())).mean()


def generator_loss(D: nn.Module, fake: Tensor) -> Tensor:
    """−log D(fake), averaged over the batch: the non-saturating loss."""
    return F.softplus(-D(fake)).mean()


def update(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of one player. What the loss left in the other player's gradients is cleared there."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


# %%
def play(
    G: nn.Module, D: nn.Module, optimisers: tuple, x: Tensor, steps: int, batch: int, name: str
) -> train.History:
    """Trains both players on images x, one step each in turn; `optimisers` are G's and D's."""
    order = None

    def step(k: int) -> dict[str, Tensor]:
        nonlocal order
        order = order or data.batches(len(x), batch, seed=SEED, start=k)
        real, fake = x.index_select(0, next(order)), G(noise(batch))
        loss_d = discriminator_loss(D, real, fake)
        update(optimisers[1], loss_d)
        loss_g = generator_loss(D, fake)
        update(optimisers[0], loss_g)
        return {"discriminator": loss_d, "generator": loss_g}

    state = {"G": G, "D": D, "G's optimiser": optimisers[0], "D's optimiser": optimisers[1]}
    return train.run(
        step, steps, state=state, seed=SEED, checkpoint=f"33_dcgan_{name}",
        settings=f"batches of {batch} of {len(x)}",
    )  # fmt: skip


@torch.no_grad()
def sample(G: nn.Module, z: Tensor) -> Tensor:
    """The images of noise z, (N, C, S, S) in [−1, 1], in evaluation mode, 500 at a time."""
    G.eval()
    return torch.cat([G(chunk) for chunk in z.split(500)])


# %% tags=["skip-execution"]
torch.manual_seed(SEED)
G = Generator(NOISE, WIDTH, channels=1, size=28).to(profile.device())
D = Discriminator(channels=1, width=WIDTH, size=28).to(profile.device())
optimisers = prepare(G, LR), prepare(D, LR)
history = play(G, D, optimisers, x_train, STEPS, BATCH, "fashion")
G.eval()
D.eval()
plot.curves(
    history.curves,
    "The losses of both players over the steps: they stay near one another and go nowhere.",
    ylabel="loss", smooth=20,
)  # fmt: skip

# %% [markdown]
# Neither curve says how good the images are. Each loss is measured against an opponent who
# learns as well, so a level curve can mean that both improve. One has to look.

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
plot.grid(
    visible(sample(G, noise(64))),
    "Sixty-four samples of the DCGAN: tops, dresses, trousers and shoes with hard edges, some torn.",
)

# %% [markdown]
# The edges are hard. The discriminator would notice a blurred one at once. In the quick profile
# some of the samples are torn: a thousand steps are few.
#
# ## Measure: samples
#
# The samples are scored as in every lab, by the Fréchet distance on the features of the course's
# own classifier and by its Inception Score. Training images give the scale.

# %% tags=["skip-execution"]
torch.manual_seed(SEED)
sampled = scores.to_pixels(sample(G, noise(SAMPLES)), -1, 1)
quality = scores.score(sampled, fashion_test.pixels, features="fashion")
for name, pixels in (("samples", sampled), ("training images", fashion.pixels[:SAMPLES])):
    found = scores.score(pixels, fashion_test.pixels, features="fashion")
    print(f"{name:16s} Fréchet {found['fid_course']:7.2f}   IS {found['is_course']:.2f}")

# %% [markdown]
# ## What the guidelines are for
#
# Each guideline is now switched off once, alone, and everything else stays. The networks are
# narrow, the training is short and, in the quick profile, the images are small: what is compared
# is who gets furthest in the same few steps. The pair below is the one that you wrote, with
# switches.
#
# | switched off | what stands in its place |
# |---|---|
# | strides | pixels are copied, then convolved; convolved, then max-pooled |
# | batch norm | none at all |
# | its two gaps | batch norm at G's output and D's input as well |
# | no dense | one dense hidden layer of 512 units in each network |
# | ReLU in G | tanh |
# | leaky in D | plain ReLU |
# | start | weights as torch draws them |
# | Adam β₁ | 0.9 in place of 0.5 |


# %%
def norm(maps: int, off: str, border: bool = False) -> nn.Module:
    """Batch norm; at the borders, G's output and D's input, only if that guideline is off."""
    skip = off == "norm" or (border and off != "border")
    return nn.Identity() if skip else nn.BatchNorm2d(maps)


def double(inputs: int, outputs: int, off: str) -> nn.Module:
    """Twice the size: a fractionally strided convolution, or copies of pixels and a convolution."""
    if off == "strides":
        return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1))
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)


def halve(inputs: int, outputs: int, off: str) -> nn.Module:
    """Half the size: a strided convolution, or a convolution and pooling."""
    if off == "strides":
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(2))
    return nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)


# %%
def pair(off: str, width: int, size: int) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator of grey images with the guideline `off` switched off."""
    small = 2 * width, size // 4, size // 4
    numbers = 2 * width * (size // 4) ** 2
    project = [nn.Unflatten(1, (NOISE, 1, 1)), nn.ConvTranspose2d(NOISE, 2 * width, size // 4)]
    judge = [nn.Conv2d(2 * width, 1, size // 4), nn.Flatten(0)]
    if off == "dense":
        project = [nn.Linear(NOISE, 512), nn.ReLU(), nn.Linear(512, numbers)]
        project.append(nn.Unflatten(1, small))
        judge = [nn.Flatten(), nn.Linear(numbers, 512), nn.LeakyReLU(0.2)]
        judge += [nn.Linear(512, 1), nn.Flatten(0)]
    rectify = nn.Tanh() if off == "relu" else nn.ReLU()
    leak = nn.ReLU() if off == "leaky" else nn.LeakyReLU(0.2)
    G = nn.Sequential(
        *project, norm(2 * width, off), rectify, double(2 * width, width, off), norm(width, off),
        rectify, double(width, 1, off), norm(1, off, border=True), nn.Tanh(),
    )  # fmt: skip
    D = nn.Sequential(
        halve(1, width, off), norm(width, off, border=True), leak,
        halve(width, 2 * width, off), norm(2 * width, off), leak, *judge,
    )  # fmt: skip
    return G.to(profile.device()), D.to(profile.device())


# %%
GUIDELINES = {
    "nothing": "nothing",
    "strides": "strides",
    "norm": "batch norm",
    "border": "its two gaps",
    "dense": "no dense",
    "relu": "ReLU in G",
    "leaky": "leaky in D",
    "start": "start",
    "beta": "Adam β₁",
}


def shrink(x: Tensor) -> Tensor:
    """28×28 in [−1, 1] → 32×32 with a dark border, then averaged over squares of OFF_POOL pixels."""
    return F.avg_pool2d(F.pad(x, (2, 2, 2, 2), value=-1.0), OFF_POOL)


def enlarge(x: Tensor) -> Tensor:
    """Back to 28×28: each pixel as a square, the border cut."""
    return F.interpolate(x, scale_factor=OFF_POOL)[:, :, 2:-2, 2:-2]


def optimisers_of(G: nn.Module, D: nn.Module, off: str) -> tuple:
    """As in exercise 3, but for a guideline that concerns the start."""
    betas = (0.9 if off == "beta" else 0.5, 0.999)
    if off != "start":
        for model in (G, D):
            prepare(model)
    return tuple(torch.optim.Adam(model.parameters(), lr=1e-3, betas=betas) for model in (G, D))


# %% tags=["skip-execution"]
x_small = shrink(x_train)
real = scores.to_pixels(enlarge(shrink(x_test)), -1, 1)
off_rows, off_frechet, off_seconds = {}, {}, 0.0
for off, label in GUIDELINES.items():
    torch.manual_seed(SEED)
    pair_G, pair_D = pair(off, OFF_WIDTH, 32 // OFF_POOL)
    both = optimisers_of(pair_G, pair_D, off)
    run = play(pair_G, pair_D, both, x_small, OFF_STEPS, BATCH, f"off_{off}")
    torch.manual_seed(SEED)
    drawn = enlarge(sample(pair_G, noise(1_000)))
    found = scores.score(scores.to_pixels(drawn, -1, 1), real, features="fashion")
    off_rows[label], off_frechet[off] = visible(drawn[:14]), found["fid_course"]
    off_seconds += run.seconds
    print(f"off: {label:22s} Fréchet {found['fid_course']:7.1f}   IS {found['is_course']:.2f}")
plot.images(
    off_rows,
    "Samples of nine short trainings, each with another guideline switched off. Some rows hold "
    "vague clothes; with dense layers all samples are alike.",
)

# %% [markdown]
# Read the rows and not only the numbers, which come from one short training each; a few units
# between two rows mean nothing. Batch norm at the generator's output and the discriminator's
# input ties the brightness of an image to the rest of its batch. Hidden dense layers put a great
# many weights where the picture has no places yet. A long memory in Adam lets the two players
# swing. Some guidelines cost nothing here. They were found on deeper networks and larger images,
# and a guideline is not a law: resizing, followed by a convolution, is what many later
# generators use to be rid of the chequered patterns that strides leave (Odena et al., 2016).
#
# ## 4 · What the discriminator learned
#
# To tell real clothes from false ones the discriminator had to find out what clothes look like,
# with no label. If it did, its activations should be good features for a classifier: a linear
# one, so that the features and not the classifier do the work. The paper takes the activations
# of *all* stages, brings each map down to $4\times4$ by max-pooling, and puts everything in one
# long vector.
#
# **Exercise 4** (2 points, 15 minutes). Write these features. With $h_0$ and $h_1$ the
# activations of stages 0 and 1, after the leaky ReLU,
#
# $$\phi(x) = \big[\operatorname{flat}(\operatorname{pool}_{4\times4}(h_0(x))),\;
#   \operatorname{flat}(\operatorname{pool}_{4\times4}(h_1(x)))\big] \in \mathbb R^{16 W + 32 W}.$$
#
# Here $\operatorname{pool}_{4\times4}$ takes the largest value in each cell of a grid of
# $4\times4$ cells, as `F.adaptive_max_pool2d` divides a map, and $\operatorname{flat}$ runs
# through maps, then rows, then columns. The features of an image must not depend on the other
# images, so compute them in evaluation mode. Leave the discriminator as you found it: in its
# mode, with its averages, able to learn.


# %% nbgrader={"grade": false, "grade_id": "image_features", "locked": false, "schema_version": 3, "solution": true, "task": false}
def image_features(D: Discriminator, x: Tensor) -> Tensor:
    """The discriminator's activations on a 4×4 grid: Radford et al. (2016), section 5.1.

    Args:
        D: of width W, in training or evaluation mode; it is left in the mode it was in.
        x: images (N, C, S, S) in [−1, 1], S at least 16.

    Returns:
        float (N, 48 W), stage 0 before stage 1, with no gradient attached.
    """
    ### BEGIN SOLUTION
    training = D.training
    D.eval()
    with torch.no_grad():
        h_0 = D.leaky(D.stage(0, x))
        h_1 = D.leaky(D.stage(1, h_0))
        pooled = [F.adaptive_max_pool2d(h, 4).flatten(1) for h in (h_0, h_1)]
    D.train(training)
    return torch.cat(pooled, dim=1)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "image_features_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
model, x = Discriminator(1, 3, 28), torch.rand(5, 1, 28, 28) * 2 - 1
before = check.state(model)
found = image_features(model, x)
check.shape(found, (5, 144), "the features of five images, W = 3")
assert not found.requires_grad, "the features need no gradient; use torch.no_grad()"
after = check.state(model)
assert all(torch.equal(after[n], before[n]) for n in before), (
    "the averages of batch norm have changed; were the features made in training mode?"
)
check.close(
    image_features(model, x[2:3]), found[2:3], "the features of an image alone", atol=1e-4,
    hint="In evaluation mode they do not depend on the other images.",
)  # fmt: skip
check.close(
    model.stage(1, torch.rand(9, 3, 14, 14)).mean((0, 2, 3)), torch.zeros(6),
    "the means of stage 1 afterwards", atol=0.01,
    hint="A discriminator that was in training mode should be so again.",
)  # fmt: skip
h = F.leaky_relu(model.stage(0, x), 0.2)
check.close(
    found[:, :48].reshape(5, 3, 16).amax(2), h.amax((2, 3)), "the largest feature of each map",
    hint="Max-pooling, after the leaky ReLU; stage 0 comes first.",
)  # fmt: skip
print("image_features: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "image_features_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 4, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def trained_a_little(C: int, W: int, S: int):
    """A discriminator whose averages are not those of the start, in training mode."""
    model = Discriminator(C, W, S)
    for _ in range(4):
        model(torch.randn(12, C, S, S, generator=generator) * 3 + 1)
    return model


with check.part(points, "the features", 1), torch.enable_grad():
    for C, W, S, n in ((1, 3, 28, 6), (3, 4, 16, 5), (2, 5, 32, 1), (1, 2, 40, 9)):
        model, x = trained_a_little(C, W, S), torch.randn(n, C, S, S, generator=generator)
        check.evaluate(model)
        h = F.leaky_relu(model.stage(0, x), 0.2)
        h = h, F.leaky_relu(model.stage(1, h), 0.2)
        wanted = torch.cat([F.adaptive_max_pool2d(t, 4).flatten(1) for t in h], 1)
        copy = x.clone()
        check.close(image_features(model, copy), wanted, f"features of {n} images of {S} × {S}")
        assert torch.equal(copy, x), "the images have changed"
        check.close(model.stage(1, h[0]), model.stage(1, h[0]), "stage 1, twice")
        alone = model.stage(1, h[0][:1])
        check.close(alone, model.stage(1, h[0])[:1], "D was in evaluation mode and is no more")
with check.part(points, "D is left as it was", 1), torch.enable_grad():
    for C, W, S in ((1, 3, 28), (3, 4, 16)):
        model, x = trained_a_little(C, W, S), torch.randn(6, C, S, S, generator=generator)
        before, marks = check.state(model), check.parameters(model)
        pull = torch.randn(6, W, S // 2, S // 2, generator=generator)
        check.set_gradients(model, marks)
        found = image_features(model, x)
        check.shape(found, (6, 48 * W), "the features")
        assert not found.requires_grad, "a gradient is attached to the features"
        check.close(image_features(model, x[:1]), found[:1], "an image alone", atol=1e-4)
        after, kept = check.state(model), check.gradients(model)
        for name, value in before.items():
            assert torch.equal(after[name], value), f"{name} has changed"
        for name, value in marks.items():
            check.close(kept[name], value, f"the gradient held by {name}", rtol=0, atol=0)
        learned = check.parameter_gradients(lambda x, m=model: m.stage(0, x), model, x, pull)
        assert any(g.any() for g in learned.values()), "D does not learn any more"
        h = torch.randn(30, W, S // 2, S // 2, generator=generator) * 3
        means = model.stage(1, h).mean((0, 2, 3))
        check.close(means, torch.zeros(2 * W), "D was in training mode and is no more", atol=0.01)
        twin = Discriminator(C, W, S)
        check.load_state(twin, before)
        check.evaluate(twin)
        check.close(found, image_features(twin, x), "features in evaluation mode", atol=1e-4)
        h = F.leaky_relu(twin.stage(0, x), 0.2)
        wanted = F.adaptive_max_pool2d(h, 4).flatten(1)
        check.close(found[:, : 16 * W], wanted, "the features of stage 0", atol=1e-4)
        wanted = F.adaptive_max_pool2d(F.leaky_relu(twin.stage(1, h), 0.2), 4).flatten(1)
        check.close(found[:, 16 * W :], wanted, "the features of stage 1", atol=1e-4)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# ### Beside other features
#
# The paper's Table 1 sets these features beside those of k-means. Here is the same in miniature.
# From the images small patches are cut and normalised, and k-means finds a hundred typical ones.
# A patch is then described by how much nearer than the average it is to each (Coates et al.,
# 2011):
#
# $$f_k(p) = \max\big(0,\; \tfrac1K\textstyle\sum_j \lVert p - c_j\rVert - \lVert p - c_k\rVert\big).$$


# %%
def patches(x: Tensor, size: int = 6, stride: int = 2) -> Tensor:
    """(N, P, size²): all patches of grey images, each with mean 0 and its contrast evened out."""
    p = F.unfold(x, size, stride=stride).mT
    p = p - p.mean(2, keepdim=True)
    return p / (p.std(2, keepdim=True) + 0.1)


def kmeans_features(x: Tensor, centres: Tensor) -> Tensor:
    """(N, 16 K): nearness of patches to K centres, averaged over a grid of 4×4 cells."""
    p = patches(x)
    distance = torch.cdist(p, centres)
    near = F.relu(distance.mean(2, keepdim=True) - distance).mT
    side = round(p.shape[1] ** 0.5)
    return F.adaptive_avg_pool2d(near.reshape(len(x), -1, side, side), 4).flatten(1)


def svm_accuracy(features: dict[str, Tensor], labels: tuple[Tensor, Tensor]) -> float:
    """Test accuracy of a linear L2-SVM; features and labels of training and test images."""
    train_x, test_x = (features[part].cpu().numpy() for part in ("train", "test"))
    svm = make_pipeline(StandardScaler(), LinearSVC(C=1e-3, random_state=SEED))
    svm.fit(train_x, labels[0].cpu().numpy())
    return svm.score(test_x, labels[1].cpu().numpy())


# %% tags=["skip-execution"]
torch.manual_seed(SEED)
random_D = Discriminator(1, WIDTH, 28).to(profile.device())
prepare(random_D)
for chunk in x_train[:3_000].split(100):  # so that its batch norm knows the images
    random_D(chunk)
cut = patches(x_train[:2_000]).reshape(-1, 36)
cut = cut[torch.randperm(len(cut))[:20_000]].cpu().numpy()
kmeans = MiniBatchKMeans(100, n_init=1, max_iter=20, random_state=SEED).fit(cut)
centres = torch.from_numpy(kmeans.cluster_centers_).float().to(profile.device())
describe = {
    "raw pixels": lambda x: x.flatten(1),
    "k-means": lambda x: kmeans_features(x, centres),
    "random discriminator": lambda x: image_features(random_D, x),
    "trained discriminator": lambda x: image_features(D, x),
}
accuracies = {}
for name, f in describe.items():
    features = {
        part: torch.cat([f(chunk) for chunk in images.split(500)])
        for part, images in (("train", x_train[:LABELLED]), ("test", x_test))
    }
    accuracies[name] = svm_accuracy(features, (fashion.labels[:LABELLED], fashion_test.labels))
    print(f"{name:22s} {features['train'].shape[1]:5d} features   {accuracies[name]:.3f} right")

# %% [markdown]
# The discriminator's features beat raw pixels clearly. Look at the third row before you credit
# the training with all of that: the same network with random weights is good, too. Strided
# convolutions and max-pooling alone make a description that does not mind small shifts. What
# training adds is the difference between the last two rows, and after a short training it is
# small. The paper reports 82.8 % on CIFAR-10 for features of a discriminator trained on
# ImageNet, beside 80.6 to 82.0 % for k-means features with far more units; it has no row for
# random weights.

# %% [markdown]
# ## 5 · What a feature looks for
#
# Which pixels make a feature respond? Its gradient in the image answers, but noisily: a gradient
# holds what would raise the feature *and* what would lower it, through every layer. *Guided
# backpropagation* (Springenberg et al., 2015) keeps only what speaks for the feature. Let $a$ be
# the input of a rectifier, and let $R$ be the signal that comes back to its output. It passes on
#
# $$R\;\mathbb 1[a > 0]\;\mathbb 1[R > 0].$$
#
# The first factor is the one of the backward pass of a ReLU. The second is new: negative signals
# stop. The discriminator's rectifiers are leaky. We keep them as they are on the way forward,
# and use the same rule on the way back.
#
# **Exercise 5** (3 points, 30 minutes). Write the rule as a function with a backward pass of its
# own (look at `torch.autograd.Function`), and then guided backpropagation from a map of stage 1.
# The signal starts, for every image, at the place where map $m$ has its largest activation after
# stage 1: it is 1 there and 0 at all other places and maps. It goes back through the guided
# rule, stage 1, the guided rule, and stage 0. Put the discriminator into evaluation mode first,
# and leave it there.


# %% nbgrader={"grade": false, "grade_id": "guided", "locked": false, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
class GuidedLeaky(torch.autograd.Function):
    """Forward a leaky ReLU; backward only what is positive, where the input is positive."""

    @staticmethod
    def forward(context, a: Tensor) -> Tensor:
        context.save_for_backward(a)
        return F.leaky_relu(a, 0.2)

    @staticmethod
    def backward(context, signal: Tensor) -> Tensor:
        (a,) = context.saved_tensors
        return signal * (a > 0) * (signal > 0)


### END SOLUTION
def guided_leaky(a: Tensor) -> Tensor:
    """max(a, 0.2 a), entry by entry; a signal R comes back as R·1[a > 0]·1[R > 0].

    Args and returns: float, of any shape and dtype.
    """
    ### BEGIN SOLUTION
    return GuidedLeaky.apply(a)
    ### END SOLUTION


def guided_backprop(D: Discriminator, x: Tensor, m: int) -> Tensor:
    """The guided signal of map m of stage 1 at each image: Springenberg et al. (2015).

    Args:
        D: put into evaluation mode. Otherwise it stays as it is: its weights and their gradients,
            its activation, and what its gradient will be when it learns again.
        x: images (N, C, S, S). m: 0 … 2W−1.

    Returns:
        float (N, C, S, S), of each image alone; zero where map m is nowhere positive.
    """
    ### BEGIN SOLUTION
    D.eval()
    x = x.detach().clone().requires_grad_()
    h = guided_leaky(D.stage(0, x))
    h = guided_leaky(D.stage(1, h))
    strongest = h[:, m].flatten(1).max(dim=1).values
    return torch.autograd.grad(strongest.sum(), x)[0]
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "guided_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
a = torch.tensor([-2.0, -1.0, 1.0, 2.0, 3.0])
signal = torch.tensor([1.0, -1.0, -1.0, 0.5, 2.0])
(value,), (back,) = check.vjp(guided_leaky, a, signal)
check.close(value, [-0.4, -0.2, 1.0, 2.0, 3.0], "guided_leaky on the way forward")
check.close(
    back, [0.0, 0.0, 0.0, 0.5, 2.0], "what guided_leaky passes back",
    hint="R where a > 0 and R > 0, and 0 elsewhere.",
)  # fmt: skip
torch.manual_seed(SEED)
model, x = Discriminator(1, 4, 28), torch.rand(6, 1, 28, 28) * 2 - 1
check.evaluate(model)
found = guided_backprop(model, x, 5)
check.shape(found, (6, 1, 28, 28), "the signal at six images")
check.close(
    guided_backprop(model, x[2:3], 5), found[2:3], "the signal at an image alone", atol=1e-5,
    hint="The signal starts once in every image, at the largest activation of map m.",
)  # fmt: skip
for i, signal in enumerate(found[:, 0]):
    seen = signal.nonzero()
    size = (seen.amax(0) - seen.amin(0) + 1).tolist() if len(seen) else [0, 0]
    assert max(size) <= 10, (
        f"one place of stage 1 sees 10 × 10 pixels; the signal of image {i} covers {size}"
    )
assert all(g is None for g in check.gradients(model).values()), (
    "the discriminator's parameters hold gradients now; use torch.autograd.grad"
)
print("guided_leaky and guided_backprop: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "guided_test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 5, 3 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}
with check.part(points, "the rule", 1):
    for shape in ((3, 4, 5, 6), (7,), (2, 9), (1, 1, 1, 1), (40,)):
        a, signal = (torch.randn(shape, generator=generator) * 3 for _ in range(2))
        if len(shape) == 1:
            a, signal = a.double(), signal.double()
            a[:5] = 0  # is not greater than 0
        copy = a.clone()
        (value,), (back,) = check.vjp(guided_leaky, copy, signal)
        assert value.dtype == a.dtype, f"expected {a.dtype}, found {value.dtype}"
        check.close(value, F.leaky_relu(a, 0.2), "forward")
        check.close(back, signal * (a > 0) * (signal > 0), "backward")
        (value,), (back,) = check.vjp(lambda a: guided_leaky(guided_leaky(a)), a, signal)
        check.close(value, F.leaky_relu(a, 0.04), "forward, twice")
        check.close(back, signal * (a > 0) * (signal > 0), "backward, twice")
        check.close(guided_leaky(copy), F.leaky_relu(a, 0.2), "forward, with no gradient")
        assert torch.equal(copy, a), "the function has changed its argument"


def expected_signal(model, x: Tensor, m: int) -> Tensor:
    """Stage by stage, each rule written out."""
    a_0 = model.stage(0, x)
    a_1 = model.stage(1, F.leaky_relu(a_0, 0.2))
    top = F.leaky_relu(a_1, 0.2)[:, m].flatten(1)
    signal = torch.zeros_like(a_1)
    signal[:, m] = F.one_hot(top.argmax(1), top.shape[1]).reshape(signal[:, m].shape).float()
    signal = signal * (a_1 > 0)
    _, (signal,) = check.vjp(lambda h: model.stage(1, h), F.leaky_relu(a_0, 0.2), signal)
    signal = signal * (a_0 > 0) * (signal > 0)
    _, (signal,) = check.vjp(lambda x: model.stage(0, x), x, signal)
    return signal


for part in (0, 1):
    with check.part(points, ("images with a signal", "single images and silent maps")[part], 1):
        for C, W, S in ((1, 4, 28), (3, 3, 16), (2, 5, 32)):
            model = Discriminator(C, W, S)
            for _ in range(30):
                model(torch.randn(20, C, S, S, generator=generator))
            x = torch.randn(8, C, S, S, generator=generator) * (1 - 0.9 * part)
            marks = check.parameters(model)
            check.set_gradients(model, marks)
            fakes, pull = torch.randn(4, C, S, S, generator=generator), torch.ones(4)
            twin = Discriminator(C, W, S)
            check.load_state(twin, check.state(model))
            check.evaluate(twin)
            slopes = check.parameter_gradients(twin, twin, fakes, pull)
            slopes["the images"] = check.vjp(twin, fakes, pull)[1][0]
            for m in range(2 * W):
                copy = x.clone()
                if part == 0:
                    found = guided_backprop(model, copy, m)
                    h = torch.randn(9, W, S // 2, S // 2, generator=generator)
                    alone = model.stage(1, h[:1])
                    check.close(alone, model.stage(1, h)[:1], "D in evaluation mode", atol=1e-4)
                    check.evaluate(model)
                    wanted = expected_signal(model, x, m)
                    assert wanted.any(), "no signal"
                    check.close(found, wanted, "the signal", rtol=1e-3, atol=1e-4)
                    size = wanted.abs().max()
                    check.close(found / size, wanted / size, "the signal", atol=1e-3)
                else:
                    found = guided_backprop(model, copy[:1], m)
                    check.evaluate(model)
                    wanted = expected_signal(model, x[:1], m)
                    check.close(found, wanted, "the signal of one image", rtol=1e-3, atol=1e-4)
                assert torch.equal(copy, x), "the images have changed"
                assert not copy.requires_grad, "the images ask for a gradient now"
            after = check.parameter_gradients(model, model, fakes, pull)
            after["the images"] = check.vjp(model, fakes, pull)[1][0]
            for name, value in slopes.items():
                check.close(
                    after[name], value, f"D's own gradient in {name}, afterwards", rtol=1e-3
                )
            if part == 1:
                plain = check.state(model)
                beta = {n for n, v in plain.items() if v.shape == (2 * W,) and not v.any()}
                a = model.stage(1, F.leaky_relu(model.stage(0, x[:1]), 0.2))[0, 0]
                most = 0.98 * a.max() + 0.02 * a.min()  # so that map 0 is hardly positive
                check.load_state(model, {n: v - most * (n in beta) for n, v in plain.items()})
                found, wanted = guided_backprop(model, x[:1], 0), expected_signal(model, x[:1], 0)
                size = wanted.abs().max()
                check.close(found / size, wanted / size, "the signal of a weak map", atol=1e-3)
                check.load_state(model, {n: v - 50 * (n in beta) for n, v in plain.items()})
                found = guided_backprop(model, x, 0)
                check.close(
                    found, torch.zeros_like(x), "the signal of a map that is nowhere positive"
                )
            kept = check.gradients(model)
            for name, value in marks.items():
                check.close(kept[name], value, f"the gradient held by {name}", rtol=0, atol=0)
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# For some maps of stage 1 we look for the place, in all test images, at which each is most active,
# in the trained discriminator and in the one with random weights. A place of stage 1 sees $10
# \times 10$ pixels. Those are cut out, with the guided signal at them.


# %%
@torch.no_grad()
def peaks(D: Discriminator, x: Tensor) -> list[tuple[int, int, int]]:
    """For each map of stage 1 its most active place: image, row and column."""
    D.eval()
    a = torch.cat([D.stage(1, D.leaky(D.stage(0, chunk))) for chunk in x.split(500)])
    best = a.transpose(0, 1).flatten(1).argmax(1).cpu()
    size = len(a), *a.shape[2:]
    return [tuple(int(i) for i in torch.unravel_index(place, size)) for place in best]


def seen_part(x: Tensor, row: int, column: int) -> Tensor:
    """The 10×10 pixels of an image (1, 1, H, W) that a place of stage 1 sees; grey beyond it."""
    return F.pad(x, (3, 3, 3, 3))[:, :, 4 * row : 4 * row + 10, 4 * column : 4 * column + 10]


def guided_rows(D: Discriminator, name: str, count: int = 16) -> dict[str, Tensor]:
    """What maps of stage 1 see where they are most active, and the guided signal there."""
    parts, signals = [], []
    for m, (n, row, column) in enumerate(peaks(D, x_test)[:count]):
        signal = guided_backprop(D, x_test[n : n + 1], m)
        signal = signal / signal.abs().max().clamp(min=1e-12)
        parts.append(seen_part(x_test[n : n + 1], row, column))
        signals.append(seen_part(signal, row, column))
    return {
        f"{name}: image": visible(torch.cat(parts)),
        f"{name}: guided": visible(torch.cat(signals)),
    }


# %% tags=["skip-execution"]
plot.images(
    {**guided_rows(D, "trained"), **guided_rows(random_D, "random")},
    "Parts of images that maps of the discriminator respond to most, and the guided signal there: "
    "for the trained one bars and edges as in the image, for the random one specks.",
)

# %% [markdown]
# Grey is zero, bright speaks for the feature if the pixel is brighter, dark if it is darker. The
# paper shows features of a deep discriminator that see windows and beds. Ours has two stages and
# sees $10\times10$ pixels: no feature can be larger than a part of an outline. Many of the
# trained maps want such parts, an edge here, a bar or a gap there, and their signals run in the
# direction of what the image shows. The random ones are just as sure of themselves, but their
# signals are specks.
#
# ## The faces
#
# What does the generator know of the things that it draws? To ask, one needs images whose things
# are known, so the second pair of networks learns faces. The data set says of each face which
# skin and hair it has and whether it wears glasses. For a generated face nobody says so. A
# linear classifier, trained on the real faces, will say.


# %% tags=["skip-execution"]
torch.manual_seed(SEED)
face_G = Generator(NOISE, FACE_WIDTH, channels=3, size=FACE_SIZE).to(profile.device())
face_D = Discriminator(channels=3, width=FACE_WIDTH, size=FACE_SIZE).to(profile.device())
face_optimisers = prepare(face_G, FACE_LR), prepare(face_D, FACE_LR)
face_history = play(face_G, face_D, face_optimisers, x_faces, FACE_STEPS, FACE_BATCH, "faces")
face_G.eval()
torch.manual_seed(SEED)
plot.grid(
    visible(sample(face_G, noise(48))),
    "Forty-eight generated pixel faces, many of them with dark glasses; hair, skin and clothes "
    "vary.",
)


# %%
def judge(attribute: str) -> LogisticRegression:
    """A linear classifier of one attribute of faces, from their pixels."""
    labels = faces.labels[:, faces.classes.index(attribute)].cpu().numpy()
    return LogisticRegression(C=0.01, max_iter=300).fit(x_faces.flatten(1).cpu().numpy(), labels)


def probabilities(x: Tensor, attribute: str) -> Tensor:
    """What the classifier gives for each value of an attribute, (N, values)."""
    return torch.from_numpy(judges[attribute].predict_proba(x.flatten(1).cpu().numpy()))


# %% tags=["skip-execution"]
judges = {attribute: judge(attribute) for attribute in ("glasses", "skin")}
test_faces = data.load("faces", "test")
for attribute in judges:
    pixels = test_faces.pixels[:, :, :: 32 // FACE_SIZE, :: 32 // FACE_SIZE]
    guess = probabilities(data.to_float(pixels, -1, 1), attribute).argmax(1)
    truth = test_faces.labels[:, faces.classes.index(attribute)].cpu()
    print(f"{attribute:8s} of real test faces: {float((guess == truth).double().mean()):.3f} right")

# %% [markdown]
# ## 6 · Forgetting an object
#
# If some of the generator's maps draw glasses, then a generator without those maps should draw
# faces without glasses. The paper finds such maps for windows in bedrooms. On generated images,
# boxes were drawn around windows. A logistic regression then learns, from the activations at one
# place of a layer, whether the place lies in a box:
#
# $$P(\text{in a box} \mid h_{ij}) = \sigma\big(\textstyle\sum_m w_m h_{m i j} + b\big).$$
#
# Maps with $w_m > 0$ speak for the object. All of them are dropped: set to zero at every place.
#
# **Exercise 6** (2 points, 20 minutes). Write both halves. Each of the $N\cdot H\cdot W$ places
# is one row of the regression, with $M$ numbers, the activations as they are. Use scikit-learn's
# `LogisticRegression` with `class_weight="balanced"`, since few places lie in a box, and its
# defaults otherwise but for a `max_iter` of 1,000. The layer is the one after stage 0 and its ReLU.


# %% nbgrader={"grade": false, "grade_id": "forget", "locked": false, "schema_version": 3, "solution": true, "task": false}
def object_maps(h: Tensor, box: Tensor) -> Tensor:
    """The maps that speak for an object: Radford et al. (2016), section 6.3.1.

    Args:
        h: float (N, M, H, W), activations. box: bool (N, H, W), where the object is.

    Returns:
        bool (M,): whether the map's weight in the logistic regression is positive.
    """
    ### BEGIN SOLUTION
    rows = h.permute(0, 2, 3, 1).flatten(0, 2).cpu().numpy()
    regression = LogisticRegression(class_weight="balanced", max_iter=1_000)
    regression.fit(rows, box.flatten().cpu().numpy())
    return torch.from_numpy(regression.coef_[0] > 0)
    ### END SOLUTION


@torch.no_grad()
def forget(G: Generator, z: Tensor, maps: Tensor) -> Tensor:
    """The images of z drawn without some maps of the layer after stage 0 and its ReLU.

    Args:
        G: in evaluation mode. z: float (N, D). maps: bool (2W,), true for those to be dropped.

    Returns:
        float (N, C, S, S) in (−1, 1).
    """
    ### BEGIN SOLUTION
    h = F.relu(G.stage(0, z))
    h[:, maps] = 0
    return torch.tanh(G.stage(2, F.relu(G.stage(1, h))))
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "forget_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
box = torch.zeros(30, 4, 5, dtype=torch.bool)
box[:, 1:3, 2:4] = True
h = torch.rand(30, 3, 4, 5)
h[:, 0] += box.float()
h[:, 2] -= box.float()
found = object_maps(h, box)
check.shape(found, (3,), "which of three maps speak for the object")
assert found[0] and not found[2], (
    f"map 0 is active in the boxes and map 2 outside them; found {found.tolist()}"
)
model, z = Generator(6, 4, 1, 16), torch.rand(5, 6)
check.evaluate(model)
none, every = torch.zeros(8, dtype=torch.bool), torch.ones(8, dtype=torch.bool)
check.close(forget(model, z, none), model(z), "images with no map dropped")
blank = forget(model, z, every)
check.close(blank, blank[:1].expand_as(blank), "images with all maps dropped: all alike")
some = none.clone()
some[3] = True
assert (forget(model, z, some) - model(z)).abs().max() > 1e-4, "dropping a map changes nothing"
check.close(forget(model, z, none), model(z), "images with no map dropped, afterwards")
print("object_maps and forget: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "forget_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 6, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def laid_out(rows: Tensor, inside: Tensor, *grid: int) -> tuple[Tensor, Tensor]:
    """Rows (N·H·W, M) of a regression as activations (N, M, H, W), in a random order, and box."""
    order = torch.randperm(len(rows), generator=generator)
    h = rows[order].reshape(*grid, -1).movedim(3, 1)
    return h.contiguous(), inside[order].reshape(grid)


with check.part(points, "the maps of an object", 1):
    for N, M, H, W in ((60, 6, 4, 4), (40, 5, 7, 3), (25, 7, 3, 8)):
        box = torch.zeros(N, H, W, dtype=torch.bool)
        for i in range(N):
            top, left = (int(torch.randint(s - 1, (), generator=generator)) for s in (H, W))
            box[i, top : top + 2, left : left + 2] = i % 5 > 0  # some images have none
        order = torch.randperm(M, generator=generator)
        shared, h = normal(N, H, W), normal(N, M, H, W) * 0.7
        # Two maps rise in the box, but the second one less than what they have in common: given
        # the first, it speaks against the object. The third is high in a box, and low in images
        # that have one. The fifth is small. The rest says nothing.
        h[:, order[0]] = 3 * box + 2 * shared + 0.3 * normal(N, H, W)
        h[:, order[1]] = 1 * box + 2 * shared + 0.3 * normal(N, H, W)
        h[:, order[2]] += 2.5 * box + 4 - 3 * box.flatten(1).any(1)[:, None, None]
        h[:, order[3]] -= 1.5 * box + 4.0
        h[:, order[4]] = 0.02 * (normal(N, H, W) + 2 * box)
        copies = h.clone(), box.clone()
        found = object_maps(*copies)
        check.shape(found, (M,), "which maps")
        assert torch.equal(copies[0], h), "the function has changed its arguments"
        assert torch.equal(copies[1], box), "the function has changed its arguments"
        assert found.dtype == torch.bool, f"expected bool, found {found.dtype}"
        right = [True, False, True, False, True]
        assert found[order[:5]].tolist() == right, "maps for and against the object are confused"
        inverse = object_maps(-h, box)
        assert (found ^ inverse).all(), "maps of opposite sign should speak against one another"
        h[:, order[0]] = 0  # a map that is never active has a weight of exactly zero
        assert not object_maps(h, box)[order[0]], "a map that is never active speaks for nothing"
        rise = torch.linspace(0.9, 1.3, M)[:, None, None]  # more, and the least gets lost in noise
        h = normal(N, M, H, W) + rise * box[:, None]
        assert object_maps(h, box).all(), "all maps speak for the object, some more and some less"
        late = box.clone()  # the first images have no object
        late[: 2 * N // 3] = False
        late[-1, 0, 0] = True
        h = normal(N, M, H, W) + (1 + rise) * late[:, None]
        assert object_maps(h, late).all(), "all places count, those of the last images, too"
    # Few places lie in the box. With both classes given the same weight, map 0 speaks for it.
    sites = torch.tensor([[2.0, 1.0], [-3.0, -1.0], [1.0, 3.0], [-2.0, -3.0]])
    counts = torch.tensor([1, 2, 20, 2]) * 40
    rows = sites.repeat_interleave(counts, 0) + 0.5 * normal(1_000, 2)
    inside = (torch.arange(4) < 2).repeat_interleave(counts)
    found = object_maps(*laid_out(rows, inside, 10, 20, 5))
    assert found.tolist() == [True, False], "are both classes given the same weight (balanced)?"
    # 48 places. Given map 0, map 1 speaks against the box, but only if large weights cost little.
    ends = torch.tensor([-0.3, 0.3])
    levels = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([-1.2, -0.4, 0.4, 1.2])
    inside, shared, *noise_ = torch.cartesian_prod(*levels, ends, ends).T
    rows = torch.stack([2 * inside + shared + noise_[0], inside + shared + noise_[1]], 1)
    found = object_maps(*laid_out(rows, inside > 0, 4, 3, 4))
    assert found.tolist() == [True, False], "is the penalty scikit-learn's default, C = 1?"
    rows[:, 0] *= 0.01  # now its weight would have to be a hundred times as large
    found = object_maps(*laid_out(rows, inside > 0, 4, 3, 4))
    assert found.tolist() == [True, True], "is there a penalty, of the activations as they are?"
with check.part(points, "drawing without them", 1):
    for d, W, C, S in ((6, 4, 1, 28), (5, 3, 3, 16), (9, 5, 2, 32)):
        model = Generator(d, W, C, S)
        for _ in range(5):
            model(normal(20, d))
        check.evaluate(model)
        learned = check.parameters(model)  # not as they start: shifts of batch norm above 0, too
        start = check.state(model)
        moved = {n: v + 0.1 * normal(*v.shape) if n in learned else v for n, v in start.items()}
        check.load_state(model, moved)
        z, before = normal(7, d), check.state(model)
        for _ in range(4):
            maps = torch.rand(2 * W, generator=generator) < 0.5
            copies = z.clone(), maps.clone()
            h = F.relu(model.stage(0, z)) * ~maps[:, None, None]
            wanted = torch.tanh(model.stage(2, F.relu(model.stage(1, h))))
            check.close(forget(model, *copies), wanted, "images without some maps", atol=1e-4)
            check.close(forget(model, z[:1], maps.clone()), wanted[:1], "one of them", atol=1e-4)
            assert torch.equal(copies[0], z), "forget has changed its arguments"
            assert torch.equal(copies[1], maps), "forget has changed its arguments"
        after = check.state(model)
        assert all(torch.equal(after[n], before[n]) for n in before), "the generator has changed"
check.total(points)
### END HIDDEN TESTS

# %% [markdown]
# The object is the glasses. Nobody has to draw boxes: the faces are aligned, and the data set
# holds each face with and without, so the pixels that differ are known. As in the paper, 150
# generated faces that show the object are used, and the places outside their boxes are the other
# class.
#
# Dropping maps harms an image in any case. So the same number of maps is dropped at random, too,
# and the fair question is how much more the glasses suffer from the chosen ones.

# %% tags=["skip-execution"]
difference = (x_faces[0::2] - x_faces[1::2]).abs().amax(1).mean(0)
glasses_pixels = difference > 0.3
grid = FACE_SIZE // 4
glasses_box = F.adaptive_max_pool2d(glasses_pixels[None].float(), grid)[0] > 0
torch.manual_seed(SEED)
z = noise(CANDIDATES)
wears = probabilities(sample(face_G, z), "glasses")[:, 1]
wearers = z[wears.argsort(descending=True)[:150].to(z.device)]
with torch.no_grad():
    h = F.relu(face_G.stage(0, wearers))
maps = object_maps(h, glasses_box.expand(len(h), -1, -1)).to(z.device)


def share_with_glasses(x: Tensor) -> float:
    """The share of images that the classifier takes for faces with glasses."""
    return float((probabilities(x, "glasses")[:, 1] > 0.5).double().mean())


# %% tags=["skip-execution"]
torch.manual_seed(SEED + 1)
new = noise(1_000)
drawn, without = sample(face_G, new), forget(face_G, new, maps)
others = [maps[torch.randperm(len(maps), device=maps.device)] for _ in range(10)]
share_all, share_chosen = share_with_glasses(drawn), share_with_glasses(without)
random_shares = [share_with_glasses(forget(face_G, new, other)) for other in others]
share_random = sum(random_shares) / len(random_shares)
print(f"faces with glasses, all {len(maps)} maps: {share_all:.2f}")
print(f"without {int(maps.sum())} maps, the chosen: {share_chosen:.2f}", end="   ")
print(f"as many at random, mean of ten: {share_random:.2f}")
shown = probabilities(drawn, "glasses")[:, 1].argsort(descending=True)[:14].to(new.device)
plot.images(
    {
        "all maps": visible(drawn[shown]),
        "chosen dropped": visible(without[shown]),
        "random dropped": visible(forget(face_G, new[shown], others[0])),
    },
    "Faces with glasses; the same without the chosen maps, where the dark frames are mostly gone "
    "and the faces pale; and without as many random maps.",
)

# %% [markdown]
# The dark frames fade or go. The generator does not leave a hole where they were: it draws the
# eyes that belong there otherwise. But the faces pale, too. Many maps are gone, and in a network
# this small a map has more than one duty. In the paper, where a layer has hundreds of maps, the
# rest of the room stays nearly as it was.
#
# ## 7 · Arithmetic with faces
#
# In a space of word vectors, *king* − *man* + *woman* lies near *queen*. The paper tries the
# same with noise. One vector does not work: too much of it is about everything else. The mean of
# three that show the same thing does.
#
# **Exercise 7** (1 point, 10 minutes). From the noise of some images of three kinds compute
#
# $$v = \bar z_a - \bar z_b + \bar z_c,$$
#
# the bar being the mean over the vectors of a kind. The paper also looks around $v$: give a few
# neighbours, each $v$ plus noise of its own, uniform in $[-s, s]$ in every dimension.


# %% nbgrader={"grade": false, "grade_id": "analogy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def analogy(a: Tensor, b: Tensor, c: Tensor, neighbours: int, s: float = 0.25) -> Tensor:
    """v = mean(a) − mean(b) + mean(c), and neighbours: Radford et al. (2016), section 6.3.2.

    Args:
        a, b, c: float (·, D), the noise of images of three kinds; their numbers may differ.
        neighbours: how many. s: each is v plus uniform noise in [−s, s], new at every call.

    Returns:
        float (1 + neighbours, D), of a's dtype: v itself first.
    """
    ### BEGIN SOLUTION
    v = a.mean(0) - b.mean(0) + c.mean(0)
    shifts = s * (2 * torch.rand(neighbours, len(v), device=v.device) - 1)
    return torch.cat([v[None], v + shifts])
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "analogy_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
torch.manual_seed(SEED)
ones = torch.ones(3, 4)
found = analogy(3 * ones, 2 * ones[:2], 0.5 * ones[:1], neighbours=2_000, s=0.5)
check.shape(found, (2_001, 4), "v and two thousand neighbours")
check.close(found[0], 1.5 * ones[0], "v", hint="The mean of a, less that of b, plus that of c.")
shifts = found[1:] - found[0]
assert shifts.abs().max() <= 0.5 + 1e-6, "a neighbour is further than s from v in some dimension"
check.close(shifts.mean(0), torch.zeros(4), "the mean of the shifts", atol=0.05)
check.close(
    shifts.std(0), 0.5 / 3**0.5 * ones[0], "the spread of the shifts", rtol=0.05,
    hint="Uniform in [−s, s]: its standard deviation is s/√3.",
)  # fmt: skip
print("analogy: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "analogy_test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 7, 1 point.
### BEGIN HIDDEN TESTS
generator = check.generator()
for numbers, d, s in (((3, 3, 3), 5, 0.25), ((1, 4, 2), 4, 0.7), ((5, 1, 3), 3, 0.1)):
    inputs = [torch.randn(n, d, generator=generator) for n in numbers]
    copies = [t.clone() for t in inputs]
    wanted = inputs[0].mean(0) - inputs[1].mean(0) + inputs[2].mean(0)
    found = analogy(*copies, 4_000) if s == 0.25 else analogy(*copies, 4_000, s)
    for copy, before in zip(copies, inputs, strict=True):
        assert torch.equal(copy, before), "the function has changed its arguments"
    check.shape(found, (4_001, d), "v and its neighbours")
    check.close(found[0], wanted, "v")
    shifts = (found[1:] - wanted) / s
    assert shifts.abs().max() < 1.001, "a neighbour lies too far away"
    for power, moment in ((1, 0.0), (2, 1 / 3), (3, 0.0), (4, 1 / 5)):
        moments = (shifts**power).mean(0)
        check.close(moments, torch.full((d,), moment), f"moment {power} of the shifts", atol=0.06)
    check.close(shifts.T.cov(), torch.eye(d) / 3, "the covariance of the shifts", atol=0.04)
    levels = (torch.arange(4_000) + 0.5) / 4_000
    gap = ((shifts.sort(0).values + 1) / 2 - levels[:, None]).abs().max()
    assert gap < 0.045, "the shifts are not spread evenly between −s and s"
    neighbour = (shifts[1:] * shifts[:-1]).mean()
    check.close(neighbour, 0.0, "the shifts of successive neighbours", atol=0.04)
    check.close(analogy(*inputs, 0, s), wanted[None], "no neighbours")
    check.shape(analogy(*inputs, 2, s), (3, d), "two neighbours")
    assert not torch.equal(analogy(*inputs, 2, s)[1:], analogy(*inputs, 2, s)[1:]), "old noise"
    a, b, c = (t.double() for t in inputs)
    found, wanted = analogy(a, b, c, 2, s), a.mean(0) - b.mean(0) + c.mean(0)
    assert found.dtype == torch.float64, f"expected float64, found {found.dtype}"
    check.close(found[0], wanted, "v in double precision", rtol=1e-12, atol=1e-12)
### END HIDDEN TESTS

# %% [markdown]
# Now the sum *dark face with glasses* − *dark face without* + *light face without*. The
# classifiers pick the exemplars: of all candidates, the thirty that each kind fits best.


# %%
def exemplars(z: Tensor, x: Tensor, glasses: int, skin: int, n: int = 30) -> Tensor:
    """The noise of the n images that fit best, (n, D)."""
    fit = probabilities(x, "glasses")[:, glasses] * probabilities(x, "skin")[:, skin]
    return z[fit.argsort(descending=True)[:n].to(z.device)]


def success(kinds: tuple[Tensor, ...], count: int, trials: int = 200) -> float:
    """How often the image of v has glasses and light skin, from `count` exemplars a kind."""
    chosen = [[k[torch.randperm(len(k))[:count]] for k in kinds] for _ in range(trials)]
    x = sample(face_G, torch.cat([analogy(*some, neighbours=0) for some in chosen]))
    glasses, skin = probabilities(x, "glasses")[:, 1] > 0.5, probabilities(x, "skin").argmax(1)
    return float((glasses & (skin == 0)).double().mean())


# %% tags=["skip-execution"]
torch.manual_seed(SEED)
candidates = sample(face_G, z)
kinds = tuple(exemplars(z, candidates, *kind) for kind in ((1, 2), (0, 2), (0, 0)))
names = "dark, glasses", "− dark, none", "+ light, none"
rows = {}
few = [kind[torch.randperm(len(kind))[:3]] for kind in kinds]
for name, kind in zip(names, few, strict=True):
    rows[name] = torch.cat([kind, kind.mean(0, keepdim=True)])
rows["= v, neighbours"] = analogy(*few, neighbours=8)
plot.images(
    {name: visible(sample(face_G, codes)) for name, codes in rows.items()},
    "Three faces of each of three kinds, and fourth in each row the image of their mean. Last row: "
    "the image of v, a light face with glasses, and eight neighbours, which have glasses, too.",
)
arithmetic = {count: success(kinds, count) for count in (1, 3)}
for count, share_right in arithmetic.items():
    print(f"{count} exemplar(s) a kind: light skin and glasses in {share_right:.2f} of 200 sums")

# %% [markdown]
# No such sum was in the data, and nothing in the training asked that sums mean anything. The
# glasses have a direction of their own in the space of noise. It can be taken from one kind of
# face and given to another. The last lines say why the paper averages.
#
# ## Smooth walks
#
# If the generator had learned its training images by heart, a walk from one noise vector to
# another would jump from one to the next. It does not.


# %% tags=["skip-execution"]
def walk(start: Tensor, end: Tensor, steps: int = 14) -> Tensor:
    """Noise on the straight line from `start` to `end`, each (D,): (steps, D)."""
    return torch.lerp(start, end, torch.linspace(0, 1, steps, device=start.device)[:, None])


torch.manual_seed(SEED + 3)
ends = noise(8)
clothes = torch.cat([sample(G, walk(ends[i], ends[i + 1])) for i in (0, 2, 4)])
plot.grid(
    visible(clothes),
    "Three walks between two samples of clothes: each changes step by step into the other.",
    columns=14,
)
plot.grid(
    visible(sample(face_G, walk(ends[6], ends[7]))),
    "A walk between two generated faces: hair, skin and clothes change gradually.",
    columns=14,
)

# %% [markdown]
# ## 8 · Generation is not memorisation
#
# A generator that copied its training images would look perfect. The more often an image is in
# the data, the easier it is to copy, so the paper first removes near-duplicates. Pixels are a
# poor way to find them: a copy that is a shade darker differs everywhere. The paper trains an
# autoencoder, with a code of 128 rectified units. A code is turned into bits,
#
# $$b_k(x) = \mathbb 1\big[\,\mathrm{code}_k(x) > 0\,\big],$$
#
# and images with the same 128 bits count as duplicates. This is *semantic hashing*
# (Salakhutdinov and Hinton, 2009). No two images have to be compared: those with the same bits
# fall into the same place of a table.
#
# **Exercise 8** (2 points, 15 minutes). Find the images to remove: all but the first of those
# that share a code. A set may hold millions of images, so do not compare all pairs: time and
# memory may grow with $N\cdot K$, and not with $N^2$. The bits of a long code do not fit into
# one whole number of 64 bits.


# %% nbgrader={"grade": false, "grade_id": "near_duplicates", "locked": false, "schema_version": 3, "solution": true, "task": false}
def near_duplicates(codes: Tensor) -> Tensor:
    """Which images repeat the bits of an earlier one: Radford et al. (2016), section 4.1.1.

    Args:
        codes: float (N, K), activations; a bit is whether one is greater than 0. K is any number.

    Returns:
        bool (N,): true for an image whose K bits are those of an image before it.
    """
    ### BEGIN SOLUTION
    seen, repeated = set(), []
    for bits in (codes > 0).cpu().numpy():
        key = bits.tobytes()
        repeated.append(key in seen)
        seen.add(key)
    return torch.tensor(repeated)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "near_duplicates_check", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["nbval-check-output"]
codes = torch.tensor([[0.0, 2.0], [1.0, 0.0], [0.0, 0.1], [0.0, 0.0], [3.0, -1.0], [0.0, 9.0]])
found = near_duplicates(codes)
assert found.tolist() == [False, False, True, False, True, True], (
    f"the bits are 01, 10, 01, 00, 10, 01: the third, fifth and sixth repeat; found {found.tolist()}"
)
torch.manual_seed(SEED)
codes = torch.randn(200, 130)
codes[120:] = codes[:80].abs() * codes[:80].sign()
codes[199, 129] *= -1  # differs from image 79 in its last bit
found = near_duplicates(codes)
assert not found[:120].any(), "an image with a code of its own is taken for a duplicate"
assert found[120:199].all(), "an image with the same 130 bits as an earlier one is not found"
assert not found[199], "two codes that differ in the last of 130 bits are taken for equal"
print("near_duplicates: all that this check looks at holds")

# %% nbgrader={"grade": true, "grade_id": "near_duplicates_test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
# Graded when you hand in: exercise 8, 2 points.
### BEGIN HIDDEN TESTS
generator, points = check.generator(), {}


def repeats(codes: Tensor) -> Tensor:
    """By sorting: the index of the first row with the same bits is smaller than the own."""
    bits, inverse = (codes > 0).unique(dim=0, return_inverse=True)
    rows = torch.arange(len(codes))
    first = torch.full((len(bits),), len(codes)).scatter_reduce(0, inverse, rows, "amin")
    return first[inverse] < rows


with check.part(points, "short codes", 1):
    for N, K in ((300, 6), (40, 40), (1, 5), (500, 1), (64, 12), (3, 3)):
        codes = torch.randn(N, K, generator=generator)
        codes = codes * (torch.rand(N, K, generator=generator) < 0.7)  # zeros, as after a ReLU
        for some in (codes, codes.relu(), codes * 1e-6):
            copy = some.clone()
            found = near_duplicates(copy)
            check.shape(found, (N,), "which images repeat")
            assert found.dtype == torch.bool, f"expected bool, found {found.dtype}"
            assert torch.equal(found, repeats(some)), f"{N} codes of {K} bits: not the right ones"
            assert torch.equal(copy, some), "the function has changed its argument"
with check.part(points, "long codes and many images", 1):
    for K in (63, 64, 65, 128, 200, 300):
        codes = torch.randn(400, K, generator=generator)
        source = torch.randint(200, (200,), generator=generator)
        codes[200:] = codes[source].sign() * torch.rand(200, K, generator=generator)
        places = torch.randint(K, (100,), generator=generator)
        places[:2] = torch.tensor([0, K - 1])
        codes[torch.arange(200, 300), places] *= -1  # one bit apart
        n = min(64, max(0, K - 64))  # or with two groups of bits exchanged
        swapped = torch.cat([codes[:, 64 : 64 + n], codes[:, n:64], codes[:, :n]], 1)
        codes[350:, : 64 + n] = swapped[350:]
        assert torch.equal(near_duplicates(codes), repeats(codes)), f"{K} bits: not the right ones"
    units = torch.eye(30)
    pairs = torch.stack([units[i] + units[j] for i in range(30) for j in range(i)])
    codes = torch.cat([units, pairs])  # one unit or two, by any number: no two alike
    codes = codes[torch.randperm(len(codes), generator=generator)]
    assert not near_duplicates(codes).any(), "codes of one or two active units are confused"
    for n in (8, 16, 31, 32, 60, 62, 63, 64):  # groups of n bits exchanged
        codes = torch.randn(40, 2 * n, generator=generator)
        codes = torch.cat([codes, codes.roll(n, 1)])
        assert torch.equal(near_duplicates(codes), repeats(codes)), "groups of bits are confused"
    codes = torch.randn(30_000, 90, generator=generator)  # no two alike, but for a short hash
    assert not near_duplicates(codes).any(), "different codes of 90 bits are taken for the same"
    codes = torch.randn(6_000, 16, generator=generator).relu()
    room = check.largest_tensor(near_duplicates, [codes])
    assert room < 8 * codes.numel() * 8, f"{room / 1e6:.0f} MB for 6,000 codes: all pairs?"
    work = check.operations(near_duplicates, [codes])
    assert work < 500 * 2 * codes.numel(), f"{work:.0e} operations for 6,000 codes: all pairs?"
check.total(points)
### END HIDDEN TESTS


# %%
class Coder(nn.Module):
    """A denoising autoencoder of grey images with 128 rectified units: 784 → 128 → 784."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(784, 128), nn.ReLU())
        self.up = nn.Sequential(nn.Dropout(0.2), nn.Linear(128, 784))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 28, 28) in [0, 1] → a reconstruction (N, 784)."""
        return self.up(self.down(x))


def coder_loss(model: Coder, x: Tensor) -> dict[str, Tensor]:
    """Squared error of an image, averaged over the batch; dropout is the noise to be removed."""
    return {"loss": (model(x) - x.flatten(1)).square().sum(1).mean()}


# %% tags=["skip-execution"]
torch.manual_seed(SEED)
coder = Coder()
coder_history = train.fit(
    coder, coder_loss, (visible(x_train),), steps=CODER_STEPS, batch_size=128, lr=2e-3, seed=SEED,
    checkpoint="33_dcgan_coder",
)  # fmt: skip
coder.eval()
with torch.no_grad():
    codes = torch.cat([coder.down(chunk) for chunk in visible(x_train).split(500)])
duplicates = near_duplicates(codes).to(codes.device)
print(f"{int(duplicates.sum())} of {len(codes)} training images repeat the code of an earlier one")

# %% [markdown]
# How good is the search? We plant copies of images that we know, darker by one twentieth, and
# count how many share the code of their original. Then we look at what was found among the real
# ones.

# %% tags=["skip-execution"]
with torch.no_grad():
    planted = coder.down(0.95 * visible(x_train[:300]))
found_share = float(((planted > 0) == (codes[:300] > 0)).all(1).float().mean())
print(f"of 300 planted copies, a shade darker, {found_share:.2f} share the code of their original")
later = duplicates.nonzero()[:14, 0]
first = [int(((codes[:i] > 0) == (codes[i] > 0)).all(1).nonzero()[0]) for i in later]
if len(later):
    plot.images(
        {"first": visible(x_train[first]), "removed": visible(x_train[later])},
        "Pairs of training images with the same bits: nearly the same trousers, shirts and dresses.",
    )

# %% [markdown]
# Most pairs are no copies of one picture, but of one kind of thing: plain trousers are all
# alike. In the paper, 275,000 of three million images of bedrooms went this way.
#
# The second look is at the samples. Beside each stands the training image that is nearest to it,
# and the distances are compared with those of test images, which nobody can have copied.


# %%
def nearest(x: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Distance from each image to the nearest reference, and its index, both (N,)."""
    pairs = [torch.cdist(chunk.flatten(1), references.flatten(1)).min(1) for chunk in x.split(100)]
    return torch.cat([p.values for p in pairs]), torch.cat([p.indices for p in pairs])


# %% tags=["skip-execution"]
torch.manual_seed(SEED)
some = sample(G, noise(256))
to_samples, index = nearest(some, x_train)
to_test, _ = nearest(x_test[:256], x_train)
plot.images(
    {"sample": visible(some[:14]), "nearest": visible(x_train[index[:14]])},
    "Samples over their nearest training images: the same kind of clothes, but not the same piece.",
)
for name, distance in (("samples", to_samples), ("test images", to_test)):
    print(
        f"{name:12s} distance to the nearest training image: "
        f"least {distance.min():.1f}, median {distance.median():.1f}"
    )

# %% [markdown]
# No sample is a copy: its neighbour is of the same kind, and differs in shape and pattern. The
# samples lie further from the training images than test images do. That excludes memory, and it
# says at the same time that they are not yet as good as real ones.
#
# **Exercise 9** (2 points, 15 minutes; graded by hand). In your own words: (a) Why has the
# generator no batch norm at its output, and the discriminator none at its input? (b) A colleague
# shows flawless samples and says that the generator has understood bedrooms. Name two things
# that you would ask to see before you believe it, and what each would rule out.

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) Batch norm sets mean and spread of each map over the batch to fixed values. At the output
# that would fix the brightness and contrast of a batch of images, and tie each image to the
# others of its batch; real batches vary. At the discriminator's input it would hide just these
# properties: the discriminator could not see that fakes are too dark or too flat, and so could
# not teach it. In practice samples oscillate and training becomes unstable.
#
# (b) For example: the nearest training images of samples, and near-duplicates removed from the
# data before training; this rules out copying. A walk between two noise vectors: jumps would
# mean that single images are remembered. Many samples, or the same scores on them: flawless but
# few different ones would be mode collapse. What happens when maps are dropped, or arithmetic
# with noise: it shows whether objects are represented apart from one another.
# ### END SOLUTION

# %% [markdown]
# ## Record
#
# The last cell writes the numbers of this run to a file, with profile, seed, hardware and
# versions. The tables of the book are made from such files.

# %% tags=["skip-execution"]
numbers = {
    **quality,
    **{f"off_{off}_fid_course": value for off, value in off_frechet.items()},
    "svm_pixels_accuracy": accuracies["raw pixels"],
    "svm_kmeans_accuracy": accuracies["k-means"],
    "svm_random_accuracy": accuracies["random discriminator"],
    "svm_trained_accuracy": accuracies["trained discriminator"],
    "svm_labels": LABELLED,
    "glasses_share": share_all,
    "glasses_share_maps_dropped": share_chosen,
    "glasses_share_random_dropped": share_random,
    "arithmetic_1_exemplar": arithmetic[1],
    "arithmetic_3_exemplars": arithmetic[3],
    "duplicates_removed": int(duplicates.sum()),
    "duplicates_of": len(codes),
    "planted_copies_found": found_share,
    "nearest_distance_samples": float(to_samples.median()),
    "nearest_distance_test": float(to_test.median()),
    "parameters": records.parameter_count(G, D),
    "train_seconds": history.seconds + face_history.seconds + coder_history.seconds + off_seconds,
    "milliseconds_per_sample_1": records.milliseconds_per_sample(lambda n: sample(G, noise(n)), 1),
    "milliseconds_per_sample_256": records.milliseconds_per_sample(
        lambda n: sample(G, noise(n)), 256
    ),
}
records.write("33_dcgan", numbers, seed=SEED)
print("recorded: " + ", ".join(numbers))
