"""One request of somebody who is signed in: what they may see and change, and answering them.

A deployer has their own council, the region's operator has all. Whoever reaches for another
council is refused, and that council's audit trail says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, HTTPException, Path, Request
from fastapi.responses import Response

from api.administration.issuer import Issuer
from api.pages.templating import page
from api.session import SignedIn, signed_in
from api.state import Service, service
from storage import audit
from storage.network_view import GatewayFacts, gateway_facts
from storage.overview import bounded_read
from storage.registry import CouncilRow, councils

Device: TypeAlias = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
"""A gateway's name in an address."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Who asks, of what service. path: of the request, for the audit trail.

    issuer: makes first-boot files; None where the service was not told where gateways enrol.
    """

    centre: Service
    who: SignedIn
    method: str
    path: str
    issuer: Issuer | None

    @property
    def actor(self) -> str:
        """How audit entries call them."""
        return self.who.staff.actor

    async def councils(self) -> list[CouncilRow]:
        """Return the councils they may administer, by name."""
        async with self.centre.connection() as conn:
            return [one for one in await councils(conn) if self._may(one.tenant)]

    async def council(self, tenant: str) -> CouncilRow:
        """Return a council they may administer.

        Raises:
            HTTPException: 404, there is none of this name; 403, it is not theirs.
        """
        async with self.centre.connection() as conn:
            found = next((one for one in await councils(conn) if one.tenant == tenant), None)
        if found is None:
            raise HTTPException(404, "There is no such council in this network.")
        await self.check(tenant, tenant)
        return found

    async def gateway(self, device: str) -> GatewayFacts:
        """Return a gateway they may administer.

        Raises:
            HTTPException: 404, there is none of this name; 403, it is another council's.
        """
        async with (
            self.centre.connection() as conn,
            bounded_read(conn, councils=self.centre.councils),
        ):
            found = await gateway_facts(conn, device=device)
        if not found:
            raise HTTPException(404, "There is no gateway with this name.")
        await self.check(found[0].tenant, device)
        return found[0]

    async def check(self, tenant: str, subject: str) -> None:
        """Return if they may administer this council; else its audit trail says that they tried.

        Raises:
            HTTPException: 403.
        """
        if self._may(tenant):
            return
        async with self.centre.connection() as conn:
            await audit.record(
                conn,
                actor=self.actor,
                tenant=tenant,
                action="administration.refuse",
                subject=subject,
                detail={"method": self.method, "path": self.path},
            )
        raise HTTPException(403, "This belongs to another council. The attempt has been noted.")

    async def answer(
        self, template: str, context: Mapping[str, Any], status_code: int = 200
    ) -> Response:
        """Return a page of administration."""
        common = {"active": "administration", "staff": self.who.staff, "csrf": self.who.csrf}
        return await page(
            self.centre.pages, template, {**common, **context}, status_code=status_code
        )

    def _may(self, tenant: str) -> bool:
        return self.who.staff.may_administer(tenant)


def desk(
    request: Request,
    who: Annotated[SignedIn, Depends(signed_in)],
    centre: Annotated[Service, Depends(service)],
) -> Desk:
    """Return the request of somebody who is signed in.

    Raises:
        SignInNeededError: nobody is.
    """
    return Desk(centre, who, request.method, request.url.path, request.app.state.issuer)
