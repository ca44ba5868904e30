"""Time of one unit on a target's engines, with its explanation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from engine.errors import CompileError
from engine.simulate.systolic import SystolicArray
from engine.simulate.timing import Bound, EngineTimes
from engine.simulate.work import Product, Work
from engine.target.target import Target

_TICKS_PER_US = 2**20
_LONGEST_US = 3.6e9


@dataclass(frozen=True)
class Rates:
    """A target's figures for one core, in units a microsecond."""

    macs: dict[int, float]
    systolic: SystolicArray | None
    vector: dict[int, float]
    reduction: dict[int, float]
    lookups: dict[int, float]
    input_alignment: int
    output_alignment: int
    position_alignment: int
    depthwise_fraction: float
    operand_run: int | None
    ddr_bytes: float
    burst_bytes: int
    ddr_latency_us: float
    gather_bytes: int
    sram_bytes: float
    access_bytes: int
    operator_us: float
    inference_us: float
    cpu_flops: float
    cpu_bytes: float
    seam_bytes: float
    dispatch_us: float

    @staticmethod
    def of(target: Target) -> Rates:
        """Keys of the tables are element widths in bytes: 1 (int8) and 2 (int16)."""
        cycles_per_us = target.clock.frequency.value * 1e3
        macs_per_tops_us = 0.5e6 * target.mac.sustained_fraction.value / target.core_count
        slowdown = target.vector.int16.value / target.vector.int8.value
        reduction = target.vector.reduction.value * cycles_per_us
        systolic = SystolicArray.of(target)
        peak = target.mac.int8_peak.value * macs_per_tops_us if systolic is None else systolic.size * cycles_per_us
        return Rates(
            macs={1: peak, 2: peak * target.mac.int16_peak.value / target.mac.int8_peak.value},
            systolic=systolic,
            vector={
                1: target.vector.int8.value * cycles_per_us,
                2: target.vector.int16.value * cycles_per_us,
            },
            reduction={1: reduction, 2: reduction * slowdown},
            lookups={1: target.table.int8.value * cycles_per_us, 2: target.table.int16.value * cycles_per_us},
            input_alignment=int(target.mac.input_channel_alignment.value),
            output_alignment=int(target.mac.output_channel_alignment.value),
            position_alignment=int(target.mac.position_alignment.value),
            depthwise_fraction=target.mac.depthwise_fraction.value,
            operand_run=None if target.mac.operand_run is None else int(target.mac.operand_run.value),
            ddr_bytes=target.dma.bandwidth.value * 1e3,
            burst_bytes=int(target.dma.burst.value),
            ddr_latency_us=target.dma.latency.value * 1e-3,
            gather_bytes=int(target.dma.gather.value),
            sram_bytes=target.sram.bandwidth.value * 1e3,
            access_bytes=int(target.sram.access.value),
            operator_us=target.launch.operator.value,
            inference_us=target.launch.inference.value,
            cpu_flops=target.cpu.throughput.value * 1e3,
            cpu_bytes=target.cpu.bandwidth.value * 1e3,
            seam_bytes=target.cpu.seam_bandwidth.value * 1e3,
            dispatch_us=target.cpu.dispatch.value,
        )


class Path(Enum):
    """Where a transfer goes: constants or activations from DDR, results to DDR, or rearranging on the chip."""

    WEIGHTS = "weights"
    LOAD = "load"
    STORE = "store"
    ON_CHIP = "on chip"


@dataclass(frozen=True)
class Transfer:
    """Bytes in contiguous runs of a mean length."""

    size_bytes: int
    run_bytes: int
    path: Path

    @property
    def is_ddr(self) -> bool:
        return self.path is not Path.ON_CHIP


@dataclass(frozen=True)
class Demand:
    """What one unit asks of the engines of the chip; tables of elements are keyed by width in bytes."""

    products: tuple[tuple[Product, int], ...] = ()
    vector: tuple[tuple[int, int], ...] = ()
    reduction: tuple[tuple[int, int], ...] = ()
    lookups: tuple[tuple[int, int], ...] = ()
    transfers: tuple[Transfer, ...] = ()
    seam_bytes: int = 0

    @property
    def is_empty(self) -> bool:
        return self == Demand()


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def array_slots(product: Product, rates: Rates) -> float:
    """Multiply-accumulate slots that a product occupies, idle ones included.

    Those of a systolic array are its cycles times its size. In any other, channels and positions are padded to the
    alignment. Products of few channels in many groups are mapped like a depthwise convolution instead where that is
    faster: unpadded, on a fraction of the array.
    """
    if rates.systolic is not None:
        return float(rates.systolic.cycles(product) * rates.systolic.size)
    positions = round_up(product.positions, rates.position_alignment)
    padded = (
        positions
        * round_up(product.input_channels, rates.input_alignment)
        * round_up(product.output_channels, rates.output_alignment)
        * product.taps
        * product.groups
    )
    channels = product.input_channels * product.output_channels * product.groups
    return min(padded, positions * channels * product.taps / rates.depthwise_fraction)


def transfer_us(transfer: Transfer, rates: Rates) -> float:
    """Bytes · burst / min(burst, run) ÷ bandwidth, plus the latency of DDR. The formula is Vela's."""
    return stream_us(transfer, rates) + (rates.ddr_latency_us if transfer.is_ddr else 0.0)


def stream_us(transfer: Transfer, rates: Rates) -> float:
    """The same without the latency."""
    size_bytes = transfer.size_bytes / useful_fraction(transfer, rates)
    return size_bytes / (rates.ddr_bytes if transfer.is_ddr else rates.sram_bytes)


def useful_fraction(transfer: Transfer, rates: Rates) -> float:
    """Share of each burst that the transfer's runs fill, after short ones are gathered on the chip."""
    burst_bytes = rates.burst_bytes if transfer.is_ddr else rates.access_bytes
    return min(1.0, max(transfer.run_bytes, rates.gather_bytes) / burst_bytes)


def chip_times(demand: Demand, rates: Rates) -> EngineTimes:
    """Busy times of the engines for one unit on the chip."""
    vector = sum(count / rates.vector[width] for width, count in demand.vector)
    reduction = sum(count / rates.reduction[width] for width, count in demand.reduction)
    return EngineTimes(
        mac_us=sum(array_slots(product, rates) / rates.macs[width] for product, width in demand.products),
        vector_us=vector + reduction,
        lut_us=sum(count / rates.lookups[width] for width, count in demand.lookups),
        dma_us=_transfers_us(demand, rates, is_ddr=True),
        layout_us=_transfers_us(demand, rates, is_ddr=False),
        cpu_us=demand.seam_bytes / rates.seam_bytes,
        launch_us=rates.operator_us,
    )


def _transfers_us(demand: Demand, rates: Rates, is_ddr: bool) -> float:
    return sum(transfer_us(transfer, rates) for transfer in demand.transfers if transfer.is_ddr is is_ddr)


@dataclass(frozen=True)
class Explanation:
    """What bounds a unit by itself, a line of numbers that says so, and the bytes and products behind it."""

    bound: Bound
    why: str
    ddr_bytes: int = 0
    sram_bytes: int = 0
    macs: int = 0


def explain_chip(demand: Demand, times: EngineTimes, rates: Rates) -> Explanation:
    """What bounds a unit on the chip: its busiest engine."""
    bound = _bound(times)
    ddr = sum(transfer.size_bytes for transfer in demand.transfers if transfer.is_ddr)
    sram = sum(transfer.size_bytes for transfer in demand.transfers if not transfer.is_ddr)
    macs = sum(product.macs for product, _ in demand.products)
    details = {
        Bound.MAC: lambda: _mac_text(demand, macs, times, rates),
        Bound.VECTOR: lambda: _vector_text(demand, times),
        Bound.LUT: lambda: _lookup_text(demand, times),
        Bound.DMA: lambda: f"DMA {_moved_text(demand, rates, is_ddr=True)} = {_us(times.dma_us)}",
        Bound.LAYOUT: lambda: f"layout {_moved_text(demand, rates, is_ddr=False)} = {_us(times.layout_us)}",
        Bound.CPU: lambda: _seam_text(demand.seam_bytes, times.cpu_us, rates),
        Bound.LAUNCH: lambda: f"launch {_us(times.launch_us)}",
    }
    why = "; ".join([details[bound](), *_others(times, bound)])
    return Explanation(bound, why, ddr + demand.seam_bytes, sram, macs)


def cpu_times(works: Sequence[Work], seam_bytes: int, rates: Rates) -> EngineTimes:
    """Time of a unit on the CPU: the slower of arithmetic and memory, its dispatch, and dequantising what it
    reads.
    """
    arithmetic, memory = _cpu_parts(works, rates)
    return EngineTimes(cpu_us=max(arithmetic, memory) + seam_bytes / rates.seam_bytes, launch_us=rates.dispatch_us)


def _cpu_parts(works: Sequence[Work], rates: Rates) -> tuple[float, float]:
    flops, size_bytes = sum(work.cpu_flops for work in works), sum(work.moved_bytes for work in works)
    return flops / rates.cpu_flops, size_bytes / rates.cpu_bytes


def explain_cpu(works: Sequence[Work], seam_bytes: int, rates: Rates) -> Explanation:
    """What a unit on the CPU takes its time for."""
    arithmetic, memory = _cpu_parts(works, rates)
    flops, size_bytes = sum(work.cpu_flops for work in works), sum(work.moved_bytes for work in works)
    if arithmetic >= memory:
        parts = [f"CPU {flops:,} flops at {rates.cpu_flops / 1e3:g} GFLOP/s = {_us(arithmetic)}"]
    else:
        parts = [f"CPU {size_bytes:,} B at {rates.cpu_bytes / 1e3:g} GB/s = {_us(memory)}"]
    if seam_bytes:
        parts.append(_seam_text(seam_bytes, seam_bytes / rates.seam_bytes, rates))
    parts.append(f"dispatch {_us(rates.dispatch_us)}")
    macs = sum(work.macs for work in works)
    return Explanation(Bound.CPU, "; ".join(parts), size_bytes + seam_bytes, 0, macs)


def inference_text(rates: Rates) -> str:
    """The host's overhead of one inference, for a person."""
    return f"host overhead of one inference {_us(rates.inference_us)}; hidden with several frames in flight"


def ticked(us: float) -> float:
    """The nearest multiple of 2**-20 us: sums of such times are exact in floating point, whatever their
    order.
    """
    return microseconds(in_ticks(us))


def in_ticks(us: float) -> int:
    """The nearest number of ticks of 2**-20 us.

    Raises:
        CompileError: It is more than an hour, which only a figure of the target that cannot be meant brings about.
    """
    if us > _LONGEST_US:
        raise CompileError(f"takes {us:.3g} us, more than an hour", hint="correct the rates of the target")
    return round(us * _TICKS_PER_US)


def microseconds(ticks: int) -> float:
    """The time of a number of ticks, exactly."""
    return ticks / _TICKS_PER_US


def _bound(times: EngineTimes) -> Bound:
    ranked = (
        (times.mac_us, Bound.MAC),
        (times.dma_us, Bound.DMA),
        (times.layout_us, Bound.LAYOUT),
        (times.vector_us, Bound.VECTOR),
        (times.lut_us, Bound.LUT),
        (times.cpu_us, Bound.CPU),
        (times.launch_us, Bound.LAUNCH),
    )
    return max(ranked, key=lambda item: item[0])[1]


def _others(times: EngineTimes, bound: Bound) -> list[str]:
    named = (
        (Bound.MAC, "MAC", times.mac_us),
        (Bound.DMA, "DMA", times.dma_us),
        (Bound.LAYOUT, "layout", times.layout_us),
        (Bound.VECTOR, "vector", times.vector_us),
        (Bound.LUT, "LUT", times.lut_us),
        (Bound.CPU, "quantise on CPU", times.cpu_us),
        (Bound.LAUNCH, "launch", times.launch_us),
    )
    return [f"{name} {_us(us)}" for kind, name, us in named if kind is not bound and us > 0.0]


def _mac_text(demand: Demand, macs: int, times: EngineTimes, rates: Rates) -> str:
    slots = sum(array_slots(product, rates) for product, _ in demand.products)
    return f"MAC {macs:,} products fill {macs / slots:.0%} of their array slots = {_us(times.mac_us)}"


def _vector_text(demand: Demand, times: EngineTimes) -> str:
    elements = sum(count for _, count in (*demand.vector, *demand.reduction))
    return f"vector {elements:,} elements = {_us(times.vector_us)}"


def _lookup_text(demand: Demand, times: EngineTimes) -> str:
    lookups = sum(count for _, count in demand.lookups)
    return f"LUT {lookups:,} look-ups = {_us(times.lut_us)}"


def _moved_text(demand: Demand, rates: Rates, is_ddr: bool) -> str:
    chosen = [transfer for transfer in demand.transfers if transfer.is_ddr is is_ddr]
    bandwidth, place = (rates.ddr_bytes, "DDR") if is_ddr else (rates.sram_bytes, "on-chip memory")
    size = sum(transfer.size_bytes for transfer in chosen)
    runs = _range_text([transfer.run_bytes for transfer in chosen])
    useful = min(useful_fraction(transfer, rates) for transfer in chosen)
    share = f" (filling {useful:.0%} of each burst)" if useful < 1.0 else ""
    return f"{size:,} B of {place} in runs of {runs}{share} at {bandwidth / 1e3:g} GB/s"


def _seam_text(seam_bytes: int, us: float, rates: Rates) -> str:
    return f"quantise/dequantise {seam_bytes:,} B at {rates.seam_bytes / 1e3:g} GB/s = {_us(us)}"


def _range_text(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,} B" if low == high else f"{low:,} to {high:,} B"


def _us(us: float) -> str:
    return f"{us:.3g} us" if us < 1000.0 else f"{us:,.0f} us"
