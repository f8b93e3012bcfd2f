"""The queries on blogs and FAQs, which are two collections of one form."""

from bson import ObjectId
from pymongo.collection import Collection

from itlc.content.schemas import PieceQuery
from itlc.fields import search_words
from itlc.paging import Found
from itlc.stores.mongo import NOT_ANSWERED, Document, newest


def one(db: "Collection[Document]", piece_id: ObjectId | None) -> Document | None:
    """One blog or FAQ, or None."""
    return db.find_one({"_id": piece_id}, NOT_ANSWERED)


def find(db: "Collection[Document]", query: PieceQuery) -> Found[Document]:
    """A page of blogs or FAQs, newest first."""
    where: Document = {}
    if query.provider_id is not None:
        where["provider_id"] = query.provider_id
    if query.q is not None:
        where["words"] = {"$all": search_words(query.q)}
    return newest(db, where, query)


def all_of(db: "Collection[Document]", user_id: int) -> list[Document]:
    """All blogs or FAQs of somebody, oldest first."""
    return db.find({"user_id": user_id}, NOT_ANSWERED).sort("_id", 1).to_list()
