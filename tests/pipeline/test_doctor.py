"""The doctor names what is missing and how to get it."""

import pytest

from pipeline import doctor


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(finding.state != doctor.MISSING for finding in doctor.examine())
    monkeypatch.setattr(doctor, "CORE", ("torch", "no-such-package"))
    found = {finding.what: finding for finding in doctor.examine()}
    assert found["no-such-package"].state == "missing"
    assert "pip install" in found["no-such-package"].advice
    assert found["profile local"].state == "not ready"
    assert found["torch"].state.startswith("2.13.0")
