"""What goes into and comes out of the templates' operations."""

from typing import Literal

from pydantic import Field

from itlc.fields import Input, Moment, Name, Text, View, Words
from itlc.paging import PageQuery

TemplateType = Literal["project", "service"]
MADE_OF_IT = "What is made of it."


class KeepTemplate(Input):
    """A template to keep."""

    name: Name
    description: Text
    type: TemplateType = Field(description=MADE_OF_IT)


class ChangeTemplate(Input):
    """Any of a template's writable fields."""

    name: Name = Field(default="")
    description: Text = Field(default="")
    type: TemplateType = Field(default="project", description=MADE_OF_IT)


class TemplateView(View):
    """A template, as all may see it."""

    id: int
    name: str = Field(description="The name of what is made of it, where no other is given.")
    description: str = Field(description="The same for the description.")
    type: TemplateType = Field(description=MADE_OF_IT)
    created_at: Moment
    updated_at: Moment


class TemplateQuery(PageQuery):
    """Which templates."""

    type: TemplateType | None = Field(None, description="Only those of which this is made.")
    q: Words | None = Field(None, description="Words that must all occur in the name or the description.")
