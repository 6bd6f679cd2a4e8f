"""`otflow demo`, from outside: what a stranger sees, on any screen, with any folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from otflow.drawing.line import measure

ROOT = Path(__file__).resolve().parents[2]
HEADING = re.compile(r"^(?:──|--) (.*?) (?:─|-)+$", re.MULTILINE)
PLACE = re.compile(r"^      (\S.*?):(\d+)(?:-(\d+))?$")
ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[[\d;]*m")


def environment(**settings: str) -> dict[str, str]:
    """Give an environment in which nothing is set that changes what is shown."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **settings}


def otflow(*arguments: object, cwd: Path = ROOT, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, with its output going to a pipe."""
    command = [sys.executable, "-m", "otflow", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment(**settings), capture_output=True, text=True, check=False)


def on_terminal(*arguments: object, **settings: str) -> str:
    """Run the demo on a terminal, and give everything that reached it."""
    master, slave = os.openpty()
    command = [sys.executable, "-m", "otflow", "demo", *map(str, arguments)]
    with subprocess.Popen(
        command, env=environment(COLUMNS="80", **settings), stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        seen = b""
        while data := _read(master):
            seen += data
    os.close(master)
    assert process.returncode == 0, seen.decode()
    return seen.decode().replace("\r\n", "\n")


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # how Linux says that the other side is closed
        return b""


def section(shown: str, title: str) -> str:
    """Give what stands under a heading."""
    parts = HEADING.split(shown)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


def read_quotes(answer: str) -> list[tuple[str, int, int, str]]:
    """Read the quotes of an answer: file, first and last line, and text."""
    quotes, text = [], []
    for line in answer.splitlines():
        if match := PLACE.match(line):
            quotes.append((match[1], int(match[2]), int(match[3] or match[2]), " ".join(text)))
            text = []
        elif line.strip():
            text.append(re.sub(r"^\[\d\] ", "", line.strip()))
    return quotes


def check_quotes(answer: str, root: Path) -> int:
    """See that each quote stands in the lines that it names; gives how many there are."""
    quotes = read_quotes(answer)
    for path, first, last, text in quotes:
        lines = (root / path).read_text(encoding="utf-8").split("\n")[first - 1 : last]
        assert " ".join(text.split()) in " ".join(" ".join(lines).split())
    return len(quotes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with a few small texts."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "tea.txt").write_text(
        "Tea\n\nGreen tea is brewed with water of eighty\ndegrees, for two minutes. It turns bitter otherwise.\n"
    )
    (tmp_path / "notes" / "bread.md").write_text("# Bread\n\nA sourdough loaf is baked for forty minutes.\n")
    return tmp_path


# --- what is shown ------------------------------------------------------------------------------------------


def test_the_first_run():
    """Without any argument the demo answers a question about otflow, with quotes that stand where they say."""
    done = otflow("demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert ESCAPE not in done.stdout
    assert check_quotes(section(done.stdout, "Answer"), ROOT) >= 1
    assert "otflow demo --path FOLDER" in done.stdout
    assert max(map(measure, done.stdout.splitlines())) <= 80


def test_the_story(folder):
    """The search fails while the index is written, is tried again, and looks less and less strictly."""
    done = otflow("demo", "-p", folder, "-q", "How many minutes is green tea brewed, and a loaf baked?")
    lines = [re.sub(r"attempt \d+", "attempt 2", line.strip()) for line in done.stdout.splitlines()]
    story = [
        "✓ scan    found 2 files; up to four are read at once",
        "✗ search  failed: database is locked. The index is still being written; the",
        "✓ build   indexed 2 passages of 2 files",
        "✓ search  attempt 2 got in: the index is complete",
        "· judge   words near each other: 0 passages, too few: look less strictly",
        "· judge   all words in one passage: 0 passages, too few: look less strictly",
        "✓ judge   any of the words: 2 passages, all there is",
    ]
    assert [line for line in lines if line in story] == story
    answer = section(done.stdout, "Answer")
    assert "eighty degrees, for two minutes." in " ".join(answer.split())
    assert f"{folder}/notes/tea.txt:3-4" in answer
    assert check_quotes(answer, Path("/")) == 2


def test_the_tree(folder):
    """The run is drawn from its records: each step under its cause, the retry with its reason and its delay."""
    tree = section(otflow("demo", "-p", folder, "-q", "green tea").stdout, "The run, drawn from its records")
    assert re.search(r"^AskFiles  run [0-9a-f]{8}  completed +waited +worked$", tree, re.MULTILINE)
    heads = re.findall(r"^([│├└─↓ ]*)(\w+) ▸ (\w+) #\d+", tree, re.MULTILINE)
    assert [(indent.count("│") or len(indent) // 3, event, step) for indent, event, step in heads[:1]] == [
        (1, "Begin", "scan")
    ]
    assert [step for _, _, step in heads] == [
        *("scan", "read", "build", "read", "build"),
        *("ask", "search", "judge", "search", "judge", "search", "judge", "word", "finish"),
    ]
    assert "✗ attempt 1: OperationalError: database is locked" in tree
    assert re.search(r"✓ attempt \d after a delay of \d+ ms +(\d+ ms|[\d.]+ m?s)", tree)
    assert re.search(r"collected 2 \S Lines from read #\d+, #\d+\n", tree)
    assert "wrote files = 2" in tree
    assert "sent Report, which ended the run" in tree
    assert re.search(r"^8 steps · 1[5-9] attempts · [1-5] retr(y|ies) · 14 events · 7 writes · ", tree, re.MULTILINE)


def test_several_questions(folder):
    """Each question has its answer, in the order in which they were asked; one that has none says so."""
    questions = ["How is green tea brewed?", "How long is sourdough baked?", "Who won the 1987 regatta?"]
    done = otflow("demo", "--path", folder, *(part for each in questions for part in ("--question", each)))
    assert done.returncode == 0
    titles = HEADING.findall(done.stdout)
    assert titles == [*(f"Answer: {each}" for each in questions), "The run, drawn from its records"]
    assert check_quotes(section(done.stdout, titles[0]), Path("/")) == 1
    assert check_quotes(section(done.stdout, titles[1]), Path("/")) == 1
    assert "Nothing in these files answers this." in section(done.stdout, titles[2])
    assert 'the words "won", "1987" or "regatta"' in " ".join(section(done.stdout, titles[2]).split())
    assert "question 3: any of the words: 0 passages, no answer in them" in done.stdout
    assert re.search(r"collected 3 \S Answer from word", done.stdout)


def test_many_files_are_folded(folder):
    """Of many files that go the same way one is drawn, and the others are counted."""
    for number in range(20):
        (folder / f"{number}.txt").write_text(f"File {number} says nothing at all about tea.\n")
    tree = otflow("demo", "-p", folder, "-q", "green tea").stdout
    assert re.search(r"… (19|20) more like this", tree)
    assert tree.count("▸ read") <= 3


# --- where it is shown --------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_narrow_and_wide(folder, columns):
    """No line is wider than the screen, down to 40 columns, nor wider than is good for reading."""
    done = otflow("demo", "-p", ".", "-q", "How is green tea brewed, pray?", cwd=folder, COLUMNS=str(columns))
    width = min(max(columns, 40), 100)
    assert [line for line in done.stdout.splitlines() if measure(line) > width] == []


def test_without_unicode(folder):
    """Where the encoding has no Unicode, everything is ASCII, even what is quoted."""
    (folder / "notes" / "maté.txt").write_text("Maté tea is drunk from a calabash — always.\n", encoding="utf-8")
    done = otflow("demo", "-p", folder, "-q", "calabash tea", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "Mat? tea is drunk from a calabash ? always." in done.stdout
    assert "`- Begin > ask" in done.stdout


def test_on_a_terminal(folder):
    """A terminal gets colours, a line that moves while the run goes on, and its cursor back."""
    seen = on_terminal("-p", folder, "-q", "green tea", TERM="xterm-256color")
    assert COLOUR.search(seen)
    assert "\x1b[?25l" in seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
    assert "Answer" in seen


def test_without_colours(folder):
    """With NO_COLOR a terminal gets no colours."""
    seen = on_terminal("-p", folder, "-q", "green tea", TERM="xterm-256color", NO_COLOR="1")
    codes = {code for style in COLOUR.findall(seen) for code in style[2:-1].split(";")}
    assert codes <= {"", "0", "1", "2"}  # nothing but bold and faint


def test_colours_in_a_pipe(folder):
    """With FORCE_COLOR a pipe gets colours too, but nothing that moves."""
    done = otflow("demo", "-p", folder, "-q", "green tea", FORCE_COLOR="1")
    assert COLOUR.search(done.stdout)
    assert ESCAPE not in COLOUR.sub("", done.stdout)


def test_dumb_terminals(folder):
    """A terminal that can nothing gets plain text."""
    assert ESCAPE not in on_terminal("-p", folder, "-q", "green tea", TERM="dumb")


def test_nothing_harms_the_terminal(folder):
    """What a file, its name or a question holds is shown, and not obeyed."""
    (folder / "notes" / "evil\x1b[31m.txt").write_text("Green tea\x1b]0;owned\x07 is brewed\x9b31m here, they say.\n")
    done = otflow("demo", "-p", folder, "-q", "green\x1b[5m tea they say")
    assert done.returncode == 0
    assert "Green tea\N{REPLACEMENT CHARACTER}]0;owned" in done.stdout
    assert not set("\x1b\x07\x9b") & set(done.stdout)


def test_a_reader_that_has_seen_enough(folder):
    """When nobody reads any more, the demo ends without a word."""
    with subprocess.Popen(
        [sys.executable, "-m", "otflow", "demo", "-p", str(folder)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


# --- what can be wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["demo", "-p", "missing"], "missing does not exist: name a folder with text files."),
        (["demo", "-p", "empty"], "empty holds no file to read: name a folder with text files."),
        (["demo", "-p", "notes/tea.txt"], "notes/tea.txt is not a folder: name the folder that holds the text files."),
        (["demo", "-q", "?!"], '--question "?!" has no word to look for: ask in words.'),
        (["demo", "--folder", "x"], "No such option: --folder (otflow --help says what there is)"),
        (["demo", "-p"], "Option '-p' requires an argument. (otflow --help says what there is)"),
        (["xyzzy"], "No such command 'xyzzy'. (otflow --help says what there is)"),
    ],
)
def test_wrong_usage(folder, arguments, complaint):
    """Wrong usage is one line that says what to do, and exit code 2."""
    (folder / "empty").mkdir()
    done = otflow(*arguments, cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"otflow: {complaint}\n")


def test_nothing_but_noise(folder):
    """A folder without any text ends the run, which is drawn all the same; exit code 1."""
    for path in (folder / "notes").iterdir():
        path.write_bytes(b"\0\1\2")
    (folder / "dangling.txt").symlink_to("nowhere")
    (folder / "blank.txt").touch()
    done = otflow("demo", "-p", "notes/..", cwd=folder)
    assert done.returncode == 1
    assert done.stderr == (
        "otflow: Error in step 'build': There is no text in notes/.., only 1 file (No such file or directory), "
        "2 files (not text), 1 empty file. Name a folder with text files: --path FOLDER.\n"
    )
    assert "The run failed by build #" in done.stdout


def test_what_cannot_be_read_is_left_out(folder):
    """Files that are no text, or cannot be read, are named and left out; the others answer."""
    (folder / "picture.png").write_bytes(b"\x89PNG\0\0")
    (folder / "dangling.txt").symlink_to("nowhere")
    (folder / "latin.txt").write_bytes("Grüner Tee".encode("latin-1"))
    (folder / os.fsdecode(b"name-\xff.txt")).write_text("No one can cite this name.\n")
    done = otflow("demo", "-p", folder, "-q", "How is green tea brewed?")
    assert (done.returncode, done.stderr) == (0, "")
    shown = " ".join(done.stdout.split())
    assert (
        "of 2 files; left out 2 files (No such file or directory), 1 file (not text), 1 file (not text in UTF-8)"
        in shown
    )
    assert check_quotes(section(done.stdout, "Answer"), Path("/")) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_forbidden_files(folder):
    """A file that may not be read is left out, with the reason."""
    (folder / "secret.txt").touch(mode=0)
    done = otflow("demo", "-p", folder, "-q", "How is green tea brewed?")
    assert "left out 1 file (Permission denied)" in done.stdout


def test_help():
    """Each help says what there is, what it is for, and what the exit codes mean."""
    assert otflow().stdout == otflow("--help").stdout == otflow("-h").stdout
    assert "demo        Answer questions from text files, and draw the run." in otflow("--help").stdout
    shown = otflow("demo", "--help").stdout
    for word in (
        "--path FOLDER",
        "--question TEXT",
        "--offline",
        "OPENAI_API_KEY",
        "2    the command was used wrongly",
    ):
        assert word in shown
    assert re.fullmatch(r"otflow \d+\.\d+\.\d+\n", otflow("--version").stdout)
