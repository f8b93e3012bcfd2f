"""Read a blog."""

from itlc.content import service
from itlc.content.model import BLOG
from itlc.content.schemas import BlogView
from itlc.operation import Operation
from itlc.stores import mongo

app = Operation("read_blog")


@app.route("/blogs/{blog_id}", methods=["GET"], allow="anyone", returns=BlogView)
def read_blog(blog_id: str) -> BlogView:
    with mongo.blogs.read() as db:
        return service.read(db, BLOG, blog_id)
