"""What goes into and comes out of the catalogue's operations."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from itlc.fields import Email, Id, IdInQuery, Input, Moment, Name, Text, View, Words
from itlc.paging import PageQuery


class BecomeProvider(Input):
    """A provider profile for the caller."""

    name: Name
    email: Email | None = Field(None, description="Where customers reach the provider; by default the user's own.")


class ChangeProvider(Input):
    """Any of a provider's writable fields."""

    name: Name = Field(default="")
    email: Email = Field(default="")


class ProviderView(View):
    """A provider, as all may see them."""

    id: int
    name: str = Field(description="One line.")
    email: str = Field(description="Where customers reach the provider.", json_schema_extra={"format": "email"})
    created_at: Moment
    updated_at: Moment


class ProviderQuery(PageQuery):
    """Which providers."""

    q: Words | None = Field(None, description="Words that must all occur in the name.")


class PublishService(Input):
    """A service to offer: in its own words, or in those of a template."""

    name: Name | None = Field(None, description="Required unless a template gives it.")
    description: Text | None = Field(None, description="Required unless a template gives it.")
    template_id: Id | None = Field(None, description="A template of type `service`, whose fields are the defaults.")

    @model_validator(mode="after")
    def _named(self) -> "PublishService":
        if self.template_id is None and (self.name is None or self.description is None):
            raise ValueError("name and description are required where no template_id is given")
        return self


class ChangeService(Input):
    """Any of a service's writable fields."""

    name: Name = Field(default="")
    description: Text = Field(default="")


class Rating(View):
    """How buyers rated a service."""

    average: float | None = Field(description="1 to 5, to two places; null while nobody has rated it.")
    count: int = Field(description="How many rated it.")


class ServiceView(View):
    """A service, as all may see it."""

    volatile: ClassVar[frozenset[str]] = frozenset({"rating"})

    id: int
    name: str = Field(description="One line.")
    description: str = Field(description="What is offered.")
    provider_id: int
    status: Literal["offered", "withdrawn"] = Field(description="A withdrawn one takes no new bids.")
    template_id: int | None
    rating: Rating
    created_at: Moment
    updated_at: Moment


class ServiceQuery(PageQuery):
    """Which of the services on offer, and in which order."""

    q: Words | None = Field(None, description="Words that must all occur in the name or the description.")
    provider_id: IdInQuery | None = Field(None, description="Only what this provider offers.")
    sort: Literal["newest", "rating"] = Field("newest", description="Newest first, or best rated first.")
