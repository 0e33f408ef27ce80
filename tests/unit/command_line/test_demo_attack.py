"""The demo's attack leaves nothing of its own behind."""

import contextlib
from pathlib import Path

import pytest

from command_line.demo.attack import AttackError, false_service
from enrolment.authority import Authority


@pytest.mark.parametrize("tenant", ["", "camden"])
@pytest.mark.parametrize("failure", [None, AttackError("no answer")])
def test_the_attackers_certificate_goes_however_the_attack_ends(
    tmp_path: Path, tenant: str, failure: Exception | None
) -> None:
    authority = Authority(tmp_path, "Test")
    honest = authority.service_client("ingest", tenant)
    with contextlib.suppress(AttackError), false_service(authority, tenant) as credential:
        assert credential.certificate.exists()
        assert credential.key.exists()
        if failure is not None:
            raise failure
    left = set(honest.certificate.parent.iterdir())
    assert left == {honest.certificate, honest.key}
