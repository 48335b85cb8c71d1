"""What searches cost: `python -m tests.bench.search --messages 1000000`.

One conversation list of 3 and one of 500, in a database that `generate` made the frame of and whose
texts are half Chinese, half Latin, as frequent as words are.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path
from random import Random
from statistics import median, quantiles

import click
from rich.console import Console
from rich.table import Table

from imserver.store import reading
from imserver.store.database import open_database
from imserver.store.search.finding import Finder, Wanted
from imserver.store.search.handover import HandOver
from imserver.store.search.indexing import Indexer
from imserver.store.search.terms import parse
from imserver.store.transaction import Transaction
from tests.support.writing import say

_BATCH = 10_000
_CONVERSATIONS = 3_000


class Texts:
    """Words as frequent as in Zipf's law."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.signs = [chr(0x4E00 + 7 * number) for number in range(2_500)]
        letters = "abcdefghijklmnopqrstuvwxyz"
        self.words = [
            "".join(random.choices(letters, k=random.randint(2, 9))) for _ in range(20_000)
        ]
        self._of_signs = list(itertools.accumulate(1 / (n + 1) for n in range(len(self.signs))))
        self._of_words = list(itertools.accumulate(1 / (n + 1) for n in range(len(self.words))))

    def one(self) -> str:
        pieces = []
        for _ in range(self._random.randint(1, 4)):
            if self._random.random() < 0.5:
                count = self._random.randint(3, 15)
                pieces.append(
                    "".join(self._random.choices(self.signs, cum_weights=self._of_signs, k=count))
                )
            else:
                count = self._random.randint(1, 6)
                pieces.append(
                    " ".join(self._random.choices(self.words, cum_weights=self._of_words, k=count))
                )
        return "，".join(pieces)


def fill(tx: Transaction, texts: Texts, messages: int, random: Random) -> int:
    """Conversations of `few` (3), of `many` (500) and of others; returns the bytes of the texts."""
    tx.begin()
    pairs = [("few", f"peer_{n}") for n in range(3)] + [("many", f"peer_{n}") for n in range(500)]
    pairs += [(f"user_{n}", f"peer_{n}") for n in range(_CONVERSATIONS - len(pairs))]
    uids = [(tx.name_user(one), tx.name_user(other)) for one, other in pairs]
    talks = [(tx.direct(*pair), pair[0]) for pair in uids]
    tx.commit()
    size = 0
    for start in range(0, messages, _BATCH):
        tx.begin()
        for _ in range(start, min(messages, start + _BATCH)):
            cid, uid = random.choice(talks)
            text = texts.one()
            size += len(text.encode())
            say(tx, cid, uid, text)
        tx.commit()
    return size


@click.command()
@click.option("--messages", default=1_000_000, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def main(messages: int, folder: Path | None) -> None:
    """Fill a database, index it, and search it."""
    random = Random(1)
    texts = Texts(random)
    console = Console()
    with (
        tempfile.TemporaryDirectory(dir=folder) as place,
        open_database(str(Path(place) / "imserver.db"), synchronous="NORMAL") as database,
    ):
        size = fill(
            Transaction(database.writer, lambda: 1_700_000_000_000), texts, messages, random
        )
        indexer = Indexer(database, HandOver())
        begun = time.process_time()
        while indexer.work():
            pass
        cost = (time.process_time() - begun) / messages * 1e6
        console.print(
            f"{messages:,} messages, {size / messages:.0f} bytes each; index "
            f"{indexer.path.stat().st_size / size:.2f} x the text, {cost:.0f} µs of CPU a message"
        )
        db = database.reader()
        finder = Finder(indexer)
        queries = {
            "one common sign": texts.signs[0],
            "one rare sign": texts.signs[-1],
            "two common signs": texts.signs[0] + texts.signs[1],
            "two rare signs": texts.signs[-1] + texts.signs[-2],
            "one letter": texts.words[3][0],
            "two letters": texts.words[3][:2],
            "a common word": texts.words[0],
            "a rare word": texts.words[-1],
            "sign and word": f"{texts.signs[2]} {texts.words[2]}",
            "nothing": "zzzzzzzzzz",
        }
        table = Table("query", "user", "hits", "p50 ms", "p99 ms")
        for name, query in queries.items():
            for user in ("few", "many"):
                uid = reading.find_uid(db, user)
                assert uid is not None
                times = []
                for _ in range(50):
                    begun = time.perf_counter()
                    page = finder.find(
                        db, uid, Wanted(parse(query)), below=None, limit=20, max_bytes=1 << 19
                    )
                    times.append((time.perf_counter() - begun) * 1e3)
                table.add_row(
                    name, user, f"{len(page.hits)}{'' if page.following is None else '+'}",
                    f"{median(times):.1f}", f"{quantiles(times, n=100)[-1]:.1f}",
                )  # fmt: skip
        console.print(table)
        indexer.close(clean=True)


if __name__ == "__main__":
    main()
