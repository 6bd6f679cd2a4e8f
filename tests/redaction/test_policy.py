"""A policy: frozen, checked at once, with all its faults in one message."""

from __future__ import annotations

import pytest

from otflow.errors import WorkflowConfigurationError
from otflow.redaction import DEFAULT_KEYS, Redaction


def test_defaults():
    """Without arguments the given names hide, nothing is allowed, and nobody is asked."""
    policy = Redaction()
    assert (policy.keys, policy.extra_keys, policy.allow, policy.callback) == (DEFAULT_KEYS, (), (), None)
    assert (policy.hide_inputs, policy.hide_outputs) == (False, False)


def test_frozen():
    """A policy does not change, nor does it when the list changes that it was made from."""
    names = ["tax id"]
    policy = Redaction(extra_keys=names)
    names.append("x")
    assert policy.extra_keys == ("tax id",)
    with pytest.raises(AttributeError):
        policy.allow = ("x",)


def test_all_faults_at_once():
    """One message names everything that is wrong, where, and what to write instead."""
    with pytest.raises(WorkflowConfigurationError) as caught:
        Redaction(keys="password", extra_keys=["ok", 5, "--"], allow=7, callback="f", hide_inputs=1, hide_outputs=None)
    text = str(caught.value)
    assert "keys='password' is no collection of names: write keys=('password',)" in text
    assert "extra_keys has 5, '--'" in text
    assert "allow=7 is no collection" in text
    assert "callback='f' cannot be called" in text
    assert "hide_inputs=1 is neither True nor False" in text
    assert "hide_outputs=None is neither True nor False" in text
