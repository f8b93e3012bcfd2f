"""Change a blog."""

from itlc.content import service
from itlc.content.model import BLOG
from itlc.content.schemas import BlogView, ChangeBlog
from itlc.operation import Operation
from itlc.stores import mongo

app = Operation("change_blog")


@app.route(
    "/blogs/{blog_id}",
    methods=["PATCH"],
    allow="owner",
    accepts=ChangeBlog,
    returns=BlogView,
    store=mongo.blogs,
)
def change_blog(blog_id: str, request: ChangeBlog) -> BlogView:
    return app.commit(service.change, BLOG, blog_id, request, caller=app.caller, if_match=app.if_match)
