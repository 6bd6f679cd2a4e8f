"""Which keys hide the value under them: whole words, however they are joined."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otflow.redaction.words import DEFAULT_KEYS, Words, split

WORDS = Words(DEFAULT_KEYS)

SENSITIVE = re.findall(
    r"\S+",
    """
    password passWord PASSWORD Password passwords user_password userPassword dbpassword db-passwd PGPASSWORD
    passphrase secret SECRET client_secret clientSecret clientsecret SECRETS secret_key auth Auth-Header authorization
    Proxy-Authorization oauth2 oauth_token credential credentials awsCredentials creds private_key privateKey privatekey
    rsa-private-key ssh_key api_key apiKey APIKey API_KEY OPENAI_API_KEY X-API-Key apikey apikeys openaiapikey api.key
    accessKeyId access_token accessToken ACCESS_TOKEN refresh_token refreshTokens auth_token authToken csrftoken
    csrf_token X-CSRFToken xsrf cookie cookies Set-Cookie jwt JWT jwts my_jwt ssn user.ssn social_security_number
    credit_card creditCard credit_card_number cardNumber cvv password1 password_hash bearer hf_token HF_TOKEN id_token
    user_pass connectionString otp passwd pwd
""",
)

HARMLESS = re.findall(
    r"\S+",
    """
    author authors authored author_name authority authenticated token tokens max_tokens maxTokens token_count next_token
    tokenizer session_id session.id sessionId secretary secretariat passenger passed pass_rate first_pass compass bypass
    monkey keyboard key keys public_key primary_key keyword id cardinal card discard cookiecutter credits credit status
    text name topic result results passing ss ssnake jw_t apic key_api keyapi value input output data otpimal
""",
)


@pytest.mark.parametrize("key", SENSITIVE)
def test_sensitive(key):
    """A key with a word or words that say secret hides its value."""
    assert WORDS.find(key)


@pytest.mark.parametrize("key", HARMLESS)
def test_harmless(key):
    """A key that only looks like one, or has the letters of one in another word, hides nothing."""
    assert not WORDS.find(key)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("APIKey", ["api", "key"]),
        ("getHTTPResponse2XX", ["get", "http", "response", "2", "xx"]),
        ("x-api_key.v1", ["x", "api", "key", "v", "1"]),
        ("größe", ["grösse"]),
        ("---", []),
    ],
)
def test_split(key, words):
    """Words end where the writer joined them: by signs, by capitals, by digits."""
    assert split(key) == words


def test_allowed_keys_are_shown():
    """A key on the allow list hides nothing, in whatever case it is written; others with the same word do."""
    words = Words(DEFAULT_KEYS, ["auth_method", "user.cookie"])
    assert not words.find("auth_method")
    assert not words.find("Auth_Method")
    assert words.find("auth_header")
    assert not words.find_in("user.cookie", "cookie")
    assert words.find_in("other.cookie", "cookie")


def test_own_keys():
    """Names of a user count like the given ones, and without any nothing is sensitive."""
    words = Words(["tax id", "PIN"])
    assert [key for key in ("taxId", "TAX_IDS", "pin", "user-pin", "spin", "password") if words.find(key)] == [
        "taxId",
        "TAX_IDS",
        "pin",
        "user-pin",
    ]
    assert not Words([]).find("password")


@given(st.sampled_from(["api key", "password", "credit card"]), st.sampled_from("_-. "), st.booleans(), st.booleans())
def test_spellings(name, sign, upper, camel):
    """A name counts in snake, kebab and camel case, and in capitals."""
    first, *rest = name.split()
    key = first + "".join(map(str.capitalize, rest)) if camel else sign.join([first, *rest])
    assert WORDS.find(f"my{sign}{key.upper() if upper and not camel else key}")


def test_what_is_remembered_is_bounded():
    """Endlessly many keys, and endless ones, take no endless memory."""
    words = Words(DEFAULT_KEYS)
    for number in range(10_000):
        words.find(f"key{number}")
    assert words.find("password" + "x" * 100_000) is words.find("password" + "x" * 100_000)
    assert len(words.known) <= 4096
    assert max(map(len, words.known)) <= 256
