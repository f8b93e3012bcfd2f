"""The projects' queries."""

from bson import ObjectId
from pymongo.collection import Collection

from itlc.fields import search_words
from itlc.paging import Found
from itlc.projects.schemas import Progress, ProjectQuery
from itlc.stores.mongo import NOT_ANSWERED, Document, newest, now


def one(db: "Collection[Document]", project_id: ObjectId | None) -> Document | None:
    """One project, or None."""
    return db.find_one({"_id": project_id}, NOT_ANSWERED)


def find(db: "Collection[Document]", owner_id: int, query: ProjectQuery) -> Found[Document]:
    """A page of somebody's projects, newest first."""
    where: Document = {"owner_id": owner_id}
    if query.status is not None:
        where["status"] = query.status
    if query.q is not None:
        where["words"] = {"$all": search_words(query.q)}
    return newest(db, where, query)


def follow(db: "Collection[Document]", progress: Progress) -> None:
    """Let a project stand as its orders do, unless it is gone or has heard of a later count of them."""
    db.update_one(
        {"_id": ObjectId(progress.project_id), "status_version": {"$lt": progress.version}},
        {
            "$set": {"status": progress.status, "status_version": progress.version, "updated_at": now()},
            "$inc": {"version": 1},
        },
    )


def all_of(db: "Collection[Document]", owner_id: int) -> list[Document]:
    """All projects of somebody, oldest first."""
    return db.find({"owner_id": owner_id}, NOT_ANSWERED).sort("_id", 1).to_list()
