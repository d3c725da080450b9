"""Archives as Canvas and Moodle hand them out, with what harms whoever unpacks them."""

import io
import stat
import warnings
import zipfile
from pathlib import Path

from . import FILE, HONEST, Book


def _link(name: str, target: str) -> tuple[zipfile.ZipInfo, str]:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


def canvas(path: Path) -> dict[str, dict[str, float]]:
    """Write a Canvas archive with honest and hostile members; what each honest student earns."""
    honest, nothing = Book().bytes(), Book(()).bytes()
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as nested:
        nested.writestr(FILE, honest)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        warnings.simplefilter("ignore")  # the same name twice is meant
        file.writestr("kimminjun_101_9001_vae.ipynb", honest)
        file.writestr("leejiwoo_LATE_102_9002_vae.ipynb", honest)
        file.writestr("parkseoyeon_103_9003_vae-1.ipynb", honest)
        file.writestr("choieun_104_9004_vae.ipynb", nothing)
        # members that lead out of the folder
        file.writestr("../../PWNED-up.ipynb", honest)
        file.writestr("/tmp/PWNED-absolute.ipynb", honest)
        file.writestr("..\\..\\PWNED-back.ipynb", honest)
        file.writestr("evil_105_9005_../../../PWNED.ipynb", honest)
        file.writestr(*_link("link_106_9006_vae.ipynb", "../../solutions/22_vae/vae.ipynb"))
        # more than they say, twice, broken, within one another
        with file.open("bomb_107_9007_vae.ipynb", "w", force_zip64=True) as bomb:
            for _ in range(300):
                bomb.write(bytes(1_000_000))
        file.writestr("twice_108_9008_vae.ipynb", nothing)
        file.writestr("twice_108_9008_vae.ipynb", nothing)
        file.writestr("nested_109_9009_vae.zip", inner.getvalue())
        file.writestr("folder_110_9010_vae.ipynb/", b"")
        file.writestr("__MACOSX/._kimminjun_101_9001_vae.ipynb", b"\x00\x05\x16\x07")
        file.writestr("\x1b[2J\n=cmd_111_9011_vae.ipynb", nothing)
        for i in range(2_000):
            file.writestr(f"notes{i}.txt", b"")
        file.writestr("broken_112_9012_vae.ipynb", honest, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"KL divergence")  # in the member that is stored: its sum is now wrong
    data[at : at + 2] = b"XX"
    path.write_bytes(data)
    return {
        "kimminjun": HONEST,
        "leejiwoo": HONEST,
        "parkseoyeon": HONEST,
        "choieun": dict.fromkeys(HONEST, 0.0),
        # honest work under a name that leads elsewhere: taken for what it is
        **dict.fromkeys(("PWNED-up", "tmp", "PWNED-back", "evil_105_9005_.."), HONEST),
    }


def moodle(path: Path) -> dict[str, dict[str, float]]:
    """Write a Moodle archive; what each honest student earns."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("김 민준_2001_assignsubmission_file_/vae.ipynb", Book().bytes())
        file.writestr("Jiwoo O'Lee_2002_assignsubmission_file_/vae.ipynb", Book(()).bytes())
        file.writestr("Empty One_2003_assignsubmission_file_/", b"")
        file.writestr("Two Words_2004_assignsubmission_onlinetext_/onlinetext.html", b"<p>sorry")
    return {"김 민준": HONEST, "Jiwoo O'Lee": dict.fromkeys(HONEST, 0.0)}


def lies(path: Path) -> None:
    """An archive whose own tables are wrong, with nothing in it that could be graded."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("kimminjun_101_9001_vae.ipynb", bytes(10_000_000))
    data = bytearray(path.read_bytes())
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (100).to_bytes(4, "little")  # its size
    data[directory + 8] |= 1  # it is encrypted
    path.write_bytes(data)
