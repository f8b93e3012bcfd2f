"""The rules that need a store before a view may run: a provider profile, an administrator, a session that lives."""

from dataclasses import replace

from itlc.access import Caller, Rule
from itlc.errors import Forbidden, Unauthenticated


def admit(caller: Caller, rule: Rule, *, live_session: bool) -> Caller:
    """The caller with what the rule found out.

    Raises Forbidden when the caller has no provider profile or is no administrator, Unauthenticated when their
    session has ended though their access token has not.
    """
    if live_session or rule == "admin":
        from itlc.accounts.service import session_of

        session = session_of(caller)
        if session is None:
            raise Unauthenticated("This session has ended: sign in again.")
        caller = replace(caller, is_admin=session.is_admin)
        if rule == "admin" and not session.is_admin:
            raise Forbidden("Only an administrator may do this.")
    if rule == "provider":
        from itlc.catalog.service import provider_id_of

        provider_id = provider_id_of(caller.id)
        if provider_id is None:
            raise Forbidden("Only providers may do this: become one with POST /providers.")
        caller = replace(caller, provider_id=provider_id)
    return caller
