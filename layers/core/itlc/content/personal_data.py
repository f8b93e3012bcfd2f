"""What a person has written for all to read: shown to them, and gone when they leave.

`db` is the collection of blogs or of FAQs.
"""

from pymongo.collection import Collection

from itlc.content import repository
from itlc.stores.mongo import Document, DocumentWriter


def export(db: "Collection[Document]", user_id: int) -> list[Document]:
    """All of the person's blogs or FAQs."""
    return repository.all_of(db, user_id)


def erase(db: DocumentWriter, user_id: int) -> None:
    """Delete all of the person's blogs or FAQs."""
    db.remove_all({"user_id": user_id}, "piece")
