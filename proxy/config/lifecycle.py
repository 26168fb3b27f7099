"""Which lifecycle policy holds for which repositories."""

import json
from typing import Annotated, Any, Self

from pydantic import Field, PrivateAttr, model_validator

from proxy.config.files import FileRefused, read_file
from proxy.config.places import Patterns
from proxy.config.secrets import FilePath
from proxy.config.section import Misfit, Section
from proxy.core.lifecycle import Policy, PolicyInvalid, policy_parser

_POLICY_LIMIT = 1024 * 1024


class LifecycleSettings(Section):
    """One lifecycle policy and the repositories it is for."""

    repositories: Annotated[Patterns, Field(min_length=1)]
    """Patterns over REGISTRY/REPOSITORY, such as docker.io/library/*; a star stands for any run of characters."""
    policy_file: FilePath | None = None
    """File with a lifecycle policy in Amazon ECR's JSON. One of policy_file and policy."""
    policy: dict[str, Any] | None = None
    """The lifecycle policy itself, in the same structure."""
    extensions: bool = False
    """Allow what Entrepot adds to ECR's grammar."""
    _parsed: Policy = PrivateAttr()

    @model_validator(mode="after")
    def _has_one_good_policy(self) -> Self:
        if (self.policy_file is None) == (self.policy is None):
            raise Misfit([((), "needs exactly one of policy_file and policy")])
        key = "policy" if self.policy_file is None else "policy_file"
        try:
            self._parsed = policy_parser(extended=self.extensions)(self._text())
        except FileRefused as refused:
            raise Misfit([((key,), str(refused))]) from None
        except PolicyInvalid as invalid:
            raise Misfit([((key,), str(fault)) for fault in invalid.faults]) from None
        return self

    @property
    def parsed(self) -> Policy:
        """The policy, as it was when the settings were made."""
        return self._parsed

    def _text(self) -> str:
        if self.policy_file is None:
            return json.dumps(self.policy, default=str, separators=(",", ":"))
        try:
            return read_file(self.policy_file, _POLICY_LIMIT).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise FileRefused(f"{self.policy_file} is not UTF-8") from None
