"""Publish a blog."""

from itlc.catalog.service import provider_of
from itlc.content import service
from itlc.content.model import BLOG
from itlc.content.schemas import BlogView, WriteBlog
from itlc.operation import Operation
from itlc.stores import mongo

app = Operation("write_blog")


@app.route(
    "/blogs",
    methods=["POST"],
    allow="provider",
    accepts=WriteBlog,
    returns=BlogView,
    status=201,
    store=mongo.blogs,
    location="blogs/{id}",
)
def write_blog(request: WriteBlog) -> BlogView:
    author = provider_of(app.caller.id)
    return app.commit(service.write, BLOG, request, caller=app.caller, author=author)
