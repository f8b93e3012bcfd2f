"""The queries on ratings and reviews."""

from pymongo.collection import Collection

from itlc.feedback.model import MARKS
from itlc.paging import Found, PageQuery
from itlc.stores.mongo import NOT_ANSWERED, Document, newest, now


def rating_of_order(db: "Collection[Document]", order_id: int) -> Document | None:
    """The order's rating, or None."""
    return db.find_one({"order_id": order_id}, NOT_ANSWERED)


def find_of_service(db: "Collection[Document]", service_id: int, query: PageQuery) -> Found[Document]:
    """A page of a service's ratings or reviews, newest first."""
    return newest(db, {"service_id": service_id}, query)


def distribution(db: "Collection[Document]", service_id: int) -> dict[int, int]:
    """How often each mark, from 1 to 5, was given to a service."""
    by_mark: list[Document] = [
        {"$match": {"service_id": service_id}},
        {"$group": {"_id": "$rating", "times": {"$sum": 1}}},
    ]
    given = {row["_id"]: row["times"] for row in db.aggregate(by_mark)}
    return {mark: given.get(mark, 0) for mark in MARKS}


def all_of(db: "Collection[Document]", user_id: int) -> list[Document]:
    """All ratings or reviews of somebody, oldest first."""
    return db.find({"user_id": user_id}, NOT_ANSWERED).sort("_id", 1).to_list()


def keep_only_the_marks(db: "Collection[Document]", user_id: int) -> None:
    """Take the words, and whose they are, off the ratings that somebody gave."""
    nothing_else: Document = {"review": None, "user_id": None, "updated_at": now()}
    db.update_many({"user_id": user_id}, {"$set": nothing_else, "$inc": {"version": 1}})
