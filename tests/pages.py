"""Parser for HTML pages in tests."""

from html.parser import HTMLParser


class Tags(HTMLParser):
    """HTML parser that checks the nesting of tags and collects the values of `src` and `href`."""

    VOID = frozenset({"meta", "img", "br", "line", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.addresses += [value for key, value in attrs if key in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag
