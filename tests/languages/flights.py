"""Cases of real flights for the three transforms: flights.py FLIGHTS.csv.zip FOLDER.

A few hundred, from all over the year. Numbers stay as they are written; what is not known is null.
"""

import csv
import io
import json
import pathlib
import sys
import zipfile

EVERY = 900


def value(text):
    if text == "NA":
        return "null"
    return text if text.replace(".", "", 1).lstrip("-").isdigit() else json.dumps(text)


def line(number, row):
    members = ",".join(f"{json.dumps(name)}:{value(text)}" for name, text in row.items())
    tail = "null" if row["tailnum"] == "NA" else json.dumps(row["tailnum"])
    headers = f'"origin":{json.dumps(row["origin"])},"tail":{tail}'
    return f'{{"key":{json.dumps(row["carrier"])},"value":{{{members}}},"headers":{{{headers}}},"timestamp":{number}}}\n'


def main(flights, folder):
    with zipfile.ZipFile(flights) as archive:
        text = io.TextIOWrapper(archive.open("flights.csv"), "utf-8")
        lines = [line(number, row) for number, row in enumerate(csv.DictReader(text)) if number % EVERY == 0]
    configs = {
        "redact": {"drop": ["tailnum", "hour"], "replace": ["carrier", "dest"]},
        "only": {"prefix": "U", "header": {"name": "origin", "values": ["EWR", "LGA"]}},
        "rekey": {"from": "tail", "keep_as": "carrier", "delay_ms": 3_600_000},
    }
    for name, config in configs.items():
        case = pathlib.Path(folder) / name
        case.mkdir(parents=True, exist_ok=True)
        (case / "config.json").write_text(json.dumps(config))
        (case / "input.jsonl").write_text("".join(lines))


main(*sys.argv[1:])
