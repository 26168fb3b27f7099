"""What bytes cost on their way, so that it can be told what the cache saves."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from proxy.config.auth import Region
from proxy.config.places import canonical_name
from proxy.config.section import Misfit, Section
from proxy.core.savings import NOTHING, USUAL_PRICES, Charge, PricedPath

_DEAREST = 1000


def _amount(written: object) -> Decimal:
    if isinstance(written, bool) or not isinstance(written, int | float | str | Decimal):
        raise ValueError("not an amount: write US dollars, such as 0.045")
    try:
        amount = Decimal(str(written))
    except InvalidOperation:
        raise ValueError("not an amount: write US dollars, such as 0.045") from None
    if not 0 <= amount <= _DEAREST or amount.as_tuple().exponent < -9:  # type: ignore[operator] # a number has digits
        raise ValueError(f"an amount is from 0 to {_DEAREST}, with nine digits behind the point at most")
    return amount


def _share(written: object) -> Decimal:
    share = _amount(written)
    if share > 1:
        raise ValueError("a share is from 0 to 1")
    return share


def _decimal(validator: Any, largest: int) -> Any:
    schema = WithJsonSchema({"type": "number", "minimum": 0, "maximum": largest})
    return PlainValidator(validator), PlainSerializer(float, return_type=float), schema


Amount = Annotated[Decimal, *_decimal(_amount, _DEAREST)]
Share = Annotated[Decimal, *_decimal(_share, 1)]


class PriceSettings(Section):
    """US dollars per GB (10^9 bytes). Without them, AWS's of us-east-1 in 2026."""

    nat_gateway: Amount = USUAL_PRICES[Charge.NAT_GATEWAY]
    """Through a NAT gateway."""
    inter_region: Amount = USUAL_PRICES[Charge.INTER_REGION]
    """From another region."""
    cross_az: Amount = USUAL_PRICES[Charge.CROSS_AZ]
    """From one zone to another, both directions together."""
    internet_egress: Amount = USUAL_PRICES[Charge.INTERNET_EGRESS]
    """Out of AWS to the internet, for registries of yours there that machines elsewhere pull from."""
    vpc_endpoint: Amount = USUAL_PRICES[Charge.VPC_ENDPOINT]
    """Through an interface endpoint (PrivateLink)."""

    @property
    def by_charge(self) -> Mapping[Charge, Decimal]:
        """As they are counted with."""
        return {charge: getattr(self, charge.value) for charge in Charge}


def _charge(written: object) -> Charge:
    try:
        return Charge(written)
    except ValueError:
        raise ValueError(f"not one of {', '.join(charge.value for charge in Charge)}") from None


PathCharge = Annotated[
    Charge,
    PlainValidator(_charge),
    PlainSerializer(lambda charge: charge.value, return_type=str),
    WithJsonSchema({"enum": [charge.value for charge in Charge]}),
]


class UpstreamPath(Section):
    """The path from one upstream: what it passes, or a price of its own."""

    path: Annotated[tuple[PathCharge, ...], Field(strict=False, max_length=len(Charge))] | None = None
    """What bytes pass, of the names of prices; each is charged. [] is free."""
    price: Amount | None = None
    """US dollars per GB, in place of path."""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.path is None) == (self.price is None):
            raise Misfit([((), "needs exactly one of path and price")])
        return self

    @property
    def priced(self) -> PricedPath:
        """As it is counted with."""
        return PricedPath(self.path or (), self.price)


def _by_canonical_key(given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    return {_canonical(str(key)): value for key, value in given.items()}


def _canonical(key: str) -> str:
    try:
        return canonical_name(key)
    except ValueError:
        return key  # no upstream, which is told


class SavingsSettings(Section):
    """What bytes cost without the cache, and what the cache costs, for entrepot savings."""

    region: Region | None = None
    """The AWS region that Entrepot runs in. Private ECR of any other counts as inter_region; without it all private ECR
    counts as that of the same region, which is free through the gateway endpoint of S3."""
    prices: PriceSettings = PriceSettings()
    """US dollars per GB of what bytes pass."""
    upstreams: Annotated[dict[str, UpstreamPath], BeforeValidator(_by_canonical_key)] = Field(default_factory=dict)
    """The paths from upstreams, by their keys. Left out: private ECR as region says, registry.k8s.io and what is in a
    network of your own free, all others nat_gateway."""
    other_zones: Share | None = None
    """Share of the bytes for clients that go to another zone than the cache's, from 0 to 1; each costs cross_az. 0 with
    one cache in each zone, 0.67 with one for three zones."""
    running_cost: Amount = NOTHING
    """US dollars per hour that the cache costs: machine, disk."""

    @property
    def paths(self) -> Mapping[str, PricedPath]:
        """Those that are given."""
        return {name: path.priced for name, path in self.upstreams.items()}
