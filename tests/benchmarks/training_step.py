"""Time a step of training: `python tests/benchmarks/training_step.py [--quick]`.

Ours is what a lab runs: its network, its loss and its loop with all that it keeps, from drawing the
batch to the history. The peer gets the same network, and does what is its own: its loss and its
forward pass in the case of the VAE, its quantiser in that of the VQ-VAE, its masked convolution and
loss in that of the PixelCNN, its steps of both players in that of the DCGAN. Around it stands the
shortest loop there is, on a batch that is already there, so the peer is never charged for more than
its own work. Networks and batches have the sizes of the quick profile, on the processor.

The peers are packages that the course does not install; one that is missing is left out.
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version

import pairs
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gmlib import data, records, train

sys.path.insert(0, str(pairs.ROOT / "book" / "_ext"))

import labs  # noqa: E402

STEPS, REPEATS = 20, 9
QUICK_STEPS, QUICK_REPEATS = 3, 2
LR = 1e-3
Step = Callable[[], Tensor]  # gives the loss


def size(lab: str, name: str) -> int:
    """What the lab takes in the quick profile."""
    return labs.sizes(lab)[name][0]


def loop(step: Step, optimiser: torch.optim.Optimizer, steps: int) -> None:
    """The shortest training loop."""
    for _ in range(steps):
        optimiser.zero_grad()
        step().backward()
        optimiser.step()


def measure(
    name: str,
    peer: str,
    ours: Callable[[int], object],
    theirs: Callable[[int], object],
    quick: bool,
) -> pairs.Row:
    """A row from two functions that take a number of steps."""
    steps, repeats = (QUICK_STEPS, QUICK_REPEATS) if quick else (STEPS, REPEATS)
    times = pairs.in_turns(lambda: ours(steps), lambda: theirs(steps), repeats)
    per_step = ([1e3 * t / steps for t in each] for each in times)
    return pairs.row(name, f"{peer} {version(peer)}", "ms", *per_step)


def same_size(ours: nn.Module, theirs: nn.Module, extra: int = 0) -> None:
    """Hold both numbers of parameters against each other; `extra` is what ours has more.

    Raises:
        SystemExit: they differ, so there is nothing to compare.
    """
    a, b = records.parameter_count(ours), records.parameter_count(theirs)
    if a != b + extra:
        raise SystemExit(f"the networks have {a} and {b} parameters: there is nothing to compare")


# --- VAE -----------------------------------------------------------------------------------------


def vae(quick: bool) -> pairs.Row:
    """Binarised images: the lab gives each pixel two logits, pythae one probability."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    lab = pairs.lab("22_vae")
    latents, batch = lab["LATENTS"], size("22_vae", "BATCH")
    x = data.binarise(data.load("mnist_small", count=batch).pixels, seed=0)
    model, other = lab["VAE"](latents, 2), lab["VAE"](latents, 1)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = other.encoder

        def forward(self, x: Tensor) -> ModelOutput:
            mu, logvar = self.body(x).chunk(2, dim=1)
            return ModelOutput(embedding=mu, log_covariance=logvar)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = other.decoder

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.body(z).sigmoid())

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=latents, reconstruction_loss="bce")
    peer = VAE(config, Encoder(), Decoder())
    last = model.decoder[-1].weight
    same_size(model, peer, extra=last[:, 0].numel() + 1)  # one map more of the last layer
    optimiser = torch.optim.Adam(peer.parameters(), lr=LR)
    given = {"data": x.float()}
    return measure(
        f"step of the VAE, {batch} images", "pythae",
        lambda n: train.fit(model, lab["vae_loss"], (x,), steps=n, batch_size=batch, lr=LR),
        lambda n: loop(lambda: peer(given).loss, optimiser, n), quick,
    )  # fmt: skip


# --- VQ-VAE --------------------------------------------------------------------------------------


def vqvae(quick: bool) -> pairs.Row:
    """Encoder, decoder and likelihood are the lab's on both sides; the quantisers differ."""
    from vector_quantize_pytorch import VectorQuantize

    lab = pairs.lab("23_vqvae")
    batch = size("23_vqvae", "BATCH")
    x = data.to_levels(data.load("fashion_small", count=batch).pixels, lab["LEVELS"])
    model, other = lab["VQVAE"](), lab["VQVAE"]()
    quantise = VectorQuantize(
        lab["DIMS"], lab["CODES"], decay=lab["DECAY"], commitment_weight=lab["BETA"],
        threshold_ema_dead_code=lab["ALIVE"], accept_image_fmap=True,
    )  # fmt: skip
    same_size(model, nn.ModuleList([other, quantise]))
    optimiser = torch.optim.Adam(other.parameters(), lr=LR)

    def step() -> Tensor:
        quantised, _, commitment = quantise(other.maps(x))
        return F.cross_entropy(other.decoder(quantised), x[:, 0]) + commitment.sum()

    return measure(
        f"step of the VQ-VAE, {batch} images", "vector-quantize-pytorch",
        lambda n: train.fit(model, lab["vqvae_loss"], (x,), steps=n, batch_size=batch, lr=LR),
        lambda n: loop(step, optimiser, n), quick,
    )  # fmt: skip


# --- PixelCNN ------------------------------------------------------------------------------------


def pixelcnn(quick: bool) -> pairs.Row:
    """The plain PixelCNN with the layers of each; the lab's gated one has no peer on PyPI."""
    from pythae.models.normalizing_flows import PixelCNN, PixelCNNConfig
    from pythae.models.normalizing_flows.pixelcnn.utils import MaskedConv2d

    lab = pairs.lab("13_pixelcnn")
    levels, batch = lab["LEVELS"], size("13_pixelcnn", "BATCH")
    width, layers = size("13_pixelcnn", "CHANNELS"), size("13_pixelcnn", "LAYERS")
    x = data.to_levels(data.load("fashion_small", count=batch).pixels, levels)
    model = lab["PixelCNN"](levels, width, layers)
    config = PixelCNNConfig(input_dim=(1, 28, 28), n_embeddings=levels, n_layers=layers)
    peer = PixelCNN(config)  # its own network has 64 maps; this one is the lab's, of its layers
    masked = [MaskedConv2d("A", 1, width, 3, padding=1), nn.ReLU()]
    for _ in range(layers - 1):
        masked += [MaskedConv2d("B", width, width, 3, padding=1), nn.ReLU()]
    head = [nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, levels, 1)]
    peer.net = nn.Sequential(*masked, *head)
    same_size(model, peer)
    optimiser = torch.optim.Adam(peer.parameters(), lr=LR)
    given = {"data": x.float()}

    def loss(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
        return {"loss": lab["negative_log_likelihood"](x, model(x)).mean()}

    return measure(
        f"step of the PixelCNN, {batch} images", "pythae",
        lambda n: train.fit(model, loss, (x,), steps=n, batch_size=batch, lr=LR),
        lambda n: loop(lambda: peer(given).loss, optimiser, n), quick,
    )  # fmt: skip


# --- DCGAN ---------------------------------------------------------------------------------------


def dcgan(quick: bool) -> pairs.Row:
    """The lab's networks on both sides, and one step of each player; torchgan brings the steps."""
    from torchgan.losses import MinimaxDiscriminatorLoss, MinimaxGeneratorLoss

    lab = pairs.lab("33_dcgan")
    width, batch = size("33_dcgan", "WIDTH"), size("33_dcgan", "BATCH")
    x = data.to_float(data.load("fashion_small", count=batch).pixels, -1, 1)

    def players() -> tuple[nn.Module, nn.Module, tuple]:
        G = lab["Generator"](lab["NOISE"], width, channels=1, size=28)
        D = lab["Discriminator"](channels=1, width=width, size=28)
        return G, D, (lab["prepare"](G, LR), lab["prepare"](D, LR))

    G, D, optimisers = players()
    other_G, other_D, (g_optimiser, d_optimiser) = players()
    other_G.encoding_dims = lab["NOISE"]
    other_G.label_type = other_D.label_type = "none"
    g_loss, d_loss = MinimaxGeneratorLoss(nonsaturating=True), MinimaxDiscriminatorLoss()

    def theirs(steps: int) -> None:
        for _ in range(steps):
            d_loss.train_ops(other_G, other_D, d_optimiser, x, x.device)
            g_loss.train_ops(other_G, other_D, g_optimiser, x.device, batch)

    return measure(
        f"step of the DCGAN, {batch} images", "torchgan",
        lambda n: lab["play"](G, D, optimisers, x, n, batch, "benchmark"), theirs, quick,
    )  # fmt: skip


PARTS = {
    "step of the VAE": ("pythae", vae),
    "step of the VQ-VAE": ("vector-quantize-pytorch", vqvae),
    "step of the PixelCNN": ("pythae", pixelcnn),
    "step of the DCGAN": ("torchgan", dcgan),
}


def compare(quick: bool = False) -> list[pairs.Row | pairs.Missing]:
    """A row for each model."""
    silence = contextlib.redirect_stderr(io.StringIO())  # the labs' progress bars
    with silence, tempfile.TemporaryDirectory() as cache:
        os.environ["GMLIB_CACHE"] = cache  # no training goes on from what another has left
        return [
            pairs.peer(name, package, lambda part=part: part(quick))
            for name, (package, part) in PARTS.items()
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps, two repeats")
    os.environ["GMLIB_PROFILE"] = "test"  # the labs read few images, and stay on the processor
    print(pairs.text(compare(parser.parse_args().quick)))


if __name__ == "__main__":
    main()
