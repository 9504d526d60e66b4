"""Every number a reader sees is formatted here."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.records import Comparison, Estimate

NOTHING = "—"


def percent(value: float | None, digits: int = 1) -> str:
    """``0.3125`` -> ``31.2 %``; a dash for nothing."""
    return NOTHING if _absent(value) else f"{_plain(100 * (value or 0.0), digits)} %"


def rate(estimate: Estimate) -> str:
    """A rate or a share with its interval: ``31.2 % [25.0, 38.1]``, or why there is none."""
    if estimate.value is None:
        return estimate.note.split(":")[0] or NOTHING
    return f"{percent(estimate.value)} {_interval(estimate)}".strip()


def points(estimate: Estimate) -> str:
    """A difference of rates in percentage points: ``+12.3 points [7.9, 16.8]``."""
    if estimate.value is None:
        return estimate.note or NOTHING
    return f"{_signed(100 * estimate.value)} points {_interval(estimate)}".strip()


def plain_points(value: float) -> str:
    """``0.0381`` -> ``3.8 points``."""
    return f"{_plain(100 * value, 1)} points"


def p_value(value: float | None) -> str:
    """Three decimals, never ``0.000``."""
    if _absent(value) or value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def outcomes(comparison: Comparison) -> str:
    """Wins / losses / ties of b against a."""
    return f"{comparison.wins} / {comparison.losses} / {comparison.ties}"


def flips(comparison: Comparison) -> str:
    """The flip rate with both directions: ``4.6 % (3 gained, 11 lost)``."""
    n = comparison.wins + comparison.losses + comparison.ties
    if n == 0:
        return NOTHING
    share = percent((comparison.wins + comparison.losses) / n)
    return f"{share} ({comparison.wins} gained, {comparison.losses} lost)"


def decimal(value: float | None, digits: int = 1) -> str:
    """A plain number with a fixed number of decimals and thousands separators."""
    return NOTHING if _absent(value) else f"{_zero(value or 0.0, digits):,.{digits}f}"


def nats(value: float | None) -> str:
    """A divergence in nats: ``0.000715``, and what is nothing as ``0``."""
    if _absent(value) or value is None:
        return NOTHING
    return "0" if value == 0 else f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def megabytes(value: float | None) -> str:
    """Bytes as millions of them: ``5,839,040`` -> ``5.8``."""
    return NOTHING if value is None else decimal(value / 1e6)


def whole(value: float) -> str:
    """A count: ``1,200``."""
    return f"{round(value):,}"


def size(n: int, noun: str, plural: str | None = None) -> str:
    """``1 item``, ``300 items``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def cell(value: float | bool | int | str | None) -> str:
    """A value for CSV: empty for nothing, True and False for verdicts, at most 6 decimals."""
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if not math.isfinite(value) else _trimmed(f"{_zero(value, 6):.6f}")
    return str(value)


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{_plain(100 * estimate.low, 1)}, {_plain(100 * estimate.high, 1)}]"


def _plain(value: float, digits: int) -> str:
    return f"{_zero(value, digits):.{digits}f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{_zero(value, 1):+.1f}".replace("-", "−")


def _zero(value: float, digits: int) -> float:
    """No negative zero: what rounds to nothing is nothing."""
    return 0.0 if abs(value) < 0.5 * 10**-digits else value


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _absent(value: float | None) -> bool:
    return value is None or not math.isfinite(value)
