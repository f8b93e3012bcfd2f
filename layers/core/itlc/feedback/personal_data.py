"""What a person has said of others' work: shown to them; when they leave, reviews go and ratings are a number only."""

from pymongo.collection import Collection

from itlc.feedback import repository
from itlc.stores.mongo import Document, DocumentWriter


def export(db: "Collection[Document]", user_id: int) -> list[Document]:
    """All of the person's ratings or reviews, whose collection `db` is."""
    return repository.all_of(db, user_id)


def erase_reviews(db: DocumentWriter, user_id: int) -> None:
    """Delete all of the person's reviews."""
    db.remove_all({"user_id": user_id}, "review")


def erase_from_ratings(db: DocumentWriter, user_id: int) -> None:
    """Leave of the person's ratings the number only, so that averages stay what they are."""
    repository.keep_only_the_marks(db.documents, user_id)
