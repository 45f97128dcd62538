"""The second schema: today's without the table of filtered records. A file of it is read as if it had an empty one."""

from __future__ import annotations

import sqlite3

from lapo_verl.store import schema


def read(connection: sqlite3.Connection) -> None:
    """Gives a connection that only reads the table that a file of the second schema lacks; the file stays as it is."""
    if schema.version(connection) == schema.SECOND_VERSION:
        connection.execute(schema.FILTERED_RECORDS.replace("CREATE TABLE", "CREATE TEMP TABLE"))


def carry_over(connection: sqlite3.Connection) -> None:
    """Makes a store of the second schema one of today's, in its place and in one transaction."""
    if schema.version(connection) == schema.SECOND_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(schema.FILTERED_RECORDS)
        connection.execute(f"PRAGMA user_version = {schema.VERSION}")
        connection.execute("COMMIT")
