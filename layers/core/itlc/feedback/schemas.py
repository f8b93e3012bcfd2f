"""What goes into and comes out of the operations on ratings and reviews.

What all may read says nothing of who wrote it.
"""

from typing import Literal

from pydantic import Field

from itlc.fields import Id, Input, Moment, ObjectIdText, Text, View
from itlc.paging import Page


class RateOrder(Input):
    """How the customer rates an order. It replaces an earlier rating as a whole."""

    rating: int = Field(ge=1, le=5, description="5 is best.")
    review: Text | None = Field(None, description="In words; null, or left out, for none.")


class RatingView(View):
    """A rating, as the customer gets it."""

    id: ObjectIdText
    order_id: int
    service_id: int
    rating: int = Field(description="1 to 5; 5 is best.", ge=1, le=5)
    review: str | None = Field(description="In words; null for none.")
    created_at: Moment
    updated_at: Moment


class PublicRating(View):
    """A rating, as all may read it."""

    id: ObjectIdText
    rating: int = Field(description="1 to 5; 5 is best.", ge=1, le=5)
    review: str | None = Field(description="In words; null for none.")
    created_at: Moment
    updated_at: Moment


class ServiceRatings(Page[PublicRating]):
    """A page of a service's ratings, and what they come to all together."""

    average: float | None = Field(description="1 to 5, to two places; null while nobody has rated the service.")
    count: int = Field(description="How many rated the service.")
    distribution: dict[Literal["1", "2", "3", "4", "5"], int] = Field(description="How often each mark was given.")


class WriteReview(Input):
    """A review of a service that the caller bought."""

    service_id: Id
    review: Text


class ChangeReview(Input):
    """A review's writable field."""

    review: Text = Field(default="")


class ReviewView(View):
    """A review, as all may read it."""

    id: ObjectIdText
    service_id: int
    review: str = Field(description="What the customer says of the service.")
    created_at: Moment
    updated_at: Moment
