"""Change a question and its answer."""

from itlc.content import service
from itlc.content.model import FAQ
from itlc.content.schemas import ChangeFaq, FaqView
from itlc.operation import Operation
from itlc.stores import mongo

app = Operation("change_faq")


@app.route(
    "/faqs/{faq_id}",
    methods=["PATCH"],
    allow="owner",
    accepts=ChangeFaq,
    returns=FaqView,
    store=mongo.faqs,
)
def change_faq(faq_id: str, request: ChangeFaq) -> FaqView:
    return app.commit(service.change, FAQ, faq_id, request, caller=app.caller, if_match=app.if_match)
