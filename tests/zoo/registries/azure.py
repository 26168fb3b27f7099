"""Azure Container Registry.

- Realm ``/oauth2/token``; its answer has ``access_token`` only, and no life.
- Blobs: 307 to a data endpoint on Azure's blob storage, which answers an open-ended Range with 200 and everything
  unless it is told a newer protocol (microsoft/AzureStorageExplorer#3539).
- At most 1000 tags a page, 100 where ``n`` is not given, a link with ``orderby`` in it
  (CybercentreCanada/assemblyline-core#1147, Azure/azure-powershell#16032).
- Referrers: an API of its own since 2023.
- 429 with ``Retry-After`` in seconds.
"""

from tests.cast import Line
from tests.zoo.manners import Bearer, Manners, Paging, Ranges, Storage
from tests.zoo.registry import ScriptedRegistry


class Azure(ScriptedRegistry):
    manners = Manners(
        "example.azurecr.io",
        auth=Bearer("/oauth2/token", "example.azurecr.io", names=("access_token",)),
        storage=Storage(307, head=200, ranges=Ranges.OPEN_END_IGNORED),
        paging=Paging(usual=100, most=1000, beside={"orderby": ""}),
        referrers=True,
    )

    async def limited(self, line: Line) -> None:
        await self.error(line, 429, "TOOMANYREQUESTS", "too many requests, retry later", {"Retry-After": "12"})
