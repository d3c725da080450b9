"""Fetch drawings from npm and turn them into pixels, for the scripts that make the image sets."""

import io
import subprocess

import numpy as np
from PIL import Image

RESVG = "0.5.0"  # another release may shade edges differently, so the bytes would change


def run(folder: str, *command: str, stdin: str = "") -> str:
    """The output of `command`, run in `folder`; exits with the reason if it fails."""
    try:
        done = subprocess.run(command, cwd=folder, input=stdin, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit(f"{command[0]} is missing: apt-get install nodejs npm") from None
    if done.returncode:
        raise SystemExit(f"{command[:2]} failed:\n{done.stderr}")
    return done.stdout


def npm(folder: str, *packages: str) -> None:
    """Install `packages`, each "name@version", into `folder`/node_modules; runs no scripts."""
    run(folder, "npm", "install", "--prefix", folder, "--ignore-scripts", *packages)


def render(svg: str, size: int) -> np.ndarray:
    """`svg` drawn on white as (3, size, size) uint8 RGB."""
    try:
        import resvg_py as resvg
    except ImportError:
        resvg = None
    if getattr(resvg, "__version__", None) != RESVG:
        raise SystemExit(f"resvg-py {RESVG} is needed: pip install resvg-py=={RESVG}")
    png = resvg.svg_to_bytes(svg, width=size, height=size, background="white")
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).transpose(2, 0, 1)
