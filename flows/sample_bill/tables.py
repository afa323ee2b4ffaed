"""From numbers to Arrow tables: every text column is a dictionary and a lookup."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flows.sample_bill import anomalies as anomalies_
from flows.sample_bill import columns, fees, installation, pool, skus, usage
from flows.sample_bill import organisation as org
from flows.sample_bill.anomalies import Anomaly
from flows.sample_bill.catalog import SERVICES, Service, Sku
from flows.sample_bill.commitments import COMMITMENTS, Commitment
from flows.sample_bill.money import FIRST_PLAN, SPOT, Money, baseline, divide
from flows.sample_bill.options import BadOptions, Focus, Options, Period, periods
from flows.sample_bill.skus import WAYS

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
HEX = np.array([f"{n:02x}".encode() for n in range(256)], dtype="S2").view(np.uint16)


@dataclass(frozen=True)
class World:
    """All that is decided before the first row. Built once per bill."""

    options: Options
    money: Money
    anomalies: tuple[Anomaly, ...]
    pool: pool.Pool
    skus: skus.Skus
    plan: usage.Plan


def build(options: Options) -> World:
    """Raises BadOptions when there are too few rows for one a day per stream of usage."""
    cost, injected = anomalies_.inject(options, baseline(options))
    money = divide(options, cost)
    groups = pool.groups_of(money)
    group_of = {pair: index for index, pair in enumerate(groups)}
    of_stream = [group_of[s.service, s.account] for s in money.streams]
    busiest = max(usage_rows(options, money, p) / p.days for p in periods(options))
    weights = np.bincount(of_stream, usage.row_weights(money), len(groups)).astype(np.float64)
    resources = pool.build(options.seed, groups, weights * busiest)
    prices = skus.build()
    plan = usage.plan(money, resources, prices)
    least = int((money.effective > 0).sum(axis=0).max())
    if usage_rows(options, money, periods(options)[0]) // 31 < least:
        enough = -(-(least * 31 + 600) // 500) * 500
        raise BadOptions(f"rows: {options.rows} a month is too few; use {enough} or more")
    last = periods(options)[-1]
    shown = anomalies_.visible(injected, last.first + timedelta(days=last.visible - 1))
    return World(options, money, shown, resources, prices, plan)


def usage_rows(options: Options, money: Money, period: Period) -> int:
    """Rows of metered usage in the whole month; fees and purchases are the rest of `rows`."""
    whole = replace(period, visible=period.days)
    return options.rows - len(_few(options, money, whole))


def _few(options: Options, money: Money, period: Period) -> list[fees.Row]:
    """The rows that are few enough to be made one by one."""
    rows = fees.of_period(options.seed, money, period)
    return rows + installation.of_period(options.seed, period, options.granularity == "hourly")


def _texts(values: Sequence[str | None], codes: NDArray[np.generic]) -> pa.Array:
    """A dictionary column: values[codes]; None becomes null."""
    distinct = list(dict.fromkeys(v for v in values if v is not None))
    place = {value: index for index, value in enumerate(distinct)}
    lookup = np.array([-1 if v is None else place[v] for v in values], dtype=np.int32)
    index = lookup[codes]
    some_null = (lookup < 0).any()
    indices = pa.array(index, mask=index < 0 if some_null else None)
    return pa.DictionaryArray.from_arrays(indices, pa.array(distinct, pa.string()), safe=False)


def _constant(value: object, count: int, kind: pa.DataType) -> pa.Array:
    if value is None:
        return pa.nulls(count, kind)
    if pa.types.is_dictionary(kind):
        return _texts([str(value)], np.zeros(count, dtype=np.int8))
    return pa.repeat(pa.scalar(value, kind), count)


def _spans(
    first: NDArray[np.int64], count: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Positions first..first+count of every row one after the other, and where each row starts."""
    start = np.zeros(len(count) + 1, dtype=np.int64)
    np.cumsum(count, out=start[1:])
    flat = np.arange(start[-1]) + np.repeat(first - start[:-1], count)
    return flat, start.astype(np.int32)


def _offsets(start: NDArray[np.int32], null: NDArray[np.bool_]) -> pa.Array:
    return pa.array(start, mask=np.append(null, False))


def _map_of(maps: Sequence[dict[str, str]], codes: NDArray[np.generic]) -> pa.Array:
    """A map column: maps[codes]; an empty map becomes null."""
    keys = sorted({key for one in maps for key in one})
    values = sorted({value for one in maps for value in one.values()})
    key_of = {key: index for index, key in enumerate(keys)}
    value_of = {value: index for index, value in enumerate(values)}
    size = np.array([len(one) for one in maps], dtype=np.int64)
    key = np.array([key_of[k] for one in maps for k in one], dtype=np.int32)
    value = np.array([value_of[v] for one in maps for v in one.values()], dtype=np.int32)
    count = size[codes]
    flat, start = _spans((np.cumsum(size) - size)[codes], count)
    return pa.MapArray.from_arrays(
        _offsets(start, count == 0),
        pa.DictionaryArray.from_arrays(pa.array(key[flat]), pa.array(keys, pa.string())),
        pa.DictionaryArray.from_arrays(pa.array(value[flat]), pa.array(values, pa.string())),
    )


def _tags(world: World, resource: NDArray[np.int32], focus: Focus) -> pa.Array:
    """Tags of the rows' resources. FOCUS 1.0 keeps cost categories in a column of their own."""
    from_, to = world.pool.tag_start[resource], world.pool.tag_start[resource + 1]
    count = to - from_
    if focus == "1.0":
        # The cost category, when there, is the last of a resource's tags.
        last = world.pool.tag_key[np.maximum(to - 1, 0)]
        count = count - ((count > 0) & (last == org.TAG_UNIT))
    flat, start = _spans(from_, count)
    return pa.MapArray.from_arrays(
        _offsets(start, count == 0),
        pa.DictionaryArray.from_arrays(
            pa.array(world.pool.tag_key[flat]), pa.array(org.TAG_KEYS, pa.string()), safe=False
        ),
        pa.DictionaryArray.from_arrays(
            pa.array(world.pool.tag_value[flat]),
            pa.array(world.pool.tag_values, pa.string()),
            safe=False,
        ),
    )


def _hexadecimal(numbers: NDArray[np.uint64]) -> pa.Array:
    """Sixteen digits per number, as an Arrow string array made from raw buffers."""
    text = HEX[numbers.astype(">u8").view(np.uint8)]
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * 16
    return pa.StringArray.from_buffers(
        len(numbers), pa.py_buffer(offsets), pa.py_buffer(text.view(np.uint8))
    )


def _resource_ids(world: World, rows: usage.Rows, region: NDArray[np.int8]) -> pa.Array:
    streams = world.money.streams
    places = len(org.REGIONS)
    prefixes = [
        SERVICES[s.service].arn.format(
            region=org.REGIONS[r].id or "", account=org.ACCOUNTS[s.account].id
        )
        or None
        for s in streams
        for r in range(places)
    ]
    prefix = pa.array(prefixes, pa.string()).take(pa.array(rows.stream * places + region))
    return pc.binary_join_element_wise(prefix, _hexadecimal(rows.digits), "")


def _discounts(rows: usage.Rows, discounted: NDArray[np.bool_]) -> pa.Array:
    """What a negotiated price saved, USD, negative: AWS's x_Discounts."""
    _, start = _spans(np.zeros(len(rows), dtype=np.int64), discounted.astype(np.int64))
    saved = np.round(rows.contracted - rows.listed, 10)[discounted]
    key = pa.array(np.zeros(len(saved), dtype=np.int32))
    return pa.MapArray.from_arrays(
        _offsets(start, ~discounted),
        pa.DictionaryArray.from_arrays(key, pa.array(["EnterpriseDiscount"])),
        pa.array(saved),
    )


def usage_table(world: World, period: Period, rows: usage.Rows) -> pa.Table:
    """FOCUS columns of usage rows; text columns are dictionaries."""
    focus: Focus = world.options.focus
    streams, of_sku, places = world.money.streams, world.skus.of, len(org.REGIONS)
    count = len(rows)
    services = [SERVICES[s.service] for s in streams]
    accounts = [org.ACCOUNTS[s.account] for s in streams]
    plans = [COMMITMENTS[s.pay - FIRST_PLAN] if s.pay >= FIRST_PLAN else None for s in streams]
    pay = world.plan.pay[rows.stream]
    covered = pay >= FIRST_PLAN
    region = world.pool.region[rows.resource]
    zone = region.astype(np.int32) * 3 + world.pool.zone[rows.resource]
    base = rows.sku // places
    start = rows.day.astype(np.int64) - period.first_index
    begin = np.datetime64(period.first, "ms").astype(np.int64) + start * DAY_MS
    begin += rows.hour.astype(np.int64) * HOUR_MS
    span = HOUR_MS if world.options.granularity == "hourly" else DAY_MS
    gaps = np.array([sku.gap for _, sku in of_sku])[base]
    no_gaps = not gaps.any()
    gap = None if no_gaps else gaps
    regional = [(service, sku, r) for service, sku in of_sku for r in range(places)]

    def per_stream(values: Sequence[str | None]) -> pa.Array:
        return _texts(values, rows.stream)

    def per_plan(value: Callable[[Commitment], str]) -> pa.Array:
        return per_stream([None if plan is None else value(plan) for plan in plans])

    def per_sku(value: Callable[[Service, Sku], str | None]) -> pa.Array:
        return _texts([value(service, sku) for service, sku in of_sku], base)

    def numbers(values: NDArray[np.float64], null: NDArray[np.bool_] | None = None) -> pa.Array:
        return pa.array(values, mask=null)

    def price_ids() -> pa.Array:
        ids = [
            None if sku.gap else skus.price_id(service, sku, r, way)
            for way in range(WAYS)
            for service, sku, r in regional
        ]
        return _texts(ids, pay * len(regional) + rows.sku)

    def usage_types() -> list[str | None]:
        return [org.REGIONS[r].prefix + sku.meter for _, sku, r in regional]

    discounted = rows.contracted < rows.listed
    discounted &= ~covered
    discounted &= pay != SPOT
    list_price = numbers(world.skus.price[rows.sku], gap)
    agreed_price = numbers(world.skus.contracted[pay, rows.sku], gap)
    effective = numbers(rows.effective)
    quantity = numbers(rows.quantity)
    make: dict[str, Callable[[], pa.Array]] = {
        "AvailabilityZone": lambda: _texts(
            [r.id and f"{r.id}{z}" for r in org.REGIONS for z in "abc"], zone
        ),
        "BilledCost": lambda: numbers(np.where(covered, 0.0, rows.effective)),
        "ChargeCategory": lambda: per_stream(["Usage"] * len(streams)),
        "ChargeDescription": lambda: _texts(
            [f"{sku.text} - {org.REGIONS[r].name or 'Global'}" for _, sku, r in regional],
            rows.sku,
        ),
        "ChargeFrequency": lambda: per_stream(["Usage-Based"] * len(streams)),
        "ChargePeriodEnd": lambda: pa.array((begin + span).view("datetime64[ms]")),
        "ChargePeriodStart": lambda: pa.array(begin.view("datetime64[ms]")),
        "CommitmentDiscountCategory": lambda: per_plan(lambda plan: plan.measure),
        "CommitmentDiscountId": lambda: per_plan(lambda plan: plan.id),
        "CommitmentDiscountName": lambda: per_plan(lambda plan: plan.name),
        "CommitmentDiscountQuantity": lambda: numbers(
            np.where(
                np.array([p is not None and p.measure == "Spend" for p in plans])[rows.stream],
                rows.effective,
                rows.quantity,
            ),
            ~covered,
        ),
        "CommitmentDiscountStatus": lambda: per_plan(lambda _: "Used"),
        "CommitmentDiscountType": lambda: per_plan(lambda plan: plan.type),
        "CommitmentDiscountUnit": lambda: per_plan(lambda plan: plan.unit),
        "ConsumedQuantity": lambda: quantity,
        "ConsumedUnit": lambda: per_sku(lambda _, sku: sku.unit),
        "ContractedCost": lambda: numbers(rows.contracted),
        "ContractedUnitPrice": lambda: agreed_price,
        "EffectiveCost": lambda: effective,
        "ListCost": lambda: numbers(rows.listed),
        "ListUnitPrice": lambda: list_price,
        "PricingCategory": lambda: per_stream(
            ["Committed" if p else "Dynamic" if s.pay == SPOT else "Standard"
             for p, s in zip(plans, streams, strict=True)]
        ),
        "PricingCurrencyContractedUnitPrice": lambda: agreed_price,
        "PricingCurrencyEffectiveCost": lambda: effective,
        "PricingCurrencyListUnitPrice": lambda: list_price,
        "PricingQuantity": lambda: quantity,
        "PricingUnit": lambda: per_sku(lambda _, sku: None if sku.gap else sku.unit),
        "PublisherName": lambda: per_stream([s.publisher for s in services]),
        "RegionId": lambda: _texts([r.id for r in org.REGIONS], region),
        "RegionName": lambda: _texts([r.name for r in org.REGIONS], region),
        "ResourceId": lambda: _resource_ids(world, rows, region),
        "ResourceType": lambda: per_stream([s.kind for s in services]),
        "ServiceCategory": lambda: per_stream([s.category for s in services]),
        "ServiceName": lambda: per_stream([s.name for s in services]),
        "ServiceSubcategory": lambda: per_stream([s.subcategory for s in services]),
        "SkuId": lambda: _texts(
            [None if sku.gap else skus.sku_id(s, sku, r) for s, sku, r in regional], rows.sku
        ),
        "SkuMeter": lambda: per_sku(lambda _, sku: None if sku.gap else sku.meter),
        "SkuPriceDetails": lambda: _map_of([_details(sku) for _, sku in of_sku], base),
        "SkuPriceId": price_ids,
        "SubAccountId": lambda: per_stream([a.id for a in accounts]),
        "SubAccountName": lambda: per_stream([a.name for a in accounts]),
        "Tags": lambda: _tags(world, rows.resource, focus),
        "x_CostCategories": lambda: _map_of(
            [{"BusinessUnit": a.unit} if a.unit else {} for a in accounts], rows.stream
        ),
        "x_Discounts": lambda: _discounts(rows, discounted),
        "x_Operation": lambda: per_sku(lambda _, sku: sku.operation or None),
        "x_ServiceCode": lambda: per_stream([s.code for s in services]),
        "x_UsageType": lambda: _texts(usage_types(), rows.sku),
    }  # fmt: skip
    shared = fees.common(period)
    arrays = [
        make[field.name]()
        if field.name in make
        else _constant(shared.get(field.name), count, field.type)
        for field in columns.in_memory(focus)
    ]
    return pa.Table.from_arrays(arrays, schema=columns.in_memory(focus))


def _details(sku: Sku) -> dict[str, str]:
    """SkuPriceDetails: the FOCUS-defined keys that apply."""
    if sku.gap:
        return {}
    found: dict[str, str] = {}
    if sku.operation == "RunInstances" and sku.meter.startswith("BoxUsage:"):
        found |= {"InstanceType": sku.meter.removeprefix("BoxUsage:"), "OperatingSystem": "Linux"}
    if sku.unit == "GB-Months":
        found["StorageClass"] = sku.operation
    return found


def fees_table(world: World, period: Period) -> pa.Table:
    """FOCUS columns of what is not metered usage, and of the installation of Nightshift; typed like
    usage_table's.
    """
    wanted = columns.schema(world.options.focus)
    rows = _few(world.options, world.money, period)
    table = pa.Table.from_pylist([{n: row.get(n) for n in wanted.names} for row in rows], wanted)
    return table.cast(columns.in_memory(world.options.focus))


def month(world: World, period: Period) -> Iterator[pa.Table]:
    """A month's rows in tables of at most about `row_group_rows` rows, days in order."""
    options = world.options
    total = usage_rows(options, world.money, period)
    yield fees_table(world, period)
    parts: list[usage.Rows] = []
    held = 0
    for day in range(period.visible):
        due = total * (day + 1) // period.days - total * day // period.days
        for block in usage.day_rows(
            options.seed, world.money, world.plan, world.pool, world.skus,
            period.first_index + day, due, options.granularity == "hourly",
        ):  # fmt: skip
            if held and held + len(block) > options.row_group_rows:
                yield usage_table(world, period, usage.join(parts))
                parts, held = [], 0
            parts.append(block)
            held += len(block)
    if parts:
        yield usage_table(world, period, usage.join(parts))


def bill(options: Options) -> Iterator[tuple[Period, Iterator[pa.Table]]]:
    """The whole bill in memory-sized pieces, without writing a file: (period, its tables)."""
    world = build(options)
    for period in periods(options):
        yield period, month(world, period)
