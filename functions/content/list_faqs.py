"""Look through questions and their answers."""

from itlc.content import service
from itlc.content.model import FAQ
from itlc.content.schemas import FaqView, PieceQuery
from itlc.operation import Operation
from itlc.paging import Found, Page
from itlc.stores import mongo

app = Operation("list_faqs")


@app.route("/faqs", methods=["GET"], allow="anyone", query=PieceQuery, returns=Page[FaqView])
def list_faqs(query: PieceQuery) -> Found[FaqView]:
    with mongo.faqs.read() as db:
        return service.find(db, FAQ, query)
