import pytest

from proxy.core.rates import parse_rate


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("100MB", 100_000_000),
        ("100 MB/s", 100_000_000),
        ("100mb/s", 100_000_000),
        ("20MiB/s", 20 << 20),
        ("1Gbit/s", 125_000_000),
        ("800 kbps", 100_000),
        ("1.5GB", 1_500_000_000),
        ("50000", 50_000),
        ("10M", 10_000_000),
        (7, 7),
        ("1 bit/s", 1),
    ],
)
def test_rates_are_understood_as_people_write_them(written: str | int, rate: int) -> None:
    assert parse_rate(written) == rate


@pytest.mark.parametrize("written", ["fast", "", "-1MB", "1MB/h", "10 Mb/s", "1e9", -1])
def test_what_is_none_is_refused_with_advice(written: str | int) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_rate(written)
