"""Time the three samplers of lab 13: `python tests/benchmarks/pixelcnn_sampling.py [--quick]`.

The model is a GatedPixelCNN of 7 blocks and 64 maps for 256 levels, untrained: the arithmetic does
not depend on what the weights are. The code is the lab's own. Images are 28×28.

The cached sampler draws whole images. A pass over a whole image costs the same at every pixel, so
the plain sampler draws the last rows only, and its time is scaled to 28. The cropped sampler's
cost grows with the row until its part of the image is full; it draws a few rows, and those
between are interpolated. The table says how many rows each drew.
"""

import argparse
import os
import statistics
from typing import Any

import numpy as np
import pairs
import torch

LAB = "13_pixelcnn"
SIZE, LEVELS, CLASSES, CHANNELS, LAYERS = 28, 256, 10, 64, 7
BATCHES = (1, 16, 64, 256)
REPEATS = {1: 3, 16: 3, 64: 3, 256: 1}  # by the number of images; a large batch takes minutes


def measure(names: dict[str, Any], images: int, quick: bool) -> dict[str, Any]:
    """One row of the table: seconds for `images` whole images, medians of interleaved repeats.

    "times" holds the repeats themselves.
    """

    def seconds(sampler: str, *inputs: Any) -> float:
        return pairs.seconds(lambda: names[sampler](*inputs))

    torch.manual_seed(0)
    model = names["GatedPixelCNN"](LEVELS, CLASSES, CHANNELS, LAYERS).eval()
    noise, labels = (
        torch.rand(images, SIZE, SIZE, dtype=torch.float64),
        torch.arange(images) % CLASSES,
    )
    reach = sum(block.reach for block in model.blocks)
    last = 1 if quick or images > 16 else 4
    few = [0, reach // 2, reach + 1, SIZE - 1]
    cropped_rows = few if quick or images > 16 else list(range(0, SIZE, 3))
    x = names["sample_cached"](model, noise, labels, torch.zeros(images, 1, 0, SIZE).long())
    found: dict[str, list[float]] = {"plain": [], "cropped": [], "cached": []}
    for _ in range(1 if quick else REPEATS[images]):
        inputs = (model, noise, labels, x[:, :, :0])
        found["cached"].append(seconds("sample_cached", *inputs))
        part = seconds("sample_plain", *inputs[:3], x[:, :, :-last])
        found["plain"].append(part * SIZE / last)
        each = [
            seconds("sample_cropped", model, noise[:, : i + 1], labels, x[:, :, :i])
            for i in cropped_rows
        ]
        found["cropped"].append(float(np.interp(range(SIZE), cropped_rows, each).sum()))
    medians = {name: statistics.median(times) for name, times in found.items()}
    drawn = {"images": images, "plain_rows": last, "cropped_rows": len(cropped_rows)}
    return drawn | medians | {"times": found}


def equal(names: dict[str, Any]) -> bool:
    """Whether all three draw the same images in 64 bits; plain and cropped draw the last rows."""
    torch.manual_seed(0)
    model = names["GatedPixelCNN"](LEVELS, CLASSES, CHANNELS, LAYERS).double().eval()
    noise, labels = torch.rand(4, SIZE, SIZE, dtype=torch.float64), torch.arange(4)
    x = names["sample_cached"](model, noise, labels, torch.zeros(4, 1, 0, SIZE).long())
    others = (names[f"sample_{name}"] for name in ("plain", "cropped"))
    return all(torch.equal(x, f(model, noise, labels, x[:, :, :-2])) for f in others)


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """The measurements, one for each number of images drawn at once."""
    names = pairs.lab(LAB)
    if not equal(names):
        raise SystemExit("the samplers draw different images: there is nothing to compare")
    return [measure(names, images, quick) for images in (BATCHES[:2] if quick else BATCHES)]


def compare(quick: bool = False) -> list[pairs.Row]:
    """The cached sampler against each of the two others, for the table of all benchmarks."""
    return [
        pairs.row(
            f"PixelCNN, cached, {row['images']} at once", f"the {other} sampler of the lab", "s",
            row["times"]["cached"], row["times"][other],
        )
        for row in rows(quick)
        for other in ("plain", "cropped")
    ]  # fmt: skip


def table(measured: list[dict[str, Any]]) -> str:
    """What is printed."""
    lines = [
        "PixelCNN, 7 blocks of 64 maps, 256 levels, 28×28; seconds for all images of a batch, "
        f"{torch.get_num_threads()} threads; (n): from n of 28 rows",
        "images      plain s    cropped s   cached s   plain/cached   cropped/cached",
    ]
    for row in measured:
        plain, cropped, cached = row["plain"], row["cropped"], row["cached"]
        lines.append(
            f"{row['images']:6d} {plain:8.1f} ({row['plain_rows']:2d}) "
            f"{cropped:8.1f} ({row['cropped_rows']:2d}) {cached:9.2f} "
            f"{plain / cached:13.0f}× {cropped / cached:15.0f}×"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer images, one repeat")
    os.environ["GMLIB_PROFILE"] = "test"  # the lab reads few images, and stays on the processor
    print(table(rows(parser.parse_args().quick)))


if __name__ == "__main__":
    main()
