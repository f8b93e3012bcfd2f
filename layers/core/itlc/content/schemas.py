"""What goes into and comes out of the operations on blogs and FAQs."""

from pydantic import Field

from itlc.fields import IdInQuery, Input, LongText, Moment, Name, ObjectIdText, Text, View, Words
from itlc.paging import PageQuery


class WriteBlog(Input):
    """A blog to publish."""

    title: Name
    content: LongText


class ChangeBlog(Input):
    """Any of a blog's writable fields."""

    title: Name = Field(default="")
    content: LongText = Field(default="")


class WriteFaq(Input):
    """A question that customers ask, and its answer."""

    question: Text
    answer: Text


class ChangeFaq(Input):
    """Any of an FAQ's writable fields."""

    question: Text = Field(default="")
    answer: Text = Field(default="")


class PieceView(View):
    """What all that providers write has in common."""

    id: ObjectIdText
    author: str = Field(description="The provider's name when it was written.")
    provider_id: int
    created_at: Moment
    updated_at: Moment


class BlogView(PieceView):
    """A blog, as all may read it."""

    title: str = Field(description="One line.")
    content: str = Field(description="The article.")


class FaqView(PieceView):
    """A question and its answer, as all may read them."""

    question: str = Field(description="What customers ask.")
    answer: str = Field(description="What the provider says.")


class PieceQuery(PageQuery):
    """Which blogs or FAQs."""

    provider_id: IdInQuery | None = Field(None, description="Only what this provider wrote.")
    q: Words | None = Field(None, description="Words that must all occur.")
