"""A lab as its graders need it: plain data, so that it can be sent to another machine."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple


class Lab(NamedTuple):
    """What students got, and what stays with the graders.

    Args:
        id: such as "22_vae".
        release: JSON of notebooks/22_vae/vae.ipynb.
        source: JSON of solutions/22_vae/vae.ipynb: solutions and hidden tests. Its text never
            enters a box.
    """

    id: str
    release: str
    source: str

    @classmethod
    def read(cls, lab: str, root: Path) -> "Lab":
        """The lab of the course at `root`, without the outputs of its executed twin.

        Raises:
            FileNotFoundError: there is no such lab.
        """
        name = f"{lab.partition('_')[2]}.ipynb"
        source = json.loads((root / "solutions" / lab / name).read_text())
        for cell in source["cells"]:
            if cell["cell_type"] == "code":
                cell["outputs"], cell["execution_count"] = [], None
        return cls(lab, (root / "notebooks" / lab / name).read_text(), json.dumps(source))

    @property
    def hash(self) -> str:
        """Names everything in the lab that a grade depends on."""
        return hashlib.sha256(json.dumps(self).encode()).hexdigest()[:16]

    def tests(self) -> dict[str, str]:
        """The sources of the hidden tests by grade id."""
        return {marks["grade_id"]: source for marks, source in self._graded()}

    def points(self) -> dict[str, float]:
        """The points of the hidden tests by grade id; what is graded by hand is left out."""
        return {marks["grade_id"]: float(marks["points"]) for marks, _ in self._graded()}

    def _graded(self) -> list[tuple[dict[str, Any], str]]:
        cells = [c for c in json.loads(self.source)["cells"] if c["cell_type"] == "code"]
        marked = [(c["metadata"].get("nbgrader", {}), "".join(c["source"])) for c in cells]
        return [(m, text) for m, text in marked if m.get("grade") and not m.get("solution")]
