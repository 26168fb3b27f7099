"""The admin listener's routes, for tests that serve them without the rest of the house."""

import time

from aiohttp import web

from proxy.admin.connections import AdminConnectionRules, AdminConnections
from proxy.admin.gate import OperatorGate
from proxy.admin.listener import AdminApi, admin_app
from proxy.config import read_admin_token
from proxy.core.doors import HostNames

GATE = OperatorGate(read_admin_token)
HERE = HostNames.of("127.0.0.1", (), any_address=False)


def served(api: AdminApi) -> web.Application:
    return admin_app(api, AdminConnections(AdminConnectionRules(), time.monotonic))
