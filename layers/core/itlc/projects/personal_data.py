"""A person's projects: shown to them, and gone when they leave."""

from typing import Any

from pymongo.collection import Collection

from itlc.projects import repository
from itlc.stores.mongo import Document, DocumentWriter


def export(db: "Collection[Document]", user_id: int) -> dict[str, Any]:
    """All of the person's projects."""
    return {"projects": repository.all_of(db, user_id)}


def erase(db: DocumentWriter, user_id: int) -> None:
    """Delete all of the person's projects, those with orders too."""
    db.remove_all({"owner_id": user_id}, "project")
