"""Publish the API's contract."""

from pathlib import Path
from typing import Any

from itlc.operation import Operation
from itlc.system import pages

app = Operation("show_openapi")


@app.route("/openapi.json", methods=["GET"], allow="anyone", returns=dict[str, Any])
def show_openapi() -> str:
    """The OpenAPI 3.1 document of every operation."""
    return pages.openapi(Path(__file__).parent)
