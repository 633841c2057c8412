"""The page as HTML: whatever is on it, nothing is fetched, and no name can do anything."""

import dataclasses
import os
import re
import stat
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from tests.zqc.report.html.pages import HOSTILE, bare, diagnosed, full
from zqc.errors import OutputError
from zqc.report.html.page import Page, Verdict
from zqc.report.html.render import render, write

VOID = {"meta", "img", "input", "br", "link", "hr"}
SECTIONS = {
    "pictures",
    "detections",
    "classes",
    "outputs",
    "layers",
    "steps",
    "ranges",
    "calibration",
    "recipe",
}


class Reader(HTMLParser):
    """Reads a page: its elements, their nesting, and the text in them."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Note an element that holds nothing."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """Every element ends before the one around it."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Note the text."""
        self.texts.append(data)

    def ids(self, tag):
        """Identifiers of all elements of a kind."""
        return {found["id"] for name, found in self.elements if name == tag and "id" in found}


def test_nothing_but_a_verdict():
    """A page that knows little has no empty section, no table and no link to one."""
    read = Reader(render(bare()))
    tags = {tag for tag, _ in read.elements}
    assert {"h1", "h2", "svg"} <= tags
    assert not tags & {"section", "table", "nav", "figure", "dl", "pre"}
    assert "Good" in read.texts


def test_nothing_at_all():
    """Not even a verdict is needed."""
    read = Reader(render(Page("model.onnx", "Compilation", "1.0")))
    assert "h2" not in {tag for tag, _ in read.elements}


def test_everything():
    """Every section is there, the way to it too, and all elements are closed as they nest."""
    read = Reader(render(full()))
    assert read.ids("section") == SECTIONS
    links = {found["href"] for tag, found in read.elements if tag == "a"}
    assert links == {f"#{name}" for name in SECTIONS} | {"#top"}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Page)])
def test_every_part_may_be_missing(field):
    """Whatever part is left out, the others stand."""
    if field in ("model", "kind", "version"):
        return
    default = next(f.default for f in dataclasses.fields(Page) if f.name == field)
    Reader(render(dataclasses.replace(full(), **{field: default})))


@pytest.mark.parametrize("word", ["good", "usable with care", "broken", "not judged"])
def test_a_verdict_is_said_in_words(word):
    """The word is text, so that it is neither colour nor drawing alone."""
    verdict = Verdict(word, "because")
    assert word.capitalize() in Reader(render(dataclasses.replace(bare(), verdict=verdict))).texts


def test_names_do_nothing():
    """Names with markup, quotes and templates in them come out as text, and add no element."""
    hostile, harmless = Reader(render(full(HOSTILE))), Reader(render(full()))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in harmless.elements]
    assert sum(tag == "script" for tag, _ in hostile.elements) == 1
    for (_, found), (_, expected) in zip(hostile.elements, harmless.elements, strict=True):
        assert found.keys() == expected.keys()
    assert HOSTILE in "".join(hostile.texts)
    assert "49" not in {text.strip() for text in hostile.texts}


def test_a_verdict_of_another_question():
    """A title stands in the place of the word."""
    verdict = Verdict("not judged", "because", title="Spare 2 layers")
    texts = Reader(render(dataclasses.replace(bare(), verdict=verdict))).texts
    assert "Spare 2 layers" in texts
    assert "Not judged" not in texts


def test_names_of_diagnosed_layers_do_nothing():
    """The same of the columns and charts of a diagnosis, and of its marks."""
    hostile, harmless = Reader(render(diagnosed(HOSTILE))), Reader(render(diagnosed()))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in harmless.elements]
    for drawing in re.findall(r"<svg.*?</svg>", render(diagnosed(HOSTILE)), re.DOTALL):
        ET.fromstring(drawing)


def test_diagnosed_layers():
    """Worst first, each with its place in the graph, which the charts keep; no kernel is told."""
    html = render(diagnosed())
    found = [attributes for tag, attributes in Reader(html).elements if tag == "tr"][1:]
    assert [(row["data-rank"], row["data-place"]) for row in found] == [
        ("1", "2"),
        ("2", "1"),
        ("3", "3"),
    ]
    assert [row.get("class") for row in found] == ["wrong", None, None]
    texts = {text.strip() for text in Reader(html).texts}
    assert {"Worst first", "Local", "gain, dB", "cumulative, dB", "threshold, log₂"} <= texts
    assert not {"Kernel", "scale, k of 2ᵏ"} & texts
    assert {"−1.5 … 2", "−240 B", "+0.7", "−0.6", "1.00 %"} <= texts
    bars = re.findall(r'<rect class="hanging boxes[^>]*><title>([^<]*)</title>', html)
    assert [bar.split(":")[0] for bar in bars] == ["sneaker", "depthwise", "last"]


def test_steps():
    """Each row names the layers that it adds, and the one that is suggested says so."""
    html = render(full()).partition('id="steps"')[2].partition("</section>")[0]
    first, second = html.partition("<tbody>")[2].split("</tr>")[:2]
    assert first.count("layer-name") == 1
    assert second.count("layer-name") == 2
    assert ("suggested" in first, "suggested" in second) == (False, True)


def test_nothing_is_fetched():
    """No address of the network stands in it, and the page forbids itself to use one."""
    html = render(full())
    assert not re.search(r"https?:|//[a-z]+\.[a-z]|@import|url\(", html)
    for tag, found in Reader(html).elements:
        assert tag not in ("link", "iframe", "object", "embed")
        for name in ("src", "href"):
            assert (found.get(name) or "#").startswith(("#", "data:image/"))
    policy = next(f for t, f in Reader(html).elements if t == "meta" and "http-equiv" in f)
    assert policy["content"].startswith("default-src 'none'")


def test_drawings_are_xml():
    """Every drawing parses as XML, hostile names included."""
    for name in ("sneaker", HOSTILE):
        drawings = re.findall(r"<svg.*?</svg>", render(full(name)), re.DOTALL)
        assert len(drawings) >= 9
        for drawing in drawings:
            ET.fromstring(drawing)


def test_the_same_bytes(tmp_path):
    """The same page gives the same bytes: there is no date, and no random name."""
    for name in "ab":
        write(tmp_path / f"{name}.html", full())
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == render(full())


def test_what_is_unknown_has_no_column():
    """Columns of tables are those of which something is known."""
    page = full()
    bare_layer = dataclasses.replace(page.layers[1], integer=True, reason="")
    texts = Reader(render(dataclasses.replace(page, layers=(bare_layer,)))).texts
    assert "Operator" in texts
    assert not {"Clipped", "Cumulative"} & set(texts)
    assert {"Clipped ", "Cumulative "} & set(Reader(render(page)).texts)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path):
    """A folder that may not be written to is said so."""
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(OutputError, match="no permission"):
        write(tmp_path / "report.html", bare())


def test_no_folder(tmp_path):
    """A folder that is missing is said so."""
    with pytest.raises(OutputError, match="does not exist"):
        write(tmp_path / "missing" / "report.html", bare())


def luminance(colour):
    """Relative luminance of #rrggbb or #rgb (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_text_can_be_read(scheme):
    """Every colour of text has a contrast of 4.5 to every ground that it stands on."""
    css = render(bare()).partition("</style>")[0]
    start = {
        "light": ":root {",
        "dark": ':root[data-theme="dark"] {',
        "print": "@media print",
    }[scheme]
    block = css[css.index(start) :].partition("}")[0]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+);", block))
    grounds = dict.fromkeys(("ink", "soft", "accent"), ("ground", "surface", "raised"))
    grounds |= dict.fromkeys(("float", "quantized"), ("surface", "raised"))
    grounds |= {n: (f"{n}-tint", "surface", "raised") for n in ("good", "care", "broken")}
    grounds["ink"] += ("good-tint", "care-tint", "broken-tint")
    for text, behind in grounds.items():
        for ground in behind:
            low, high = sorted(luminance(colours[name]) for name in (text, ground))
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{text} on {ground}"
