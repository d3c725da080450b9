"""Write the image sets that ship with gmlib: compressed, byte-identical when made again."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np


def save(path: Path, **arrays: np.ndarray) -> None:
    """Write `arrays` as an LZMA-compressed .npz that `np.load` reads.

    Entries are sorted and carry a fixed date, so equal arrays give equal bytes. The file is
    written under a temporary name and renamed, so a killed run leaves no half file.
    """
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_LZMA) as archive:
        for name in sorted(arrays):
            buffer = io.BytesIO()
            np.save(buffer, arrays[name], allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_LZMA
            archive.writestr(entry, buffer.getvalue())
    os.replace(partial, path)
