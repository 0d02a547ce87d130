# /// honest
# shows = "a SQLite database in a file, with its locks and its write-ahead log"
# stdout = "wal 499500 1000"
# ///
import sqlite3

with sqlite3.connect("numbers.db") as database:
    mode = database.execute("pragma journal_mode = wal").fetchone()[0]
    database.execute("create table numbers (value integer)")
    database.executemany("insert into numbers values (?)", ((number,) for number in range(1000)))
print(mode, *sqlite3.connect("numbers.db").execute("select sum(value), count(*) from numbers").fetchone())
