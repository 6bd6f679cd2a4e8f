"""Laws of the services: what is put under a name is found under it."""

from __future__ import annotations

import pytest

from otflow.errors import OtflowError
from otflow.service import ServiceManager, ServiceNotFoundError


def test_a_service_is_found_under_its_name():
    """What was put last under a name is what the name gives, default or not."""
    services, first, second = ServiceManager(), object(), object()
    services.add("numbers", first)
    services.add("numbers", second)
    assert services.get("numbers") is second
    assert services.get("numbers", first) is second
    assert services.find("numbers") is second
    assert services.find("letters") is None


def test_a_default_stands_in():
    """A default is given where there is no service, even a default that is false."""
    assert ServiceManager().get("numbers", 0) == 0


def test_a_missing_service_is_named():
    """The error of a missing service names it, those there are, and how to add it."""
    services = ServiceManager()
    services.add("letters", object())
    with pytest.raises(ServiceNotFoundError) as caught:
        services.get("numbers")
    assert isinstance(caught.value, OtflowError)
    assert "Service 'numbers' not found; known services: letters" in str(caught.value)
    assert "add_workflows(numbers=...)" in str(caught.value)
