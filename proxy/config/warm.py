"""Which images are brought before anybody pulls them, and when."""

from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Tag,
    WithJsonSchema,
    model_validator,
)

from proxy.config.section import Misfit, Section
from proxy.core.platforms import Platform
from proxy.warm.references import LONGEST, Wanted, WantedTags, parse_wanted
from proxy.warm.schedule import demand_cron
from proxy.warm.versions import LONGEST as LONGEST_CHOICE
from proxy.warm.versions import TagChoice

_REFERENCE, _CHOICE = "a reference", "a choice of tags"  # no keys
_MOST = 10_000  # images, and of a repository's tags


class WarmTags(Section):
    """Which tags: by glob, by semver, or the version in a glob by semver."""

    glob: Annotated[str, Field(min_length=1, max_length=LONGEST_CHOICE)] | None = None
    """A pattern over tags, such as v1.* or *-alpine; a star stands for any run of characters."""
    semver: Annotated[str, Field(min_length=1, max_length=LONGEST_CHOICE)] | None = None
    """A range of versions as npm writes it, such as ^1.27 or >=1.26 <2. With glob, of what its one star stands for."""
    newest: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    """How many of them: the highest versions, or without semver the last names, numbers taken as numbers."""

    @property
    def choice(self) -> TagChoice:
        """As it is applied."""
        return TagChoice(self.glob, self.semver, self.newest)

    @model_validator(mode="after")
    def _is_a_choice(self) -> Self:
        self.choice.demand_good()
        return self


class WarmRepository(Section):
    """A repository of which some tags are brought."""

    repository: Annotated[str, Field(min_length=1, max_length=LONGEST)]
    """REGISTRY/REPOSITORY; without a registry Docker Hub's."""
    tags: WarmTags
    """Which of its tags."""

    @property
    def wanted(self) -> WantedTags:
        """As it is looked up."""
        return WantedTags.of(self.repository, self.tags.choice)

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        try:
            self.wanted  # noqa: B018 - whether it can be made
        except ValueError as wrong:
            raise Misfit([(("repository",), str(wrong))]) from None
        return self


def _reference(written: str) -> str:
    parse_wanted(written)
    return written


def _kind(given: Any) -> str:
    return _REFERENCE if isinstance(given, str) else _CHOICE


def _platform(written: object) -> Platform:
    if isinstance(written, Platform):
        return written
    if not isinstance(written, str):
        raise ValueError("not a platform: write OS/ARCHITECTURE, such as linux/amd64")
    return Platform.parse(written)


WarmImage = Annotated[
    Annotated[str, AfterValidator(_reference), Field(min_length=1, max_length=LONGEST), Tag(_REFERENCE)]
    | Annotated[WarmRepository, Tag(_CHOICE)],
    Discriminator(_kind),
]
WarmPlatform = Annotated[
    Platform,
    PlainValidator(_platform),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){1,2}$"}),
]


class WarmSettings(Section):
    """Images that are brought before anybody pulls them."""

    images: Annotated[tuple[WarmImage, ...], Field(strict=False, max_length=_MOST)] = ()
    """References as people write them, such as alpine:3.20, and repositories with a choice of tags."""
    platforms: Annotated[tuple[WarmPlatform, ...], Field(strict=False, max_length=64)] = ()
    """Of an index, the platforms that are brought, such as linux/amd64. Without any: linux on this machine's
    architecture."""
    schedule: Annotated[str, AfterValidator(demand_cron)] | None = None
    """When, as a line of cron with five fields, in UTC; without one only by entrepot warm."""
    pin: bool = False
    """Pin what was brought, so that it is never let go."""

    def wanted(self) -> tuple[Wanted, ...]:
        """The images as they are looked up."""
        return tuple(parse_wanted(each) if isinstance(each, str) else each.wanted for each in self.images)
