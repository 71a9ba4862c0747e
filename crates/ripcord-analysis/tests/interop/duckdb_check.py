"""Runs the queries of docs/trace.md on the tables of a folder, and tells their answers as JSON."""

import json
import os
import sys

import duckdb


def queries(page):
    """The SQL blocks of a page, in order."""
    parts = page.split("```sql\n")[1:]
    return [part.split("```")[0] for part in parts]


def main():
    page, folder = sys.argv[1], sys.argv[2]
    with open(page, encoding="utf-8") as file:
        texts = queries(file.read())
    os.chdir(folder)
    types = {
        table: [[row[0], row[1]] for row in duckdb.sql(f"describe select * from '{table}.parquet'").fetchall()]
        for table in ("events", "polls", "tasks", "contexts")
    }
    answers = [[list(row) for row in duckdb.sql(text).fetchall()] for text in texts]
    print(json.dumps({"types": types, "answers": answers}, default=str))


main()
