"""Secrets in messages and stacks: what stands behind a sensitive key goes, everything else stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow.redaction.texts import scrub, scrub_values
from otflow.redaction.words import DEFAULT_KEYS, Words

WORDS = Words(DEFAULT_KEYS)
R = "__REDACTED__"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("password=hunter2 user=bob", f"password={R} user=bob"),
        ("password = hunter2, user", f"password = {R}, user"),
        ("Login(user='bob', password='hunter2')", f"Login(user='bob', password={R})"),
        ("{'password': 'a\\'b', 'user': 'bob'}", f"{{'password': {R}, 'user': 'bob'}}"),
        ('{"api_key": ["a", "b"], "x": 1}', f'{{"api_key": {R}, "x": 1}}'),
        ("secret: {a: (1, ']')} rest", f"secret: {R} rest"),
        ("secret: [never closed", f"secret: {R}"),
        ("password='never closed", f"password={R}"),
        ("password=b'bytes' x", f"password={R} x"),
        ('"{\\"password\\": \\"hunter2\\"}"', f'"{{\\"password\\": {R}}}"'),
        ("Authorization: Bearer abc.def user", f"Authorization: {R} user"),
        ("sent Bearer abcdefgh to x", f"sent Bearer {R} to x"),
        ("headers['Authorization'] = 'x y' z", f"headers['Authorization'] = {R} z"),
        ("Incorrect API key provided: sk-123. see", f"Incorrect API key provided: {R} see"),
        ("postgres://user:pass@host/db", f"postgres://{R}@host/db"),
        ("GET /x?token=abc&page=1", f"GET /x?token={R}&page=1"),
        ("api_key => abc", f"api_key => {R}"),
        ("[input_value='hunter2', input_type=str]", f"[input_value={R}, input_type=str]"),
        ("password:\n  next line", "password:\n  next line"),
        ("run --password=hunter2 -x", f"run --password={R} -x"),
        ("--api-key=sk-1 --user=bob", f"--api-key={R} --user=bob"),
        ("-Dpassword=hunter2 -x", f"-Dpassword={R} -x"),
        ("f().password = 'x' y", f"f().password = {R} y"),
        ("2fa_secret=abc d", f"2fa_secret={R} d"),
        ("Command '['x', '--password', 'hun ter', '-v']' failed", f"Command '['x', '--password', {R}, '-v']' failed"),
        ("['x', '--password=hun ter', '-v']", f"['x', '--password={R}', '-v']"),
        ("Command 'x --password hunter2 -v' failed", f"Command 'x --password {R} -v' failed"),
        ("Command 'x --api-key hunter2' failed", f"Command 'x --api-key {R}' failed"),
        ("--password 'hun ter' -v", f"--password {R} -v"),
        ("https://user:p@ss@host/db", f"https://{R}@host/db"),
        ("https://user:p:@@host x@y", f"https://{R}@host x@y"),
        ("https:\\/\\/user:pass@host\\/", f"https:\\/\\/{R}@host\\/"),
        ("Cookie: a=b; session=x\nHost: y", f"Cookie: {R}\nHost: y"),
        ("Set-Cookie: sid=x; Path=/\r\nHost: y", f"Set-Cookie: {R}\r\nHost: y"),
        ("b'Cookie: a=b; c=d\\r\\nHost: y'", f"b'Cookie: {R}\\r\\nHost: y'"),
        ("curl -H 'Cookie: a=b; c=d' http://x", f"curl -H 'Cookie: {R}' http://x"),
        ("Proxy-Authorization: AWS4 Credential=x, Sig=y\nz", f"Proxy-Authorization: {R}\nz"),
        ('Authorization: Digest username="u", response="x"\nz', f"Authorization: {R}\nz"),
        ('sent Digest username="u", response="x y", a=b to', f"sent Digest {R} to"),
        ("[('password', 'hunter2'), ('user', 'bob')]", f"[('password', {R}), ('user', 'bob')]"),
        ("(b'authorization', b'Basic abc')", f"(b'authorization', {R})"),
        ('(\\"api_key\\", \\"x\\")', f'(\\"api_key\\", {R})'),
        (
            "x -----BEGIN RSA PRIVATE KEY-----\nabc\ndef\n-----END RSA PRIVATE KEY----- y",
            f"x -----BEGIN RSA PRIVATE KEY-----{R}-----END RSA PRIVATE KEY----- y",
        ),
        (
            f"-----BEGIN PRIVATE KEY-----\\n{'Ab+/' * 16}\\n{'Ab+/' * 16} and more",
            f"-----BEGIN PRIVATE KEY-----{R} and more",
        ),
    ],
)
def test_hidden(text, told):
    """The value behind a sensitive key is hidden, whether quoted, in brackets or plain."""
    assert scrub(text, WORDS) == told


@pytest.mark.parametrize(
    "text",
    [
        "Unexpected token: <",
        "otflow.AuthError: it did not work",
        "SecretNotFoundException: x",
        "DeprecatedAuthWarning: x",
        "auth failed for user: bob",
        "token=='a'",
        "the author: Ada, tokens: 12, session_id=7",
        "std::password",
        "https://host/path@2",
        "https://host, bob@host, 'https://host','bob@host'",
        "git@github.com:a/b and bob@host",
        "argument --password: expected one argument",
        "the following arguments are required: --password, --api-key",
        "use --password to log in",
        "usage: x [--password PASSWORD] [--api-key API_KEY] [--secret TEXT] [--auth <auth>]",
        "unknown options ['--password', '--user']",
        "missing fields ['password', 'email'], see ('password', 'email', 'name') and ('password', 3)",
        "print('--password ' + name)",
        "Digest size=32 is wrong",
        "cannot find -----BEGIN PRIVATE KEY----- in file x",
        "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----",
        "",
    ],
)
def test_kept(text):
    """What is no secret stays as it is, above all the names and the words of errors."""
    assert scrub(text, WORDS) == text


@given(
    st.sampled_from(["password", "api_key", "clientSecret", "Authorization"]),
    st.sampled_from(["=", ": ", " = ", "': '", '": "']),
    st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=8, max_size=20),
    st.text(max_size=30),
)
def test_a_value_behind_a_sensitive_key_never_stays(key, joint, value, before):
    """Whatever stands before it, a word behind a sensitive key is hidden."""
    assert value not in scrub(f"{before} {key}{joint}{value}", WORDS).removeprefix(before)


@given(st.text())
def test_any_text_can_be_scrubbed(text):
    """No text is too odd."""
    assert isinstance(scrub(text, WORDS), str)


def test_given_values():
    """Given values go in each way of writing them."""
    value = "it's\n secret"
    assert scrub_values(f"a {value} b {value!r} c", [value]) == f'a {R} b "{R}" c'
