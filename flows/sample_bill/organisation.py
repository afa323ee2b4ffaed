"""The sample company: its accounts, regions and tags. All names are made up."""

from __future__ import annotations

from dataclasses import dataclass

PAYER_ID = "210987654321"
PAYER_NAME = "Atlas Freight Holding"


@dataclass(frozen=True)
class Account:
    """`size`: relative spend. `weekend`: extra factor on Saturday and Sunday (people at home).

    `regions`: indices into REGIONS, the main one first. `unit`: cost category; None = unassigned.
    """

    id: str
    name: str
    env: str
    size: float
    weekend: float
    regions: tuple[int, ...]
    unit: str | None


@dataclass(frozen=True)
class Region:
    id: str | None
    name: str | None
    prefix: str
    price: float


# The last region stands for global services; AWS leaves RegionId empty there.
REGIONS: tuple[Region, ...] = (
    Region("us-east-1", "US East (N. Virginia)", "", 1.0),
    Region("us-west-2", "US West (Oregon)", "USW2-", 1.0),
    Region("eu-central-1", "EU (Frankfurt)", "EUC1-", 1.12),
    Region("eu-west-1", "EU (Ireland)", "EU-", 1.06),
    Region("ap-southeast-2", "Asia Pacific (Sydney)", "APS2-", 1.18),
    Region("sa-east-1", "South America (Sao Paulo)", "SAE1-", 1.45),
    Region(None, None, "Global-", 1.0),
)
GLOBAL = len(REGIONS) - 1

ACCOUNTS: tuple[Account, ...] = (
    Account("300000000101", "prod-core", "prod", 10.0, 1.0, (0, 1, 2), "Freight"),
    Account("300000000102", "prod-web", "prod", 6.5, 1.0, (0, 2), "Freight"),
    Account("300000000103", "prod-data", "prod", 7.0, 0.98, (0, 3), "Data"),
    Account("300000000104", "prod-eu", "prod", 4.5, 1.0, (2, 3), "Freight"),
    Account("300000000105", "ml-research", "dev", 3.2, 0.8, (1, 0), "Data"),
    Account("300000000106", "staging", "staging", 2.4, 0.75, (0, 2), "Engineering"),
    Account("300000000107", "dev", "dev", 2.6, 0.6, (0, 2, 4), "Engineering"),
    Account("300000000108", "shared-services", "prod", 2.2, 0.97, (0, 2), "Platform"),
    Account("300000000109", "security", "prod", 1.2, 1.0, (0,), "Platform"),
    Account("300000000110", "sandbox", "sandbox", 0.9, 0.55, (0, 1), None),
    Account("300000000111", "acquired-nordvik", "prod", 1.6, 0.95, (3, 5), None),
    Account(PAYER_ID, PAYER_NAME, "prod", 0.4, 1.0, (0,), "Platform"),
)

TAG_TEAM, TAG_ENV, TAG_APP, TAG_CENTER, TAG_CREATED, TAG_UNIT = range(6)
TAG_KEYS = (
    "user:team",
    "user:env",
    "user:app",
    "user:cost-center",
    "aws:createdBy",
    "costCategory:BusinessUnit",
)

# Real tags hold what people type. The last four must not break a report that shows them.
TEAMS = (
    "checkout", "search", "payments", "routing", "warehouse", "tracking", "billing", "identity",
    "platform", "data-platform", "ml-ranking", "mobile", "web", "partner-api", "fraud",
    "pricing", "customs", "fleet", "support-tools", "security", "growth", "observability",
    "équipe-données ☃", "<script>alert(1)</script>", '=HYPERLINK("x")', "R&D \"O'Neil\", Ltd",
)  # fmt: skip
HOSTILE_TEAMS = range(len(TEAMS) - 4, len(TEAMS))
APPS = tuple(
    f"{noun}-{part}"
    for noun in (
        "orders", "quotes", "labels", "routes", "carts", "ledger", "claims", "invoices", "stock",
        "tariffs", "drivers", "geo", "alerts", "profiles", "sessions", "events",
    )
    for part in ("api", "worker", "web", "batch", "stream", "cache", "admin", "sync", "etl", "ml")
)  # fmt: skip
CENTERS = tuple(f"CC-{1000 + 7 * n}" for n in range(40))
CREATORS = tuple(f"AssumedRole:AROA{n:04d}SAMPLE:deployer-{n % 30:02d}" for n in range(120))
ENVS = ("prod", "staging", "dev", "sandbox", "test")
UNITS = ("Freight", "Data", "Engineering", "Platform")
