"""What providers write for all to read: blogs and FAQs, the same in everything but their two fields.

`db` is the collection of the `kind` at hand.
"""

from pymongo.collection import Collection

from itlc.access import Caller
from itlc.audit_events import if_privileged
from itlc.catalog.schemas import ProviderView
from itlc.content import repository
from itlc.content.model import Kind, V
from itlc.content.schemas import ChangeBlog, ChangeFaq, PieceQuery, WriteBlog, WriteFaq
from itlc.errors import Forbidden, NotFound
from itlc.events import Event
from itlc.paging import Found
from itlc.preconditions import IfMatch
from itlc.stores.mongo import Change, Document, DocumentWriter, object_id


def write(
    db: DocumentWriter, kind: Kind[V], request: WriteBlog | WriteFaq, *, caller: Caller, author: ProviderView | None
) -> V:
    """The new piece, signed with the provider's name. Raises Forbidden for whoever is no provider."""
    if author is None:
        raise Forbidden("Only providers may do this: become one with POST /providers.")
    fields = request.model_dump()
    piece = {
        **fields,
        "author": author.name,
        "provider_id": author.id,
        "user_id": caller.id,
        "words": kind.words_of(fields),
    }
    return db.create(piece, lambda document: view(kind, document))


def read(db: "Collection[Document]", kind: Kind[V], piece_id: str) -> V:
    """One piece. Raises NotFound."""
    piece = repository.one(db, object_id(piece_id))
    if piece is None:
        raise NotFound(f"There is no such {kind.name}.")
    return view(kind, piece)


def find(db: "Collection[Document]", kind: Kind[V], query: PieceQuery) -> Found[V]:
    """A page of pieces, newest first."""
    return repository.find(db, query).map(lambda document: view(kind, document))


def change(
    db: DocumentWriter,
    kind: Kind[V],
    piece_id: str,
    request: ChangeBlog | ChangeFaq,
    *,
    caller: Caller,
    if_match: IfMatch,
) -> V:
    """The piece after the change. Raises NotFound, Forbidden when it is another's, PreconditionFailed."""

    def decide(piece: Document) -> Change:
        _must_own(kind, piece, caller, if_match)
        fields = request.model_dump(exclude_unset=True)
        if not fields:
            return Change()
        changed = {"changed": sorted(fields)}
        record = if_privileged(
            caller,
            piece["user_id"],
            f"change_{kind.word}",
            f"{kind.word}:{piece_id}",
            before=_audited(piece),
            after=changed,
        )
        return Change({**fields, "words": kind.words_of({**piece, **fields})}, record)

    return view(kind, db.change({"_id": object_id(piece_id)}, kind.name, decide))


def remove(db: DocumentWriter, kind: Kind[V], piece_id: str, *, caller: Caller, if_match: IfMatch) -> None:
    """Delete a piece. Raises NotFound, Forbidden when it is another's, PreconditionFailed."""

    def allow(piece: Document) -> tuple[Event, ...]:
        _must_own(kind, piece, caller, if_match)
        return if_privileged(
            caller, piece["user_id"], f"delete_{kind.word}", f"{kind.word}:{piece_id}", before=_audited(piece)
        )

    db.remove({"_id": object_id(piece_id)}, kind.name, allow)


def view(kind: Kind[V], document: Document) -> V:
    """A document as it is answered."""
    return kind.view.model_validate({**document, "id": str(document["_id"])})


def _audited(piece: Document) -> dict[str, object]:
    """What the audit keeps of a piece: whose it is, none of its texts."""
    return {"user_id": piece["user_id"], "provider_id": piece["provider_id"]}


def _must_own(kind: Kind[V], piece: Document, caller: Caller, if_match: IfMatch) -> None:
    caller.must_own(kind.name, piece["user_id"])
    if_match.check(view(kind, piece))
