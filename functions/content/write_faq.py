"""Publish a question and its answer."""

from itlc.catalog.service import provider_of
from itlc.content import service
from itlc.content.model import FAQ
from itlc.content.schemas import FaqView, WriteFaq
from itlc.operation import Operation
from itlc.stores import mongo

app = Operation("write_faq")


@app.route(
    "/faqs",
    methods=["POST"],
    allow="provider",
    accepts=WriteFaq,
    returns=FaqView,
    status=201,
    store=mongo.faqs,
    location="faqs/{id}",
)
def write_faq(request: WriteFaq) -> FaqView:
    author = provider_of(app.caller.id)
    return app.commit(service.write, FAQ, request, caller=app.caller, author=author)
