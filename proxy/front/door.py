"""Who is let in: from what a request says of its sender to a caller who may have what he asks for, or to the fault that
he is told."""

import re
from collections.abc import Callable
from typing import Final

from proxy.core.access import ADMITTED, ANONYMOUS, LET_IN, Admission, Caller, Gate, hidden
from proxy.core.allow import AllowRule
from proxy.core.errors import LoginNeeded, LoginRefused, NameInvalid, RequestMalformed, UpstreamUnknown
from proxy.core.names import Repository, UpstreamNames
from proxy.core.operations import CatalogList, Operation, TagList, TokenGrant
from proxy.core.token_scopes import granted
from proxy.front.fairness import Fairness
from proxy.front.requests import Understood
from proxy.front.routes import Asked
from proxy.login.issuers import OURSELVES
from proxy.login.logins import Granted, Logins

_HOST: Final = re.compile(r"[A-Za-z0-9.:_\[\]-]{1,255}")
_NAME: Final = re.compile(r"/v2/([a-zA-Z0-9._:/-]{1,255})/(?:manifests|blobs|referrers|tags)/[^/]+")


LimitingRule = Callable[[Caller, Repository], AllowRule | None]


class Door:
    """The gate decides; ``names`` are those of upstreams. ``limiting_rule`` tells by which rule
    a caller pulls of a repository, where that bounds what he may take, and ``fairness`` holds him to it."""

    def __init__(
        self, gate: Gate, logins: Logins, names: UpstreamNames, limiting_rule: LimitingRule, fairness: Fairness
    ) -> None:
        self.limiting_rule = limiting_rule
        self.fairness = fairness
        self._gate = gate
        self._logins = logins
        self._names = names

    async def admitted(self, understood: Understood, address: str, scheme: str) -> Caller:
        """``scheme`` is how the client came. Whoever may not have what he asks for is told so before it is known
        whether it is there. Raises LoginNeeded, LoginRefused, LoginsUnproven, Absent, and the fault of what asks for
        nothing that there is."""
        asked, fault = understood.asked, understood.fault
        if asked is None and not isinstance(fault, UpstreamUnknown):  # about the request alone, whoever sent it
            raise fault or RequestMalformed("nothing was asked")
        wanted = self._logins.wanted
        caller = await self._caller(understood, address, scheme) if wanted else understood.caller or ANONYMOUS
        if asked is None:
            if wanted and not caller.name:  # what is configured is told to no stranger
                raise LoginNeeded(self._challenge(understood, scheme))
            raise fault or RequestMalformed("nothing was asked")
        if isinstance(asked.operation, TokenGrant):
            self._require_login(caller, asked.operation)
            return caller
        match self._gate.admit(caller, asked.operation):
            case Admission.CHALLENGED:
                raise LoginNeeded(self._challenge(understood, scheme))
            case Admission.HIDDEN:
                raise hidden(asked.operation)
        return caller

    def sender(self, understood: Understood) -> Caller:
        """As far as memory tells by now; nobody in particular where it does not."""
        return understood.caller or self._logins.recall(understood.authorization) or ANONYMOUS

    def takes(self, caller: Caller, operation: Operation, address: str, size: int) -> bool:
        """Whether he may be sent so many bytes now. Then they count."""
        rule = self._rule(caller, operation)
        return rule is None or self.fairness.takes(rule, caller, address, size)

    async def pay(self, caller: Caller, operation: Operation, address: str, size: int) -> None:
        """Until he may be sent so many bytes."""
        rule = self._rule(caller, operation)
        if rule is not None:
            await self.fairness.pay(rule, caller, address, size)

    def _rule(self, caller: Caller, operation: Operation) -> AllowRule | None:
        repository = operation.repository
        return self.limiting_rule(caller, repository) if repository is not None else None

    def shows(self, caller: Caller, repository: Repository) -> bool:
        """Whether a catalog for him has that repository."""
        return self._gate.admit(caller, TagList(repository, None, "")) in LET_IN

    def token(self, caller: Caller, asking: TokenGrant) -> Granted:
        """For the login that came with the question, or for nobody in particular."""
        return self._logins.grant(caller, granted(asking.scopes, lambda name: self._may_pull(caller, name)))

    async def _caller(self, understood: Understood, address: str, scheme: str) -> Caller:
        caller = understood.caller
        try:
            if not understood.authorization:
                caller = caller or ANONYMOUS
                if self._logins.is_over(caller):
                    raise LoginRefused("the certificate is over")
                return caller
            return await self._logins.find(understood.authorization, address)
        except LoginRefused as refused:
            challenge = self._challenge(understood, scheme, "invalid_token")
            raise LoginRefused(refused.why, challenge) from None

    def _require_login(self, caller: Caller, asking: TokenGrant) -> None:
        """A token for nobody is of use where there is something for everybody."""
        if not self._logins.wanted:
            raise hidden(asking)
        if not caller.name and self._gate.admit(caller, CatalogList(None, None)) is not ADMITTED:
            raise LoginNeeded(_BASIC)

    def _may_pull(self, caller: Caller, name: str) -> bool:
        try:
            return self.shows(caller, self._names.repository(name, None))
        except (UpstreamUnknown, NameInvalid):
            return False

    def _challenge(self, understood: Understood, scheme: str, error: str = "") -> str:
        """How to get a token (RFC 6750 section 3), under the name that the client knows us by."""
        asked = understood.asked
        if asked is not None and isinstance(asked.operation, TokenGrant):
            return _BASIC
        host = understood.head.headers.get("host", "")
        base = self._logins.rules.public_url or f"{scheme}://{host if _HOST.fullmatch(host) else 'localhost'}"
        return bearer(f"{base}/token", _scope(asked), error)


_BASIC = f'Basic realm="{OURSELVES}"'


def bearer(realm: str, scope: str, error: str) -> str:
    """The value of WWW-Authenticate; what is empty is left out."""
    said = {"realm": realm, "service": OURSELVES, "scope": scope, "error": error}
    return "Bearer " + ",".join(f'{name}="{value}"' for name, value in said.items() if value)


def _scope(asked: Asked | None) -> str:
    """For the repository as the client names it; empty where it asks for none."""
    if asked is None:
        return ""
    found = _NAME.fullmatch(asked.path)
    return f"repository:{found[1]}:pull" if found is not None else ""
