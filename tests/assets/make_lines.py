"""Make lines.npz, OpenMoji's line drawings and their colours: python -m tests.assets.make_lines

Left out are flags, brands and skin tones, drawings with no line or no colour, and every drawing
whose lines are those of an earlier one, so each line drawing has one answer. Near-equal drawings
(a man running, a woman running) are kept on one side of the split.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import connected_components

from gmlib import data
from tests.assets import pack, svg

OUT = ("flag", "brand", "skin-tone", "regional-indicator")
# Without its margin of 4 a drawing is 64 units wide, and OpenMoji's lines of 2 are one pixel wide.
FULL, INNER, SIZE = "0 0 72 72", "4 4 64 64", 32


def families(line: np.ndarray, likeness: float = 0.5) -> np.ndarray:
    """The family of each line drawing in (N, 1, 32, 32) uint8, counted from 0.

    Two drawings are of one family if the L2 norm of their difference is less than `likeness`
    times that of the bolder one's ink, or if a chain of such drawings joins them.
    """
    ink = 255 - line.reshape(len(line), -1).astype(np.int64)
    dot, norm = ink @ ink.T, (ink**2).sum(1)
    distance = norm[:, None] + norm - 2 * dot
    return connected_components(distance < likeness**2 * np.maximum(norm[:, None], norm))[1]


if __name__ == "__main__":
    pairs = {}  # by the line drawing's bytes
    with tempfile.TemporaryDirectory() as folder:
        svg.npm(folder, "openmoji@17.0.0")
        root = Path(folder, "node_modules", "openmoji")
        for emoji in json.loads((root / "data" / "openmoji.json").read_text("utf-8")):
            if emoji["skintone"] or any(o in emoji["group"] + emoji["subgroups"] for o in OUT):
                continue
            files = [root / kind / "svg" / f"{emoji['hexcode']}.svg" for kind in ("black", "color")]
            texts = [file.read_text("utf-8").replace(FULL, INNER, 1) for file in files]
            line, colour = (svg.render(text, SIZE) for text in texts)
            if line.min() < 128 and (line != colour).any():
                pairs.setdefault(line.tobytes(), (line[:1], colour, emoji))
    order = np.random.RandomState(0).permutation(len(pairs))  # alike in all NumPy releases
    line, colour, emoji = zip(*(list(pairs.values())[i] for i in order), strict=True)
    line = np.stack(line)
    group_names, group = np.unique([e["group"] for e in emoji], return_inverse=True)
    pack.save(
        data.ASSETS / "lines.npz", line=line, colour=np.stack(colour),
        annotation=np.array([e["annotation"].strip() for e in emoji]), group=group,
        group_names=group_names, test=families(line) % 10 == 9,
    )  # fmt: skip
