"""The API's own documents, from the files that are deployed beside the operations of `functions/system`."""

from functools import cache
from pathlib import Path


@cache
def openapi(folder: Path) -> str:
    """The OpenAPI document, as JSON text. Raises FileNotFoundError when it was not deployed."""
    return (folder / "openapi.json").read_text(encoding="utf-8")


@cache
def docs(folder: Path) -> str:
    """The page to read and try the API with: one HTML text that needs nothing from elsewhere but `openapi.json`.

    Swagger UI's script and style are written into the page. Raises FileNotFoundError when they were not deployed.
    """
    page = (folder / "docs.html").read_text(encoding="utf-8")
    style = (folder / "assets" / "swagger-ui.css").read_text(encoding="utf-8")
    script = (folder / "assets" / "swagger-ui-bundle.js").read_text(encoding="utf-8")
    # Inside of a <script>, only its end tag could be mistaken for HTML.
    script = script.replace("</script", "<\\/script")
    return page.replace("/* swagger-ui.css */", style).replace("/* swagger-ui-bundle.js */", script)
