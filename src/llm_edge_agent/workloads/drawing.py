"""What the generators draw from: Zipf ranks, waiting times and text."""

from bisect import bisect_left
from itertools import accumulate
from random import Random

_TEXT = """
account address answer archive balance batch branch broken button cable change charge claim column corner credit
customs damage delay delivery design device dinner discount draft engine error export fabric failure filter garden
gather handle harbor import index invoice island journey kernel label ladder ledger letter logic manual margin market
memory meter mirror module mountain needle network notice number office option order packet paper parcel parser patch
payment picture planet pocket policy printer profile query quota reason receipt record refund region report return
review river route sample schema screen season server shadow signal silver socket source spring status storage stream
summer switch system table target ticket timber token traffic travel update value vector vendor village voucher
warranty weather window winter worker yellow zone
"""
WORDS = tuple(_TEXT.split())


class Zipf:
    """Draws ranks 0..count-1, rank r with weight 1/(r+1)^exponent."""

    def __init__(self, count: int, exponent: float) -> None:
        self._sums = list(accumulate((rank + 1) ** -exponent for rank in range(count)))

    def draw(self, random: Random) -> int:
        return bisect_left(self._sums, random.random() * self._sums[-1])


def prose(random: Random, words: int) -> str:
    """So many words in sentences."""
    drawn = [random.choice(WORDS) for _ in range(words)]
    sentences = [" ".join(drawn[start : start + 12]).capitalize() + "." for start in range(0, words, 12)]
    return " ".join(sentences)
