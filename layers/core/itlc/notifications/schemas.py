"""What goes into and comes out of the notifications' operations, and what a notice on the queue holds."""

from pydantic import BaseModel, ConfigDict, Field

from itlc.fields import Id, Input, LongText, Moment, View
from itlc.paging import PageQuery


class Notice(BaseModel):
    """The payload of an event of type `notice`, as `itlc.notices.notice` makes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    message: LongText
    user_ids: list[Id]
    emails: list[str]
    """Whatever text the personnel were given as: one that is no address keeps nobody else from being told."""
    actor_id: Id | None


class NotificationView(View):
    """Something that a user was told."""

    id: int
    user_id: int
    message: str = Field(description="One sentence.")
    about: str = Field(description="What it is about, for instance `order:12`.")
    read_status: bool = Field(description="Whether it was read.")
    created_at: Moment


class NotificationQuery(PageQuery):
    """Which of the caller's notifications."""

    read_status: bool | None = Field(None, description="Read ones, or unread ones; all when absent.")


class MarkNotification(Input):
    """Whether it was read."""

    read_status: bool = Field(False, description="Whether it was read.")


class UnreadCount(View):
    """How many notifications the caller has not read."""

    unread_count: int = Field(ge=0, description="How many are unread.")
