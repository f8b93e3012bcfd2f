"""Delete a question and its answer."""

from itlc.content import service
from itlc.content.model import FAQ
from itlc.operation import Operation
from itlc.stores import mongo

app = Operation("delete_faq")


@app.route("/faqs/{faq_id}", methods=["DELETE"], allow="owner", status=204, store=mongo.faqs)
def delete_faq(faq_id: str) -> None:
    app.commit(service.remove, FAQ, faq_id, caller=app.caller, if_match=app.if_match)
