"""What goes into and comes out of the projects' operations."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from itlc.fields import Id, Input, Moment, Name, ObjectIdText, Text, View, Words
from itlc.paging import PageQuery
from itlc.projects.model import MAX_SERVICES, ProjectStatus


def _each_once(ids: list[int]) -> list[int]:
    if len(set(ids)) < len(ids):
        raise ValueError("names a service twice")
    return ids


class CreateProject(Input):
    """A project to plan: in the caller's words, or in those of a template."""

    template_id: Id | None = Field(None, description="A template of type `project`, whose fields are the defaults.")
    name: Name | None = Field(None, validate_default=True, description="Required unless a template gives it.")
    description: Text | None = Field(None, validate_default=True, description="Required unless a template gives it.")
    service_ids: Annotated[list[Id], AfterValidator(_each_once)] = Field(
        [],
        max_length=MAX_SERVICES,
        description="The services that the project uses, each offered.",
        json_schema_extra={"uniqueItems": True},
    )

    @field_validator("name", "description")
    @classmethod
    def _given(cls, value: str | None, info: ValidationInfo) -> str | None:
        # A template_id that was itself refused is not among info.data; one complaint is enough then.
        if value is None and info.data.get("template_id", 0) is None:
            raise PydanticCustomError("missing", "is required where no template_id is given")
        return value


class ChangeProject(Input):
    """Any of a project's writable fields."""

    name: Name = Field(default="")
    description: Text = Field(default="")


class ProjectView(View):
    """A project, as its owner sees it."""

    id: ObjectIdText
    owner_id: int
    name: str = Field(description="One line.")
    description: str = Field(description="What is planned.")
    service_ids: list[int] = Field(description="The services that it uses, in the order in which they came.")
    status: ProjectStatus = Field(
        description="`open` without orders; `completed` once all are completed or cancelled, and one is completed."
    )
    template_id: int | None
    created_at: Moment
    updated_at: Moment


class ProjectQuery(PageQuery):
    """Which of the caller's projects."""

    q: Words | None = Field(None, description="Words that must all occur in the name or the description.")
    status: ProjectStatus | None = Field(None, description="Only those that stand so.")


class Progress(BaseModel):
    """What the orders tell of a project: how it stands, and the number of this count of them."""

    project_id: ObjectIdText
    status: ProjectStatus
    version: int = Field(ge=1, lt=2**63)
