#!/usr/bin/env python3
"""Generates card payments as a play file for `millrace produce`, the same for the same seed (standard library only).

    payments   to be scored as they are made: card, merchant, category, amount, country, channel
    logins     into the card holder's account, failed or not: they feed windows only
    outcomes   the truth: a chargeback hours to days later, or settlement a day later; some are never told

The world, in short. Card holders have a home country, a pace and a purse; most pay by day, some travel. Now and then an
account is taken over: a few failed logins from abroad, one that succeeds, then some hours of larger payments in goods that
sell again. A few honest payments are charged back as well, so no rule can be perfect.
"""
import argparse
import math
import pathlib
import random
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from playfile import DAY, HOUR, MINUTE, Roles, instant, play, rfc3339, summary, write  # noqa: E402

# category: (share of payments, median amount, how much a thief likes it)
CATEGORIES = {
    "grocery": (0.30, 32, 1), "fuel": (0.12, 45, 1), "restaurant": (0.18, 28, 1), "fashion": (0.12, 60, 3), "travel": (0.06, 210, 2),
    "electronics": (0.07, 130, 9), "games": (0.08, 22, 5), "gift-cards": (0.03, 50, 12), "pharmacy": (0.04, 18, 1)}
COUNTRIES = ["DE", "FR", "IT", "ES", "NL", "PL", "US", "GB", "BR", "TH"]
ROLES = Roles(
    scored="payments", labels="outcomes", key="card",
    id={"payments": "payment_id", "logins": "login_id", "outcomes": "payment_id"},
    event_time={"payments": "paid_at", "logins": "seen_at", "outcomes": "known_at"},
    number={"payments": "amount", "logins": "failed", "outcomes": "charged_back"},
    other_key=lambda card: f"c{(int(card[1:]) + 1) % 100_000:05}",
    corrected=lambda value: {**value, "charged_back": 0.0 if value["charged_back"] else 1.0},
)


def pick(generator, weights):
    """A key of `weights` by its weight."""
    place = generator.random() * sum(weights.values())
    for name, weight in weights.items():
        place -= weight
        if place < 0:
            return name
    return name


def bell(generator):
    """About standard normal: the sum of twelve uniforms. Only `random()` is promised to stay the same for ever."""
    return sum(generator.random() for _ in range(12)) - 6


class World:
    def __init__(self, seed, start, days, cards, merchants):
        self.seed, self.start, self.days = seed, start, days
        self.cards = cards
        generator = random.Random(f"{seed}/merchants")
        self.merchants = {category: [] for category in CATEGORIES}
        for number in range(merchants):
            category = list(CATEGORIES)[number % len(CATEGORIES)]
            self.merchants[category].append((f"m{number:04}", COUNTRIES[int(generator.random() ** 2 * len(COUNTRIES))]))
        self.records, self.serial = [], 0

    def add(self, kind, time, value):
        self.serial += 1
        self.records.append((time, ("payments", "logins", "outcomes").index(kind), self.serial, {"input": kind, "time": time, "value": value}))

    def login(self, card, number, time, country, failed):
        self.add("logins", time, {"login_id": f"{card}-l{number}", "card": card, "country": country, "failed": failed, "seen_at": rfc3339(time)})

    def payment(self, generator, card, number, time, category, scale, abroad, stolen):
        merchant, country = self.merchants[category][int(generator.random() * len(self.merchants[category]))]
        amount = round(max(0.5, CATEGORIES[category][1] * scale * math.exp(0.6 * bell(generator))), 2)
        payment = f"{card}-p{number}"
        channel = "online" if generator.random() < (0.85 if stolen else 0.35) else "terminal"
        self.add("payments", time, {
            "payment_id": payment, "card": card, "merchant": merchant, "category": category, "amount": amount,
            "country": abroad or country, "channel": channel, "paid_at": rfc3339(time)})
        disputed = generator.random() < (0.97 if stolen else 0.002)
        if generator.random() < 0.04:
            return  # nobody ever says
        wait = 14 * HOUR * math.exp(0.8 * bell(generator)) if disputed else (22 + 6 * generator.random()) * HOUR
        known = time + max(10 * MINUTE, int(wait) // 1000 * 1000)
        self.add("outcomes", known, {"payment_id": payment, "card": card, "charged_back": amount if disputed else 0.0, "known_at": rfc3339(known)})

    def holder(self, index):
        """The whole life of one card, from a generator of its own."""
        generator = random.Random(f"{self.seed}/card/{index}")
        card, home = f"c{index:05}", COUNTRIES[int(generator.random() * 7)]
        pace, purse = 0.3 + 2.5 * generator.random() ** 2, math.exp(0.4 * bell(generator))
        away = pick(generator, {country: 1 for country in COUNTRIES}) if generator.random() < 0.1 else None
        taken = self.start + int(generator.random() * self.days * DAY) if generator.random() < 0.012 * self.days else None
        moments = []
        for day in range(self.days):
            midnight = self.start + day * DAY
            for _ in range(int(pace * 2 * generator.random() + generator.random())):
                moments.append(midnight + int((7 + 15 * (generator.random() + generator.random()) / 2) * HOUR))
        payments = logins = 0
        for moment in sorted(moments):
            moment = moment // 1000 * 1000
            if generator.random() < 0.3:
                self.login(card, logins, moment - 3 * MINUTE, away or home, generator.random() < 0.08)
                logins += 1
            category = pick(generator, {name: share for name, (share, _, _) in CATEGORIES.items()})
            self.payment(generator, card, payments, moment, category, purse, away or home if generator.random() < 0.8 else None, False)
            payments += 1
        if taken is None:
            return
        abroad, moment = COUNTRIES[int(generator.random() * len(COUNTRIES))], taken // 1000 * 1000
        for attempt in range(2 + int(4 * generator.random())):
            self.login(card, logins, moment, abroad, True)
            logins, moment = logins + 1, moment + (1 + int(8 * generator.random())) * MINUTE
        self.login(card, logins, moment, abroad, False)
        for _ in range(3 + int(8 * generator.random())):
            moment += (2 + int(40 * generator.random())) * MINUTE
            category = pick(generator, {name: liking for name, (_, _, liking) in CATEGORIES.items()})
            self.payment(generator, card, payments, moment, category, purse * 2.2, abroad if generator.random() < 0.6 else None, True)
            payments += 1

    def stream(self):
        for index in range(self.cards):
            self.holder(index)
        self.records.sort(key=lambda record: record[:3])
        return [record for _, _, _, record in self.records]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="the world, and where the faults fall")
    parser.add_argument("--start", default="2025-03-03", help="first day of the world (default %(default)s)")
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--cards", type=int, default=3000)
    parser.add_argument("--merchants", type=int, default=400)
    parser.add_argument("--from", dest="first", help="first instant played; default: the start")
    parser.add_argument("--to", dest="end", help="first instant not played; default: when all is known")
    parser.add_argument("--faults", action="store_true", help="sprinkle bad input among the records")
    parser.add_argument("--fault-rate", type=float, default=0.004, help="share of records followed by a fault (default %(default)s)")
    parser.add_argument("--out", default="-", help="file, or - for stdout")
    options = parser.parse_args()
    if not 1 <= options.cards <= 100_000 or options.days < 1 or options.merchants < len(CATEGORIES):
        parser.error("cards: 1 to 100000; days: at least 1; merchants: at least one a category")
    start = instant(options.start)
    stream = World(options.seed, start, options.days, options.cards, options.merchants).stream()
    first = instant(options.first) if options.first else start
    end = instant(options.end) if options.end else stream[-1]["time"] + DAY
    lines, counts, faults = play(stream, ROLES, first, end, options.seed, options.fault_rate if options.faults else 0)
    size = write(lines, options.out)
    outcomes = [record["value"]["charged_back"] > 0 for record in stream if record["input"] == "outcomes" and first <= record["time"] < end]
    summary(options.out, size, counts, faults, {"positive_share": round(sum(outcomes) / len(outcomes), 4) if outcomes else None})


if __name__ == "__main__":
    main()
