"""What of an HTML page would act in a browser and was made by an attack."""

import re
from html.parser import HTMLParser

MARK = re.compile(r"pwned", re.I)
# Elements that run, load or send something whatever their attributes are.
ACTIVE = {
    "script", "iframe", "frame", "object", "embed", "applet", "base", "meta", "link", "form",
    "input", "button", "audio", "video", "source", "portal", "animate", "set", "foreignobject",
}  # fmt: skip
ADDRESSES = {
    "href",
    "xlink:href",
    "src",
    "srcset",
    "action",
    "formaction",
    "data",
    "poster",
    "background",
}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inside: list[str] = []  # the open elements whose text is not shown but read

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attributes)
        if tag in ("script", "style"):
            self.inside.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            text = re.sub(r"[\s\x00-\x20]", "", value or "").lower()
            ours = MARK.search(text) or "uFdORUQ" in (value or "")
            acts = name.startswith("on") or name in ("srcdoc", "style", *ADDRESSES)
            if tag == "a" and name == "href":  # a link that somebody has to follow is none
                acts = not text.startswith(("http:", "https:", "mailto:", "#"))
            if ours and (acts or tag in ACTIVE):
                self.found.append(f"<{tag} {name}={(value or '')[:80]!r}>")

    def handle_endtag(self, tag: str) -> None:
        if self.inside and tag == self.inside[-1]:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if self.inside and MARK.search(data):
            at = MARK.search(data).start()
            self.found.append(f"in <{self.inside[-1]}>: {data[max(0, at - 40) : at + 40]!r}")


def acts(html: str) -> list[str]:
    """Each place where something of an attack is more than text."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.found
