"""What the book asks of Sphinx beyond Jupyter Book: editions, the lab box, numbers, alt texts.

`_toc.yml` names pages only. `course_folders` says from which folders each lab adds a notebook:
`notebooks` in the student edition, `notebooks` and `solutions` in the instructor's.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor
from myst_nb.core.read import is_myst_markdown_notebook
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

_LAB_PAGE = re.compile(r"book/((\d\d)_(\w+))")
_HANGUL = re.compile(r"[\uac00-\ud7a3]")
_LABEL = re.compile(r"^\([\w:.-]+\)=\s*$|^:(?:label|name):.*$|(?<=\$\$) *\([\w:.-]+\) *$", re.M)


def lab_of(page: str) -> str | None:
    """The lab that a page belongs to: `book/22_vae` has `22_vae/vae`, other pages have none."""
    match = _LAB_PAGE.fullmatch(page)
    return f"{match[1]}/{match[3]}" if match else None


def with_notebooks(toc: dict[str, Any], folders: Iterable[str]) -> dict[str, Any]:
    """The table of contents with each lab's notebooks below its page, one from each folder."""
    parts = []
    for part in toc["parts"]:
        chapters = []
        for chapter in part["chapters"]:
            lab = lab_of(chapter["file"])
            sections = {"sections": [{"file": f"{f}/{lab}"} for f in folders]} if lab else {}
            chapters.append(chapter | sections)
        parts.append(part | {"chapters": chapters})
    return toc | {"parts": parts}


def use_whole_toc(app: Sphinx, config: Config) -> None:
    """Write the edition's table of contents beside the output, and let Sphinx read that one."""
    toc = yaml.safe_load(Path(app.srcdir, "_toc.yml").read_text())
    whole = with_notebooks(toc, config.course_folders)
    path = Path(app.outdir).parent / "_toc.yml"
    path.write_text(yaml.safe_dump(whole, allow_unicode=True, sort_keys=False))
    config.external_toc_path = str(path)


def execute_pages(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Run the pages about to be read, several at once, into the cache that myst-nb reads.

    A failing page is left out of the cache: myst-nb runs it again and reports the error. Another
    edition that is built at the same time waits here and then finds the outputs.
    """
    sources = [Path(env.doc2path(name)) for name in docnames]
    pages = [s for s in sources if s.suffix == ".md" and is_myst_markdown_notebook(s.read_text())]
    if not pages:
        return
    folder = Path(env.mystnb_config.execution_cache_path)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cache = get_cache(folder)
        reader = {"name": "myst_nb_md", "type": "plugin"}
        records = [cache.add_nb_to_project(str(page), read_data=reader) for page in pages]
        waiting = [r.pk for r in cache.list_unexecuted(filter_pks=[r.pk for r in records])]
        if waiting:
            timeout = env.mystnb_config.execution_timeout
            load_executor("local-parallel", cache).run_and_cache(
                filter_pks=waiting, timeout=timeout
            )


def tell_solutions_apart(app: Sphinx, docname: str, source: list[str]) -> None:
    """Mark a solution's title, and drop the labels that it shares with the student's notebook."""
    if not docname.startswith("solutions/"):
        return
    notebook = json.loads(source[0])
    texts = [c for c in notebook["cells"] if c["cell_type"] == "markdown"]
    for cell in texts:
        cell["source"] = _LABEL.sub("", "".join(cell["source"]))
    titled = next((c for c in texts if re.search(r"^# ", c["source"], re.M)), None)
    if titled:
        heading = re.compile(r"^# .*\S", re.M)
        titled["source"] = heading.sub(r"\g<0> (solution)", titled["source"], count=1)
    source[0] = json.dumps(notebook)


class LabBox(SphinxDirective):
    """`{lab}` on a lab's page: where its notebook is, and in one edition its solution."""

    def run(self) -> list[nodes.Node]:
        lab = lab_of(self.env.docname)
        if lab is None:
            raise self.error(f"expected on a page like book/22_vae; this is {self.env.docname}")
        path = f"notebooks/{lab}.ipynb"
        theme = self.config.html_theme_options
        repository = theme["repository_url"].removeprefix("https://github.com/")
        colab = f"{theme['launch_buttons']['colab_url']}/github/{repository}"
        lines = [
            f"Open `{path}` in JupyterLab or "
            f"[in Colab]({colab}/blob/{theme['repository_branch']}/{path}), "
            f"download {{download}}`{Path(path).name} </{path}>`, "
            f"or {{doc}}`read it here </notebooks/{lab}>`."
        ]
        if f"solutions/{lab}" in self.env.found_docs:
            lines += ["", f"This edition holds the {{doc}}`solution </solutions/{lab}>`."]
        box = nodes.admonition("", nodes.title("", "The lab"), classes=["lab"])
        self.state.nested_parse(StringList(lines, self.env.docname), self.content_offset, box)
        return [box]


class Rejected(SphinxDirective):
    """`{rejected}` on a lab's page: the answers that its hidden tests were held against.

    A table of counts and a list of the mistakes, from book/results/LAB/mistakes.json, which
    `python tests/mistakes/run.py LAB` writes.
    """

    def run(self) -> list[nodes.Node]:
        lab = (lab_of(self.env.docname) or "").partition("/")[0]
        path = Path(self.env.srcdir, "book", "results", lab, "mistakes.json")
        self.env.note_dependency(str(path))
        found = json.loads(path.read_text())["rows"]
        table = [
            "| answer | mistakes, all rejected | right answers, all accepted |",
            "|---|---|---|",
        ]
        lists = []
        for answer in dict.fromkeys(row["answer"] for row in found):
            mine = [row for row in found if row["answer"] == answer]
            wrong = [row["name"] for row in mine if not row["right"]]
            table.append(f"| `{answer}` | {len(wrong)} | {len(mine) - len(wrong)} |")
            lists += ["", f"`{answer}`", ": " + "; ".join(wrong) + "."]
        box = nodes.container(classes=["rejected"])
        self.state.nested_parse(StringList([*table, *lists], str(path)), 0, box)
        return box.children


class OutputAlt(SphinxTransform):
    """Describe an output's image by the plain text that the output brings beside it.

    That text is what is shown where images are not. Matplotlib's own, `<Figure size ...>`, says
    nothing and is left out; the image then has no text, and the tests of the book say so.
    """

    default_priority = 400

    def apply(self) -> None:
        for image in self.document.findall(nodes.image):
            bundle = image.parent.parent
            if bundle is None or bundle.get("nb_element") != "mime_bundle":
                continue
            for shown in bundle.children:
                text = " ".join(shown.astext().split())
                if shown.get("mime_type") == "text/plain" and not text.startswith("<"):
                    image["alt"] = text


class KoreanTerms(SphinxTransform):
    """Tell browsers and screen readers which terms of the glossary are Korean."""

    default_priority = 400

    def apply(self) -> None:
        for term in self.document.findall(nodes.term):
            if _HANGUL.search(term.astext()):
                term["classes"].append("language-ko")


def number_by_lab(app: Sphinx, builder: Builder) -> None:
    """Number what stands on a lab's page after the lab: equation (22.3), Fig. 22.1.

    Sphinx counts through the whole book, so that a new lab would renumber all that follow.
    """
    for page, kinds in app.env.toc_fignumbers.items():
        match = _LAB_PAGE.fullmatch(page)
        if match:
            for kind, numbers in kinds.items():
                kinds[kind] = {id_: (int(match[2]), i) for i, id_ in enumerate(numbers, 1)}


def rewrite_after_new_titles(app: Sphinx, env: BuildEnvironment) -> Iterable[str]:
    """Write every page again when a title has changed: all of them show it in their sidebar."""
    titles = {name: title.astext() for name, title in env.titles.items()}
    before = getattr(env, "course_titles", titles)
    env.course_titles = titles
    return [] if titles == before else list(env.found_docs)


def keep_launch_on_notebooks(
    app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None
) -> None:
    """Drop the launch button from pages: Colab opens notebooks only."""
    if not app.env.doc2path(pagename).endswith(".ipynb"):
        buttons = context["header_buttons"]
        buttons[:] = [b for b in buttons if b["label"] != "launch-buttons"]


def setup(app: Sphinx) -> dict[str, Any]:
    # The kernels of the pages inherit these.
    os.environ |= {"GMLIB_PROFILE": "test", "TQDM_DISABLE": "1"}
    app.add_config_value("course_folders", ["notebooks"], "env", [list])
    app.add_directive("lab", LabBox)
    app.add_directive("rejected", Rejected)
    app.add_transform(OutputAlt)
    app.add_transform(KoreanTerms)
    app.connect("config-inited", use_whole_toc)
    app.connect("env-before-read-docs", execute_pages)
    app.connect("source-read", tell_solutions_apart)
    app.connect("env-updated", rewrite_after_new_titles)
    app.connect("write-started", number_by_lab)
    app.connect("html-page-context", keep_launch_on_notebooks, priority=502)
    return {"version": "1", "parallel_read_safe": False}
