"""What goes into and comes out of the templates' operations."""

from typing import Literal

from pydantic import Field

from itlc.fields import Input, Moment, Name, Text, View, Words
from itlc.paging import PageQuery

TemplateType = Literal["project", "service"]


class KeepTemplate(Input):
    """A template to keep."""

    name: Name
    description: Text
    type: TemplateType


class ChangeTemplate(Input):
    """Any of a template's writable fields."""

    name: Name = Field(default="")
    description: Text = Field(default="")
    type: TemplateType = Field(default="project")


class TemplateView(View):
    """A template, as all may see it."""

    id: int
    name: str
    description: str
    type: TemplateType
    created_at: Moment
    updated_at: Moment


class TemplateQuery(PageQuery):
    """Which templates."""

    type: TemplateType | None = None
    q: Words | None = Field(None, description="Words that must all occur in the name or the description.")
