"""Search by whole words in PostgreSQL, folded alike in what is kept and in what is asked for.

PostgreSQL's own parser takes `and/or` for a file, `ada@example.org` for an address and `-11` for a number, and finds
none of their parts; so what is no letter and no digit becomes a space before it sees the text. Accents go, as they do
in MongoDB (`itlc.fields.search_words`), and the dictionary `simple` takes care of capitals.
"""

from typing import Any

from sqlalchemy import ColumnElement, Computed, text

FOLD = "regexp_replace(regexp_replace(normalize("
FOLDED = r", NFKD), '[\u0300-\u036f]', '', 'g'), '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007f]+', ' ', 'g')"
"""What stands before and after a text to take off its accents and punctuation. Characters go by their numbers, so that
no database's locale has a say."""


def words_of(sql: str) -> Computed:
    """The words of the text that the constant `sql` makes of a row's columns, for a column with a GIN index."""
    return Computed(f"to_tsvector('simple', {FOLD}{sql}{FOLDED})", persisted=True)


def has_words(column: ColumnElement[Any], asked: str) -> ColumnElement[bool]:
    """Whether all words of `asked` are among those of `column`; false where `asked` has none."""
    query = text(f"plainto_tsquery('simple', {FOLD}:asked{FOLDED})").bindparams(asked=asked)
    return column.op("@@")(query)
