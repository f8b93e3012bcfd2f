"""Look through the blogs."""

from itlc.content import service
from itlc.content.model import BLOG
from itlc.content.schemas import BlogView, PieceQuery
from itlc.operation import Operation
from itlc.paging import Found, Page
from itlc.stores import mongo

app = Operation("list_blogs")


@app.route("/blogs", methods=["GET"], allow="anyone", query=PieceQuery, returns=Page[BlogView])
def list_blogs(query: PieceQuery) -> Found[BlogView]:
    with mongo.blogs.read() as db:
        return service.find(db, BLOG, query)
