"""Show the API's contract as a page that a person can read and try."""

from pathlib import Path

from itlc.operation import Operation, Reply
from itlc.system import pages

app = Operation("show_docs")


@app.route("/docs", methods=["GET"], allow="anyone", returns=str, content_types=("text/html",))
def show_docs() -> Reply:
    """One HTML page, which needs nothing from any other host."""
    policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src *"
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy}
    return Reply(pages.docs(Path(__file__).parent), headers=headers)
