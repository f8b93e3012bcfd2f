"""Delete a blog."""

from itlc.content import service
from itlc.content.model import BLOG
from itlc.operation import Operation
from itlc.stores import mongo

app = Operation("delete_blog")


@app.route("/blogs/{blog_id}", methods=["DELETE"], allow="owner", status=204, store=mongo.blogs)
def delete_blog(blog_id: str) -> None:
    app.commit(service.remove, BLOG, blog_id, caller=app.caller, if_match=app.if_match)
