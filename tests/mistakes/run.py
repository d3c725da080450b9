"""Hold a lab's hidden tests against wrong and right answers: `python tests/mistakes/run.py LAB`.

Each answer of tests/mistakes/LAB.py takes the place of the lab's own; the lab's other answers
stay, and the hidden test of that answer runs on five seeds, all in this process. Prints what
every answer earned and writes the table that the book shows, book/results/LAB/mistakes.json, with
a stamp of what it was made from.
"""

import ast
import hashlib
import importlib.util
import io
import json
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(5)


def module(path: Path) -> Any:
    """A Python file as a module, whatever its name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


class Lab(NamedTuple):
    """A lab taken apart. Sources by grade id; `parts` in order, answers as (id, source)."""

    parts: list[tuple[str | None, str]]
    tests: dict[str, str]
    points: dict[str, float]

    @classmethod
    def read(cls, lab: str) -> "Lab":
        parts, tests, points = [], {}, {}
        for cell in module(ROOT / "solutions" / "make.py").read(lab).cells:
            if cell.cell_type != "code" or "skip-execution" in cell.metadata.get("tags", []):
                continue
            marks = cell.metadata.get("nbgrader", {})
            if marks.get("grade"):
                answer = marks["grade_id"].removesuffix("_test")
                tests[answer], points[answer] = cell.source, float(marks["points"])
            elif marks.get("solution"):
                parts.append((marks["grade_id"], cell.source))
            elif not marks.get("locked"):
                parts.append((None, cell.source))
        return cls(parts, tests, points)

    def answers(self) -> dict[str, str]:
        return {name: source for name, source in self.parts if name}

    def setup(self) -> dict[str, Any]:
        """The namespace before the first answer: imports, sizes, data."""
        namespace: dict[str, Any] = {"__name__": "__lab__"}
        for name, source in self.parts:
            if name:
                return namespace
            with redirect_stdout(io.StringIO()):
                exec(source, namespace)
        return namespace

    def namespace(self, setup: dict[str, Any], changed: str, source: str) -> dict[str, Any]:
        """The lab's definitions with one answer changed, on a copy of `setup`."""
        namespace, started = dict(setup), False
        for name, own in self.parts:
            started = started or name is not None
            if started:
                exec(compile(source if name == changed else own, f"<{name}>", "exec"), namespace)
        return namespace

    def earned(self, answer: str, namespace: dict[str, Any], seed: int) -> tuple[float, str]:
        """What the hidden test of `answer` gives, read as nbgrader reads it, and its words."""
        os.environ["GMLIB_CHECK_SEED"] = str(seed)
        tree, namespace, said = ast.parse(self.tests[answer]), dict(namespace), io.StringIO()
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        try:
            with redirect_stdout(said):
                exec(compile(tree, f"<{answer}_test>", "exec"), namespace)
                value = last and eval(compile(ast.unparse(last), "<last>", "eval"), namespace)
        except Exception as error:
            return 0.0, f"{type(error).__name__}: {error}"
        finally:
            del os.environ["GMLIB_CHECK_SEED"]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return (float(value) if number else self.points[answer]), said.getvalue().strip()


def changed(source: str, old: str, new: str) -> str:
    """`source` with its one `old` replaced.

    Raises:
        ValueError: the solution does not hold `old` exactly once, so the mistake is out of date.
    """
    if source.count(old) != 1:
        raise ValueError(f"the solution holds {old!r} {source.count(old)} times; expected once")
    return source.replace(old, new)


def cases(lab: str) -> list[tuple[str, str, str, bool]]:
    """(answer, name, source, right) for every answer of tests/mistakes/LAB.py."""
    known, taken = module(ROOT / "tests" / "mistakes" / f"{lab}.py"), Lab.read(lab)
    answers = {name: source for name, source in taken.answers().items() if name in taken.tests}
    found = [(answer, "the solution", source, True) for answer, source in answers.items()]
    for answer, rights in known.RIGHT.items():
        found += [(answer, name, source, True) for name, source in rights]
    for answer, mistakes in known.MISTAKES.items():
        for name, old, new in mistakes:
            found.append((answer, name, changed(answers[answer], old, new), False))
    return found


def stamp(lab: str) -> str:
    """Names what a table is made from: the lab's code with its hidden tests, and all answers."""
    made_from = [Lab.read(lab), cases(lab), list(SEEDS)]
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]


def run(lab: str, only: str | None = None, seeds: Sequence[int] = SEEDS) -> list[dict[str, Any]]:
    """One row an answer: what it is, whether it is right, its points on each seed, of how many."""
    import torch  # a lab's, and slow to import

    torch.set_num_threads(1)  # quicker for tensors as small as a test's
    taken, rows = Lab.read(lab), []
    setup = taken.setup()
    for answer, name, source, right in cases(lab):
        if only not in (None, answer):
            continue
        try:
            namespace = taken.namespace(setup, answer, source)
            results = [taken.earned(answer, namespace, seed) for seed in seeds]
        except Exception as error:  # the answer does not even define
            results = [(0.0, f"{type(error).__name__}: {error}")] * len(seeds)
        rows.append(
            {
                "answer": answer,
                "name": name,
                "right": right,
                "points": [points for points, _ in results],
                "of": taken.points[answer],
                "said": results[0][1],
            }
        )
    return rows


def held(row: dict[str, Any]) -> bool:
    """A right answer has all points on every seed, a mistake on none."""
    return all((points == row["of"]) == row["right"] for points in row["points"])


def table(lab: str, rows: list[dict[str, Any]]) -> str:
    """What the book shows: the rows without the words, which hold numbers of one run."""
    kept = [{key: row[key] for key in ("answer", "name", "right", "points", "of")} for row in rows]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in kept)
    return f'{{"stamp": "{stamp(lab)}", "rows": [\n{lines}\n]}}\n'


def main() -> None:
    os.environ["GMLIB_PROFILE"] = "test"
    lab = sys.argv[1]
    rows = run(lab)
    for row in rows:
        kind = "right" if row["right"] else "wrong"
        flag = "" if held(row) else "   <-- does not hold"
        points = " ".join(f"{p:g}" for p in row["points"])
        print(f"{row['answer']:18s} {kind} {points:>14s} of {row['of']:g}  {row['name']}{flag}")
        if flag or "-v" in sys.argv:
            print("    " + row["said"][:300])
    path = ROOT / "book" / "results" / lab / "mistakes.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table(lab, rows))
    if not all(map(held, rows)):
        raise SystemExit("some answers got what they do not deserve")


if __name__ == "__main__":
    main()
