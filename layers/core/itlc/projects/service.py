"""Projects: planned by their owner, using services, followed through their orders."""

from collections.abc import Callable

from pydantic import ValidationError
from pymongo.collection import Collection

from itlc.access import Caller
from itlc.audit_events import if_privileged
from itlc.errors import Conflict, NotFound, Poison, invalid
from itlc.events import Event
from itlc.paging import Found
from itlc.preconditions import IfMatch
from itlc.projects import repository
from itlc.projects.model import MAX_SERVICES, words_of
from itlc.projects.schemas import ChangeProject, CreateProject, Progress, ProjectQuery, ProjectView
from itlc.stores import mongo
from itlc.stores.mongo import Change, Document, DocumentWriter, object_id
from itlc.templates.schemas import TemplateView


def create_project(
    db: DocumentWriter, request: CreateProject, *, caller: Caller, template: TemplateView | None
) -> ProjectView:
    """The caller's new project; what the request leaves out comes from the template. Its services were checked."""
    name = request.name or (template.name if template else "")
    description = request.description or (template.description if template else "")
    project = {
        "name": name,
        "description": description,
        "owner_id": caller.id,
        "service_ids": request.service_ids,
        "status": "open",
        "status_version": 0,
        "template_id": request.template_id,
        "words": words_of(name, description),
    }
    return db.create(project, view)


def read_project(db: "Collection[Document]", project_id: str, *, caller: Caller) -> ProjectView:
    """One project. Raises NotFound, also for another's."""
    project = repository.one(db, object_id(project_id))
    if project is None:
        raise NotFound("There is no such project.")
    caller.must_see("project", project["owner_id"])
    return view(project)


def list_projects(db: "Collection[Document]", query: ProjectQuery, *, caller: Caller) -> Found[ProjectView]:
    """A page of the caller's projects, newest first."""
    return repository.find(db, caller.id, query).map(view)


def change_project(
    db: DocumentWriter, project_id: str, request: ChangeProject, *, caller: Caller, if_match: IfMatch
) -> ProjectView:
    """The project after the change. Raises NotFound, also for another's, and PreconditionFailed."""

    def decide(project: ProjectView) -> Change:
        fields = request.model_dump(exclude_unset=True)
        if fields:
            after = project.model_copy(update=fields)
            fields["words"] = words_of(after.name, after.description)
        return Change(fields)

    return _change(db, project_id, decide, caller, if_match, "change_project")


def delete_project(db: DocumentWriter, project_id: str, *, caller: Caller, if_match: IfMatch) -> None:
    """Delete a project, which is closed to bids and orders meanwhile (`orders.closing.closed_project`) and has no
    orders. Raises NotFound, also for another's, PreconditionFailed, and Conflict where its status tells of orders."""

    def allow(document: Document) -> tuple[Event, ...]:
        project = _own(document, caller, if_match)
        if document["status"] != "open":
            raise Conflict("This project has orders: it can no longer be deleted.")
        return if_privileged(
            caller, project.owner_id, "delete_project", f"project:{project_id}", before=_audited(project)
        )

    db.remove({"_id": object_id(project_id)}, "project", allow)


def use_service(db: DocumentWriter, project_id: str, service_id: int, *, caller: Caller, if_match: IfMatch) -> None:
    """Put an offered service among those that the project uses; one that is there stays. Raises NotFound, also for
    another's project, PreconditionFailed, and Conflict when the project uses as many as it may."""

    def decide(project: ProjectView) -> Change:
        if service_id in project.service_ids:
            return Change()
        if len(project.service_ids) >= MAX_SERVICES:
            raise Conflict(f"A project uses at most {MAX_SERVICES} services: drop one first.")
        return Change({"service_ids": [*project.service_ids, service_id]})

    _change(db, project_id, decide, caller, if_match, "use_service")


def drop_service(db: DocumentWriter, project_id: str, service_id: int, *, caller: Caller, if_match: IfMatch) -> None:
    """Take a service out of those that the project uses, whether or not it is still offered. Raises NotFound, also
    for another's project and a service that it does not use, and PreconditionFailed."""

    def decide(project: ProjectView) -> Change:
        if service_id not in project.service_ids:
            raise NotFound(f"This project does not use service {service_id}.")
        return Change({"service_ids": [used for used in project.service_ids if used != service_id]})

    _change(db, project_id, decide, caller, if_match, "drop_service")


def follow_orders(db: DocumentWriter, event: Event) -> None:
    """Let a project stand as its orders do. A count of them that comes late or twice changes nothing, and so does
    one of a project that is gone. Raises Poison for an event that tells no such thing."""
    if event.type != "progress":
        raise Poison(f"projects know no event of type {event.type!r}")
    try:
        progress = Progress.model_validate({**event.payload, "version": event.aggregate_version}, strict=True)
    except ValidationError as error:
        wrong = ", ".join(str(item["loc"][0]) for item in error.errors())
        raise Poison(f"the event does not tell how a project stands: {wrong}") from error
    repository.follow(db.documents, progress)


def own_project(project_id: str, caller: Caller, field: str | None = None) -> ProjectView:
    """The caller's project, for another domain. Opens `itlc_pbfr` itself. Raises NotFound, also for another's.

    Where a body's `field` named it, only the owner may use it, an administrator neither; raises Invalid instead.
    """
    with mongo.projects.read() as db:
        try:
            project = read_project(db, project_id, caller=caller)
        except NotFound as error:
            if field is None:
                raise
            raise _not_own(field, project_id) from error
    if field is not None and project.owner_id != caller.id:
        raise _not_own(field, project_id)
    return project


def view(document: Document) -> ProjectView:
    """A project's document as it is answered."""
    return ProjectView.model_validate({**document, "id": str(document["_id"])})


def _change(
    db: DocumentWriter,
    project_id: str,
    decide: Callable[[ProjectView], Change],
    caller: Caller,
    if_match: IfMatch,
    action: str,
) -> ProjectView:
    """Change the caller's project as `decide` says; where an administrator does it, `action` goes on record."""

    def decide_on_own(document: Document) -> Change:
        project = _own(document, caller, if_match)
        change = decide(project)
        if not change.fields:
            return change
        changed = {"changed": sorted(set(change.fields) - {"words", "service_ids"})}
        if "service_ids" in change.fields:
            changed = {"service_ids": change.fields["service_ids"]}
        record = if_privileged(
            caller, project.owner_id, action, f"project:{project_id}", before=_audited(project), after=changed
        )
        return Change(change.fields, (*change.emit, *record))

    return view(db.change({"_id": object_id(project_id)}, "project", decide_on_own))


def _audited(project: ProjectView) -> dict[str, object]:
    """What the audit keeps of a project: whose it is and what it uses, none of its texts."""
    return {"owner_id": project.owner_id, "service_ids": project.service_ids}


def _own(document: Document, caller: Caller, if_match: IfMatch) -> ProjectView:
    caller.must_see("project", document["owner_id"])
    project = view(document)
    if_match.check(project)
    return project


def _not_own(field: str, project_id: str) -> Exception:
    return invalid(field, f"you have no project {project_id}")
