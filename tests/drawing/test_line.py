"""Lines: pieces of text with styles, measured in columns of a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otflow.drawing.line import ASCII, UNICODE, Piece, clean, cut, glue, measure, measure_line, plain, wrap

TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" ab漢e\u0301"), max_size=60)
LINES = st.lists(st.builds(Piece, TEXTS, st.sampled_from(["", "bad"])), max_size=5).map(tuple)


@given(TEXTS)
def test_what_is_clean_is_harmless(text):
    """Nothing that a terminal would obey is left: no control characters, no line ends, no change of direction."""
    cleaned = clean(text)
    assert all(
        character.isprintable() or character == "\N{NO-BREAK SPACE}" or measure(character) for character in cleaned
    )
    assert not set("\x00\x07\x1b\x9b\n\r\t\u202e\u2028\u200b") & set(cleaned)
    assert len(cleaned) == len(text)


def test_what_is_harmless_stays():
    """Ordinary text in any script is left as it is."""
    for text in ("plain", "Grüße 漢字 e\u0301", '{"a": [1, 2]}'):
        assert clean(text) == text
    assert clean("a\x1b[31m\nb") == "a\N{REPLACEMENT CHARACTER}[31m b"


@given(LINES, st.integers(1, 30))
def test_wrapped_lines_fit(line, width):
    """No wrapped line is wider than it may be, if each character fits, and no text but blanks is lost."""
    rows = wrap(line, width)
    assert all(measure_line(row) <= max(width, 2) for row in rows)

    def dense(text: str) -> str:
        return "".join(text.split())

    assert dense("".join(plain(row) for row in rows)) == dense(clean("".join(piece.text for piece in line)))


@given(LINES, st.integers(3, 30))
def test_cut_lines_fit(line, width):
    """A line that is cut off fits, ends with the sign for it, and begins as before."""
    row = cut(line, width, "…")
    whole, text = "".join(piece.text for piece in line), "".join(piece.text for piece in row)
    assert measure_line(row) <= width
    if measure(whole) <= width:
        assert row == line
    else:
        assert text.endswith("…")
        assert whole.startswith(text[:-1])


def test_columns():
    """Wide characters take two columns, combining ones none."""
    assert [measure(text) for text in ("abc", "漢字", "e\u0301", "")] == [3, 4, 1, 0]
    assert plain(cut((Piece("漢字漢字"),), 6, "…")) == "漢字…"
    assert plain(cut((Piece("ab"), Piece("cdef"), Piece("gh")), 5, "…")) == "abcd…"


def test_words_stay_whole():
    """Lines break at blanks; what is glued stays together; only a word that is too long is broken."""
    line = (Piece("one two", "bad"), Piece(" three"), Piece(f" {glue('50 ms')}"))
    assert [plain(row) for row in wrap(line, 10)] == ["one two", "three", "50 ms"]
    assert [plain(row) for row in wrap((Piece("abcdefgh"),), 3)] == ["abc", "def", "gh"]
    assert wrap((), 10) == [()]
    assert wrap((Piece("one two", "bad"),), 4) == [(Piece("one", "bad"),), (Piece("two", "bad"),)]


def test_signs_stand_in_columns():
    """The signs that make up the tree are equally wide in both sets, and those of ASCII are ASCII."""
    for name in ("fork", "last", "bar", "gap", "then", "into"):
        assert measure(getattr(UNICODE, name)) == measure(getattr(ASCII, name))
    assert "".join(ASCII).isascii()
