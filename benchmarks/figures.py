"""One figure: what was measured, against which rival or limit, and whether its target is met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Figure", "missed", "table"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A measurement of this project beside the one of its rival, from the same run.

    Attributes:
        what: The thing measured, with its unit.
        ours: A median, or a size.
        against: Who or what the rival is; for a size, the limit.
        rival: Its median, or the limit; in the unit of ``ours``.
        target: The largest ``ours / rival``; with ``faster``, the least ``rival / ours``; ``None``
            for a figure that only informs.
        faster: The ratio says how many times faster this project is, or what share of the rival's
            rate it reaches.
    """

    what: str
    ours: float
    against: str
    rival: float
    target: float | None
    faster: bool = False

    @property
    def ratio(self) -> float:
        """What is compared with the target."""
        return self.rival / self.ours if self.faster else self.ours / self.rival

    @property
    def met(self) -> bool:
        """Whether the target is met, if there is one."""
        if self.target is None:
            return True
        return self.ratio >= self.target if self.faster else self.ratio <= self.target


def table(figures: Sequence[Figure]) -> str:
    """Lay figures out, one a line."""
    rows = [("measured", "ours", "rival", "ratio", "target", "", "against"), *map(_row, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def missed(figures: Sequence[Figure]) -> list[str]:
    """What misses its target."""
    return [figure.what for figure in figures if not figure.met]


def _row(figure: Figure) -> tuple[str, ...]:
    return (
        figure.what,
        _number(figure.ours),
        _number(figure.rival),
        f"{figure.ratio:.3g}",
        *_verdict(figure),
        figure.against,
    )


def _verdict(figure: Figure) -> tuple[str, str]:
    if figure.target is None:
        return "", ""
    sign = ">=" if figure.faster else "<="
    return f"{sign} {figure.target:g}", "met" if figure.met else "MISSED"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}"


def _line(row: tuple[str, ...], widths: Sequence[int]) -> str:
    first, *numbers, verdict, last = row
    middle = [text.rjust(width) for text, width in zip(numbers, widths[1:-2], strict=True)]
    return "  ".join([first.ljust(widths[0]), *middle, verdict.ljust(widths[-2]), last]).rstrip()
