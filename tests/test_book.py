"""The built book: every page is there, students get no solution, and each page opens cleanly.

`book/make.py` builds both editions first; where nothing has changed that takes no time.
"""

import html
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jupytext
import nbformat
import pytest
import yaml
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
EDITIONS = ("student", "instructor")
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
# Pages that Sphinx adds to those of the table of contents.
ADDED = {"index", "genindex", "search", "prf-prf"}


def make(root: Path, *editions: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(root / "book" / "make.py"), *editions]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


@pytest.fixture(scope="session")
def book() -> Path:
    """The folder that holds both editions."""
    run = make(ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
    return ROOT / "_build"


def documents(book: Path, edition: str) -> list[str]:
    """What the edition's table of contents names, in reading order."""
    toc = yaml.safe_load((book / edition / "_toc.yml").read_text())
    found = [toc["root"]]
    for part in toc["parts"]:
        for chapter in part["chapters"]:
            found.append(chapter["file"])
            found += [section["file"] for section in chapter.get("sections", [])]
    return found


def text_of(page: Path) -> str:
    """The words of a page's article."""
    article = re.search(r"<article.*</article>", page.read_text(), re.S)
    return html.unescape(re.sub(r"<[^>]+>", "", article[0])) if article else ""


# --- What was built ------------------------------------------------------------------------------


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_page_is_there_and_no_other(book, edition):
    folder = book / edition / "html"
    expected = set(documents(book, edition))
    pages = {p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.html")}
    pages = {page for page in pages if not page.startswith("_static/")}
    assert expected - pages == set()
    assert pages - expected - ADDED == set()
    assert "url=book/index.html" in (folder / "index.html").read_text()
    empty = [page for page in expected if len(text_of(folder / f"{page}.html").split()) < 20]
    assert empty == []


def test_every_lab_is_in_both_editions(book):
    labs = [path.relative_to(ROOT / "solutions") for path in (ROOT / "solutions").glob("*/*.py")]
    assert labs, "no lab found under solutions/"
    student, instructor = (documents(book, edition) for edition in EDITIONS)
    for lab in labs:
        page, name = f"book/{lab.parent}", lab.with_suffix("").as_posix()
        assert student[student.index(page) + 1] == f"notebooks/{name}"
        at = instructor.index(page)
        assert instructor[at + 1 : at + 3] == [f"notebooks/{name}", f"solutions/{name}"]
    assert not any(name.startswith("solutions/") for name in student)


@pytest.mark.parametrize("edition", EDITIONS)
def test_notebooks_can_be_downloaded(book, edition):
    folder = book / edition / "html"
    notebooks = [name for name in documents(book, edition) if not name.startswith("book/")]
    assert notebooks
    for name in notebooks:
        page = folder / f"{name}.html"
        links = re.findall(r'href="([^"]+\.ipynb)"', page.read_text())
        files = [page.parent / link for link in links if "://" not in link]
        assert files, f"{name} offers no notebook"
        for file in files:
            assert nbformat.read(file, as_version=4).cells, file


def test_nothing_is_built_again(book):
    run = make(ROOT)
    assert run.returncode == 0
    assert run.stdout.count("nothing changed") == len(EDITIONS)


# --- No solution in the student edition ----------------------------------------------------------


def secret_lines(source: str) -> set[str]:
    """Lines, without their blanks, that stand between a solution's or a hidden test's marks only.

    Lines under 25 characters are left out: they occur in other places by chance.
    """
    public, secret, inside = [], set(), False
    for line in source.splitlines():
        if re.search(r"### (BEGIN|END) (SOLUTION|HIDDEN TESTS)", line):
            inside = "BEGIN" in line
        elif inside:
            secret.add("".join(line.split()))
        else:
            public.append("".join(line.split()))
    known = "\n".join(public)
    return {line for line in secret if len(line) >= 25 and line not in known}


def strings_in(data) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for item in data.values() if isinstance(data, dict) else data:
            yield from strings_in(item)


def squeezed(file: Path) -> str:
    """All that a reader could find in a file, without blanks."""
    text = file.read_text(errors="ignore")
    if file.suffix == ".html":
        text = html.unescape(re.sub(r"<[^>]+>", "", text)) + html.unescape(text)
    elif file.suffix in (".ipynb", ".json"):
        text = "\n".join(strings_in(json.loads(text)))
    return "".join(text.split())


def leaks(folder: Path, secrets: set[str]) -> dict[str, set[str]]:
    """The secrets that each file under `folder` holds."""
    found = {}
    for file in folder.rglob("*"):
        if file.is_file():
            text = squeezed(file)
            if held := {secret for secret in secrets if secret in text}:
                found[str(file.relative_to(folder))] = held
    return found


@pytest.fixture(scope="session")
def secrets() -> set[str]:
    """Of all labs together: what is an answer in one lab may be given in another."""
    labs = [jupytext.read(path) for path in (ROOT / "solutions").glob("*/*.py")]
    return secret_lines("\n".join(cell.source for lab in labs for cell in lab.cells))


def test_student_edition_holds_no_solution(book, secrets):
    assert leaks(book / "student" / "html", secrets) == {}


def test_instructor_edition_holds_every_solution(book, secrets):
    assert secrets
    found = leaks(book / "instructor" / "html", secrets)
    assert secrets - set().union(*found.values()) == set()


LEAK = "    return torch.logsumexp(log_w, 0) - math.log(k)"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.html", "<pre><span>return</span> torch.logsumexp(log_w, <b>0</b>) - math.log(k)</pre>"),
        ("a/b.html", f'<a title="{LEAK}">x</a>'),
        ("_sources/a.ipynb", json.dumps({"cells": [{"source": ["def f():\n", LEAK]}]})),
        ("searchindex.js", f"Search.setIndex({{x: '{LEAK}'}})"),
        ("_sources/a.md", f"```python\n{LEAK}\n```"),
    ],
)
def test_a_leak_is_found(tmp_path, name, content):
    source = f"def f():\n    ### BEGIN SOLUTION\n    x = 1\n{LEAK}\n    ### END SOLUTION\nf()"
    lines = secret_lines(source)
    assert lines == {"".join(LEAK.split())}
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content)
    assert leaks(tmp_path, lines) == {name: lines}


# --- How the book is made ------------------------------------------------------------------------


@pytest.fixture
def small_book(tmp_path) -> Path:
    """A book of two pages and one lab, made by the real settings, extension and `make.py`."""
    shutil.copytree(ROOT / "book" / "_ext", tmp_path / "book" / "_ext")
    shutil.copytree(ROOT / "book" / "assets", tmp_path / "book" / "assets")
    for name in ("_config.yml", "book/make.py", "book/references.bib"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "gmlib").mkdir()
    (tmp_path / "gmlib" / "number.py").write_text("one")
    page = """\
        ---
        file_format: mystnb
        kernelspec: {name: python3, display_name: Python 3}
        ---
        # The lab's page

        $$ a = b $$ (eq-first)

        Of {eq}`eq-first`.

        ```{code-cell} python
        import os
        print(open("../gmlib/number.py").read(), os.environ["GMLIB_PROFILE"])
        ```

        ```{code-cell} python
        from IPython.display import display
        png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+k"
        png += "cQAAAABJRU5ErkJggg=="
        display({"image/png": png, "text/plain": "One black pixel"}, raw=True)
        display({"image/png": png, "text/plain": "<Figure size 1x1>"}, raw=True)
        ```

        ```{lab}
        ```
        """
    (tmp_path / "book" / "11_first.md").write_text(textwrap.dedent(page))
    (tmp_path / "book" / "index.md").write_text("# Start\n\nSee {doc}`11_first`.\n")
    toc = {
        "format": "jb-book",
        "root": "book/index",
        "parts": [{"caption": "Part 1", "chapters": [{"file": "book/11_first"}]}],
    }
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc))
    text = "# First lab\n\n(shared)=\n## Part\n\n$$ c = d $$ (eq-shared)\n"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    for folder in ("notebooks", "solutions"):
        (tmp_path / folder / "11_first").mkdir(parents=True)
        nbformat.write(notebook, tmp_path / folder / "11_first" / "first.ipynb")
    return tmp_path


def test_make(small_book):
    start, page = small_book / "book" / "index.md", small_book / "book" / "11_first.md"
    out = small_book / "_build" / "instructor" / "html"

    # A warning fails the build, and fails it again when nothing was mended.
    start.write_text("# Start\n\nSee {doc}`no_such_page`.\n")
    for _ in range(2):
        run = make(small_book, "instructor")
        assert run.returncode == 1
        assert "no_such_page" in run.stderr

    start.write_text("# Start\n\nSee {doc}`11_first`.\n")
    assert make(small_book, "instructor").returncode == 0
    lab = text_of(out / "book" / "11_first.html")
    assert "one test" in lab
    assert "Of (11.1)." in lab
    assert "This edition holds the solution" in lab
    source = (out / "book" / "11_first.html").read_text()
    assert source.count('alt="One black pixel"') == 1
    assert 'alt="<Figure' not in html.unescape(source)
    colab = "https://colab.research.google.com/github/generative-models-from-scratch/course/blob"
    assert f'href="{colab}/main/notebooks/11_first/first.ipynb"' in source
    assert "launch-buttons" not in source
    assert "launch-buttons" in (out / "notebooks" / "11_first" / "first.html").read_text()
    assert "First lab (solution)" in text_of(out / "solutions" / "11_first" / "first.html")
    assert "(solution)" not in text_of(out / "notebooks" / "11_first" / "first.html")

    # A change in gmlib runs the pages again.
    (small_book / "gmlib" / "number.py").write_text("two")
    assert "built in" in make(small_book, "instructor").stdout
    assert "two test" in text_of(out / "book" / "11_first.html")

    # A new title is in every sidebar.
    page.write_text(page.read_text().replace("# The lab's page", "# Another name"))
    assert make(small_book, "instructor").returncode == 0
    assert "Another name" in (out / "solutions" / "11_first" / "first.html").read_text()

    # A lab out of the table of contents is out of the book.
    toc = yaml.safe_load((small_book / "_toc.yml").read_text())
    (small_book / "book" / "last.md").write_text("# Last\n\nNothing.\n")
    toc["parts"][0]["chapters"] = [{"file": "book/last"}]
    (small_book / "_toc.yml").write_text(yaml.safe_dump(toc))
    start.write_text("# Start\n\nSee {doc}`last`.\n")
    assert make(small_book, "instructor").returncode == 0
    assert not (out / "book" / "11_first.html").exists()
    assert not list(out.rglob("first*"))

    run = make(small_book, "teacher")
    assert run.returncode == 2
    assert "expected student or instructor; got 'teacher'" in run.stderr


# --- In a browser --------------------------------------------------------------------------------

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# What is wrong with the page as it stands, as a list of sentences.
LOOK = r"""
() => {
  const problems = [];
  const shown = (e) => e.checkVisibility({visibilityProperty: true, opacityProperty: true});
  const article = document.querySelector("article") || document.querySelector("main");
  const short = (s) => s.trim().replace(/\s+/g, " ").slice(0, 60);

  for (const image of document.images) {
    const name = short(image.getAttribute("src") || "").slice(0, 40);
    if (!shown(image)) continue;
    if (!image.complete || image.naturalWidth === 0) problems.push(`image missing: ${name}`);
    else if (image.clientWidth === 0 || image.clientHeight === 0)
      problems.push(`image of no size: ${name}`);
    const alt = image.getAttribute("alt");
    // The theme's own pictures, outside the article, may be decoration; Sphinx writes the
    // file's name where an author wrote nothing.
    if (alt === null || (article.contains(image) && (!alt.trim() || alt.includes("_images/"))))
      problems.push(`image with no alt text: ${name}`);
  }

  for (const error of document.querySelectorAll("[data-mml-node=merror], mjx-merror"))
    problems.push(`math with an error: ${short(error.closest("mjx-container").textContent)}`);
  for (const math of article.querySelectorAll(".math"))
    if (!math.querySelector("mjx-container"))
      problems.push(`math not rendered: ${short(math.textContent)}`);

  const walker = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  const rgba = (colour) => {
    const v = colour.match(/[\d.]+/g).map(Number);
    return v.length === 3 ? [...v, 1] : v;
  };
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) =>
      v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = (top, under) =>
    [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const behind = (e) => {
    const colour = rgba(getComputedStyle(e).backgroundColor);
    if (colour[3] === 1) return colour;
    return over(colour, e.parentElement ? behind(e.parentElement) : [255, 255, 255, 1]);
  };
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent;
    const e = walker.currentNode.parentElement;
    if (!text.trim() || !shown(e) || e.closest("script, style, mjx-container")) continue;
    if (!e.closest("pre, code, .math") && /\\\(|\\\[|\$|\\begin\{/.test(text))
      problems.push(`math as text: ${short(text)}`);
    if (!e.closest("pre, code") && /^\s*\|.*\|\s*$|^#+ |\{[a-z:]+\}\s*$|\]\(\w/m.test(text))
      problems.push(`markdown as text: ${short(text)}`);
    if (seen.has(e) || !e.closest("article")) continue;
    seen.add(e);
    const style = getComputedStyle(e);
    const paper = behind(e);
    const [a, b] = [light(over(rgba(style.color), paper)), light(paper)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5))
      problems.push(`contrast ${ratio.toFixed(1)}: ${short(text)}`);
  }

  // The theme cuts off what is too wide, so the page's own width does not tell.
  const scrolls = (e) => e !== article &&
    (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
  const wide = [...article.querySelectorAll("*")].find((e) =>
    e.getBoundingClientRect().right > innerWidth + 1 && shown(e) && !scrolls(e.parentElement));
  if (wide) problems.push(`wider than the screen: ${short(wide.outerHTML)}`);
  const width = (e) => e.getBoundingClientRect().width;
  for (const e of innerWidth < 1000 ? [] : article.querySelectorAll("div.math mjx-container")) {
    const drawn = e.querySelector("svg");  // a narrow screen scrolls it
    if (drawn && width(drawn) > width(e) + 1)
      problems.push(`equation wider than its column: ${e.closest("div.math").id}`);
  }
  return problems;
}
"""
THEMED = "(scheme) => [undefined, scheme].includes(document.documentElement.dataset.theme)"
LINKS = "() => [...document.links].map((a) => a.href).filter((h) => h.startsWith('file:'))"


def browser_program() -> str:
    """The browser's path; where there is none, the tests skip, and fail on CI."""
    for name in CHROMIUM:
        if path := shutil.which(name):
            return path
    give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    give_up(f"no browser: none of {', '.join(CHROMIUM)} is installed")


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail), ("", pytest.skip)])
def test_no_browser_fails_on_ci_only(monkeypatch, ci, outcome):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome.Exception, match="no browser"):
        browser_program()


@pytest.fixture(scope="session")
def check_page() -> Iterator[Callable[[str], list[str]]]:
    """A function from a page's address to what is wrong with it, at all widths, light and dark."""
    program = browser_program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        context = browser.new_context()
        context.route(re.compile("^https?:"), lambda route: route.abort())
        page = context.new_page()
        problems: list[str] = []
        page.on("console", lambda m: m.type == "error" and problems.append(f"console: {m.text}"))
        page.on("pageerror", lambda error: problems.append(f"console: {error}"))
        page.on("requestfailed", lambda r: problems.append(f"request failed: {r.url[:80]}"))

        def note_network(request) -> None:
            if not request.url.startswith(("file:", "data:", "blob:")):
                problems.append(f"request to the network: {request.url[:80]}")

        page.on("request", note_network)

        def check(address: str) -> list[str]:
            problems.clear()
            page.goto(address)
            page.add_style_tag(content="* { transition: none !important }")
            page.evaluate("() => window.MathJax?.startup?.promise")
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                page.wait_for_function(THEMED, arg=scheme, timeout=10_000)
                for width in WIDTHS:
                    page.set_viewport_size({"width": width, "height": 900})
                    found = page.evaluate(LOOK)
                    problems.extend(f"{p} ({scheme}, {width} px)" for p in found)
            for link in set(page.evaluate(LINKS)):
                if not Path(unquote(urlsplit(link).path)).exists():
                    problems.append(f"dead link: {link}")
            return list(problems)

        check.page = page
        yield check
        browser.close()


@pytest.mark.parametrize("edition", EDITIONS)
def test_pages_open_cleanly(book, edition, check_page):
    folder = book / edition / "html"
    names = [*documents(book, edition), "genindex", "search"]
    found = {name: check_page((folder / f"{name}.html").as_uri()) for name in names}
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_search_works_from_a_file(book, check_page):
    address = (book / "student/html/search.html").as_uri() + "?q=posterior"
    check_page.page.goto(address)
    check_page.page.wait_for_selector("ul.search li a", timeout=10_000)
    assert check_page(address) == []


PIXEL = (
    "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"  # one pixel
)
MATH = '<span class="math">%s</span>'
DONE = MATH % '<mjx-container><svg width="9" height="9"></svg></mjx-container>'
WIDE_MATH = (
    '<div class=math id=eq-a style="width:300px;overflow:auto"><mjx-container '
    'style="display:block;overflow:auto"><svg width=400 height=9></svg></mjx-container></div>'
)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<script>console.error('oh')</script>", "console: oh"),
        ("<script>nothing()</script>", "console: nothing is not defined"),
        ("<link rel=stylesheet href=no.css>", "request failed: file:"),
        ("<script src=https://cdn.invalid/x.js></script>", "request to the network: https://cdn"),
        ("<img src=no.png alt=x width=9>", "image missing: no.png"),
        (f"<img src={PIXEL} alt=x style='width:0'>", "image of no size"),
        (f"<img src={PIXEL}>", "image with no alt text"),
        (f"<img src={PIXEL} alt=' '>", "image with no alt text"),
        (f"<img src={PIXEL} alt='../_images/1f.png'>", "image with no alt text"),
        (MATH % r"\(x\)", r"math not rendered: \(x\)"),
        (r"<p>So \(x\).</p>", r"math as text: So \(x\)."),
        ("<p>So $$x$$.</p>", "math as text: So $$x$$."),
        (r"<p>\begin{equation}</p>", "math as text"),
        ("<mjx-container><svg><g data-mml-node=merror>bad</g></svg></mjx-container>", "math with"),
        ("<p>| a | b |\n| --- | --- |\n| 1 | 2 |</p>", "markdown as text: | a | b |"),
        ("<p>## A title</p>", "markdown as text: ## A title"),
        ("<p>of {eq}<code>eq-a</code></p>", "markdown as text: of {eq}"),
        ("<p>see [that](page)</p>", "markdown as text: see [that](page)"),
        ("<div style='width:500px'>wide</div>", "wider than the screen: <div style"),
        (WIDE_MATH, "equation wider than its column: eq-a (light, 1280 px)"),
        ("<p style='color:#888'>grey</p>", "contrast 3.5: grey (light"),
        ("<p style='color:#000'>black</p>", "contrast 1.1: black (dark"),
        ("<a href=no.html>x</a>", "dead link: file:"),
    ],
)
def test_a_broken_page_is_found(tmp_path, check_page, body, problem):
    style = ":root{color-scheme:light dark;background:#fff;color:#000} a{color:inherit}"
    dark = "@media(prefers-color-scheme:dark){:root{background:#111;color:#fff}}"
    frame = "<!doctype html><title>t</title><style>%s</style><article>%s</article>"
    page = tmp_path / "page.html"
    page.write_text(frame % (style + dark, f"<p>Fine.</p>{DONE}<img src={PIXEL} alt=x>"))
    assert check_page(page.as_uri()) == []
    page.write_text(frame % (style + dark, body))
    found = check_page(page.as_uri())
    assert any(problem in p for p in found), found


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("<div style='width:2000px'>wide</div>", "wider than the screen"),
        ("<img src=no.png alt=x>", "image missing: no.png"),
        (r'<span class="math notranslate nohighlight">\(\notacommand\)</span>', "math with"),
        (r'<span class="math notranslate nohighlight">\(\frac{1}\)</span>', "math with"),
    ],
)
def test_damage_to_a_page_of_the_book_is_found(book, tmp_path, check_page, damage, problem):
    """The theme hides nothing from the checks."""
    page = book / "student/html/book/glossary.html"
    before, after = page.read_text().rsplit("</section>", 1)
    before = before.replace("<head>", f'<head><base href="{page.as_uri()}">', 1)
    damaged = tmp_path / "damaged.html"
    damaged.write_text(f"{before}</section>{after}")
    assert check_page(damaged.as_uri()) == []
    damaged.write_text(f"{before}{damage}</section>{after}")
    found = check_page(damaged.as_uri())
    assert any(problem in p for p in found), found
