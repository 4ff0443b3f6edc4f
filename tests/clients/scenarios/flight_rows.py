"""The flights as rows: numbered dictionaries out of the CSV file, zipped or not."""

import csv
import io
import zipfile


def rows(path, limit):
    if path.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            name = archive.namelist()[0]
            text = io.TextIOWrapper(archive.open(name), encoding="utf-8")
            yield from limited(csv.DictReader(text), limit)
    else:
        with open(path, encoding="utf-8") as text:
            yield from limited(csv.DictReader(text), limit)


def limited(reader, limit):
    for number, row in enumerate(reader):
        if limit is not None and number >= limit:
            return
        yield number, row
