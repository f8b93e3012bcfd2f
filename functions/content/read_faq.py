"""Read a question and its answer."""

from itlc.content import service
from itlc.content.model import FAQ
from itlc.content.schemas import FaqView
from itlc.operation import Operation
from itlc.stores import mongo

app = Operation("read_faq")


@app.route("/faqs/{faq_id}", methods=["GET"], allow="anyone", returns=FaqView)
def read_faq(faq_id: str) -> FaqView:
    with mongo.faqs.read() as db:
        return service.read(db, FAQ, faq_id)
