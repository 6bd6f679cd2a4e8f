"""Words: which names of keys say that a value is secret.

A name is cut into words where its writer joined them (`api_key`, `apiKey`, `API-Key`), and whole words are compared, so
that `author`, `tokens` and `secretary` hide nothing. This room knows names only, never a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["DEFAULT_KEYS", "Words", "split"]

DEFAULT_KEYS: tuple[str, ...] = (
    *("password", "passwd", "pwd", "passphrase", "passcode", "db pass", "user pass", "smtp pass", "mysql pass"),
    *("secret", "credential", "creds", "auth", "authorization", "oauth", "bearer", "jwt", "otp", "totp"),
    *("private key", "api key", "access key", "signing key", "encryption key", "ssh key", "master key"),
    *("access token", "refresh token", "auth token", "api token", "id token", "session token", "security token"),
    *("csrf token", "xsrf token", "bearer token", "personal token", "bot token", "github token", "gitlab token"),
    *("slack token", "hf token", "npm token", "device token", "client token", "service token", "user token"),
    *("cookie", "csrf", "xsrf", "connection string"),
    *("ssn", "social security", "credit card", "card number", "cvv", "cvc"),
)
"""The names that hide a value unless a policy says otherwise; of each the plural too."""

_SIMPLE = re.compile(r"[^\W_]+")
_PIECE = re.compile(r"[^\W\d_]+|\d+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LONG = 6  # letters of a name that counts also at the end of a longer word, as in "dbpassword", and in pieces
_LONGEST = 256  # letters of a key that are looked at
_KEPT = 4096  # names of which the answer is remembered


def split(name: str) -> list[str]:
    """Cut a name into its words, in lower case."""
    return [word.casefold() for piece in _PIECE.findall(name) for word in _HUMP.split(piece)]


class Words:
    """Tells whether a key is sensitive.

    Args:
        keys: names in words, such as "api key".
        allow: keys that are not sensitive, whatever words they have; or whole paths, with dots.

    Attributes:
        known: what was said of keys before.
    """

    def __init__(self, keys: Iterable[str], allow: Iterable[str] = ()) -> None:
        self._joined = frozenset("".join(split(key)) for key in keys)
        self._several = frozenset("".join(split(key)) for key in keys if len(split(key)) > 1)
        self._runs = max((len(split(key)) for key in keys), default=0) + 1  # one more, for what is written apart
        self._long = tuple(joined for joined in self._joined if len(joined) >= _LONG)
        self.allowed = frozenset(name.casefold() for name in allow)
        self.known: dict[str, bool] = {}

    def find(self, key: str) -> bool:
        """Tell whether the value under a key is to be hidden."""
        known = self.known.get(key)
        if known is None:
            known = key.casefold() not in self.allowed and self._match(key[:_LONGEST])
            if len(self.known) >= _KEPT:
                self.known.clear()
            if len(key) <= _LONGEST:
                self.known[key] = known
        return known

    def find_in(self, path: str, key: str) -> bool:
        """Tell whether the value under a key is to be hidden, where `path` leads to it."""
        return self.find(key) and path.casefold() not in self.allowed

    def _match(self, key: str) -> bool:
        simple = [word.casefold() for word in _SIMPLE.findall(key)]
        return self._match_words(simple) or self._match_words(split(key))

    def _match_words(self, words: list[str]) -> bool:
        for start in range(len(words)):
            joined = ""
            for word in words[start : start + self._runs]:
                # "pass_word" is a password, but "s_sn" is no "ssn"
                names = self._joined if not joined or len(joined + word) >= _LONG else self._several
                joined += word
                if joined in names or joined.removesuffix("s") in names:
                    return True
            if words[start].removesuffix("s").endswith(self._long):
                return True
        return False
