"""Make faces.npz, 2,000 pixel-art faces without and with glasses: python -m tests.assets.make_faces

Image 2i wears no glasses; image 2i + 1 is the same face with them, and `pair` is i for both. The
glasses are alike on every face, so each image determines its twin. The other attributes are
balanced and independent. What has no label (the cut of hair, beard and clothes, the colour of the
eyes) DiceBear picks by the face's seed.
"""

import json
import tempfile

import numpy as np

from gmlib import data
from tests.assets import pack, svg

FACES = 2000
DRAW = """
import { createAvatar } from '@dicebear/core'; import * as style from '@dicebear/pixel-art';
import { readFileSync } from 'node:fs'; const faces = JSON.parse(readFileSync(0));
console.log(JSON.stringify(faces.map(options => createAvatar(style, options).toString())));
"""
SHORT = [f"short{i:02}" for i in (1, 2, 4, 6, 10, 13, 14, 15, 16, 17, 22)]
LONG = [f"long{i:02}" for i in (1, 2, 3, 4, 7, 9, 12, 13, 17, 20, 21)]
# attribute: (DiceBear's option, {name of a value: the value}). Only shapes and colours that can
# be told apart at 16x16 are used; "left" and "right" are the viewer's.
ATTRIBUTES = {
    "glasses": ("glassesProbability", {"no glasses": 0, "glasses": 100}),
    "skin": ("skinColor", {"light": ["ffdbac"], "medium": ["cb9e6e"], "dark": ["8d5524"]}),
    "hair": ("hair", {"short": SHORT, "long": LONG}),
    "hair_colour": ("hairColor", {"black": ["28150a"], "brown": ["603a14"], "blond": ["ffd94f"],
                                  "red": ["bd1700"], "blue": ["009bbd"], "green": ["91cb15"]}),
    "beard": ("beardProbability", {"no beard": 0, "beard": 100}),
    "mouth": ("mouth", {"sad": ["sad01"], "neutral": ["sad06"], "happy": ["happy06", "happy09"]}),
    "gaze": ("eyes", {"left": ["variant08"], "ahead": ["variant06"], "right": ["variant07"]}),
    "clothes_colour": ("clothingColor", {"blue": ["428bca"], "green": ["00b159"],
                                         "red": ["d11141"], "yellow": ["ffc425"]}),
}  # fmt: skip
CLOTHES = [f"variant{i:02}" for i in (1, 2, 3, 5, 6, 8, 10, 11, 12, 13, 14, 16, 17, 18, 20, 23)]
COMMON = {
    "glasses": ["light07"], "glassesColor": ["191919"], "eyesColor": ["5b7c8b", "876658", "3d3d3d"],
    "mouthColor": ["de0f0d"], "beard": ["variant01", "variant03", "variant05", "variant07"],
    "clothing": CLOTHES, "hatProbability": 0, "accessoriesProbability": 0,
    "backgroundColor": ["b6e3f4"],
}  # fmt: skip


def draw(faces: list[dict]) -> np.ndarray:
    """The faces that DiceBear's options describe, (N, 3, 16, 16) uint8, in exact pixels."""
    with tempfile.TemporaryDirectory() as folder:
        svg.npm(folder, "@dicebear/core@9.4.3", "@dicebear/pixel-art@9.4.3")
        code = ("node", "--input-type=module", "-e", DRAW)
        drawings = json.loads(svg.run(folder, *code, stdin=json.dumps(faces)))
    # DiceBear's mask fades a beard by its own darkness, so a black one vanishes: mask by shape.
    drawings = [d.replace("mask-type:luminance", "mask-type:alpha") for d in drawings]
    large = np.stack([svg.render(drawing, 64) for drawing in drawings])
    if (large != large[..., ::4, ::4].repeat(4, axis=2).repeat(4, axis=3)).any():
        raise SystemExit("a face is not made of whole 16x16 pixels")
    return large[..., ::4, ::4]


if __name__ == "__main__":
    random = np.random.RandomState(2)  # makes no face twice; alike in all NumPy releases
    pair, glasses = np.divmod(np.arange(2 * FACES), 2)
    arrays = {"pair": pair, "test": pair % 10 == 9}
    faces = [{**COMMON, "seed": f"face {i}"} for i in pair]
    for name, (option, values) in ATTRIBUTES.items():
        mixed = random.permutation(np.arange(FACES) % len(values))[pair]
        arrays[name] = glasses if name == "glasses" else mixed
        arrays[f"{name}_names"] = np.array(list(values))
        for face, label in zip(faces, arrays[name], strict=True):
            face[option] = list(values.values())[label]
    image = draw(faces)
    outside = np.delete(image[0::2] != image[1::2], range(4, 9), axis=2)  # glasses: rows 4 to 8
    if outside.any() or len(np.unique(image, axis=0)) < len(image):
        raise SystemExit("twins differ in more than the glasses, or two faces are equal")
    pack.save(data.ASSETS / "faces.npz", image=image, **arrays)
