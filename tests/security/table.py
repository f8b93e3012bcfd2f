"""The matrix of rights, made from the contract's rows: what each may do, in the contract's order and words.

`but` cells follow the contract's page, too: money is moved, bids are taken, work is rated only in one's own name; a
provider does not bid on their own service; somebody erased has no account to show, and whatever changes credentials,
pays or refunds asks whether the session is still alive.
"""

from tests.security.matrix import Request, Row, after, row
from tests.support.people import PASSWORD
from tests.support.plans import step

NEW_PASSWORD = "quite another battery staple"

ACCOUNTS = (
    row(
        "register_user",
        "P",
        201,
        lambda cast: Request({"name": "New", "email": cast.new_email(), "password": PASSWORD}),
    ),
    row(
        "sign_in",
        "P",
        201,
        lambda cast: after(cast.with_passwords(), Request({"email": "customer@example.org", "password": PASSWORD})),
    ),
    row("refresh_session", "P", 201, lambda cast: Request({"refresh_token": cast.with_passwords().refresh_token()})),
    row("sign_out", "U", 204),
    row("read_me", "U", 200, erased=401),
    row("change_me", "U", 200, Request({"name": "Another Name"}), erased=401),
    row(
        "change_password",
        "U",
        204,
        lambda cast: after(
            cast.with_passwords(), Request({"current_password": PASSWORD, "new_password": NEW_PASSWORD})
        ),
        erased=401,
    ),
    row("export_me", "U", 200, erased=401),
    row("erase_me", "U", 202, erased=401),
    row("request_password_reset", "P", 202, Request({"email": "customer@example.org"})),
    row(
        "reset_password",
        "P",
        204,
        lambda cast: Request({"new_password": NEW_PASSWORD}, {"token": cast.reset_token()}),
    ),
    row("show_balance", "U", 200, erased=401),
    row("list_ledger", "U", 200, lists={"customer"}),
)

SELLERS_PROFILE = {"provider_id": 2}  # the second that the cast makes

CATALOG = (
    # A second profile of one's own is a conflict; the erased one has no e-mail address to take for it.
    row("become_provider", "U", 201, Request({"name": "New Gardens"}), rival=409, seller=409, erased=401),
    row("list_providers", "P", 200),
    row("read_provider", "P", 200, Request(ids={"provider_id": 2})),
    row("change_provider", "own", 200, lambda cast: Request({"name": f"Name {next(cast.numbers)}"}, SELLERS_PROFILE)),
    row("publish_service", "V", 201, Request({"name": "Weeding", "description": "By hand."})),
    row("list_services", "P", 200),
    row("read_service", "P", 200, lambda cast: Request(ids={"service_id": cast.service()})),
    row("change_service", "own", 200, lambda cast: Request({"name": "Digging"}, {"service_id": cast.service()})),
    row("withdraw_service", "own", 204, lambda cast: Request(ids={"service_id": cast.service()})),
)

TEMPLATES = (
    row("keep_template", "A", 201, Request({"name": "A hedge", "description": "Planted.", "type": "project"})),
    row("change_template", "A", 200, lambda cast: Request({"name": "A bed"}, {"template_id": cast.template()})),
    row("remove_template", "A", 204, lambda cast: Request(ids={"template_id": cast.template()})),
    row("list_templates", "P", 200),
    row("read_template", "P", 200, lambda cast: Request(ids={"template_id": cast.template()})),
)

PROJECTS = (
    row("create_project", "U", 201, Request({"name": "A garden", "description": "At last."})),
    row(
        "list_projects",
        "U",
        200,
        lambda cast: after(cast.project()),
        lists={"customer"},
    ),
    row("read_project", "mine", 200, lambda cast: Request(ids={"project_id": cast.project()})),
    row("change_project", "mine", 200, lambda cast: Request({"name": "A park"}, {"project_id": cast.project()})),
    row("delete_project", "mine", 204, lambda cast: Request(ids={"project_id": cast.project()})),
    row(
        "use_service",
        "mine",
        204,
        lambda cast: Request(ids={"project_id": cast.project(), "service_id": cast.service()}),
    ),
    row("drop_service", "mine", 204, lambda cast: Request(ids=cast.project_with_service())),
    row(
        "list_project_orders",
        "mine",
        200,
        lambda cast: Request(ids={"project_id": cast.project_with_order()}),
        lists={"customer", "admin"},
    ),
    row(
        "pay_project",
        "mine",
        201,
        lambda cast: Request(ids={"project_id": cast.project_with_order()}),
        admin=403,
        erased=401,
    ),
)

BIDS = (
    # Nobody bids on their own service, and a closed account makes nothing that would need another's answer.
    row(
        "place_bid",
        "U",
        201,
        lambda cast: Request({"amount": "99.00"}, {"service_id": cast.service()}),
        seller=409,
        erased=409,
    ),
    row("list_service_bids", "U", 200, lambda cast: Request(ids={"service_id": cast.service_with_bid()})),
    row("list_my_bids", "U", 200, lambda cast: after(cast.bid()), lists={"customer"}),
    row("read_bid", "bidder or prov", 200, lambda cast: Request(ids={"bid_id": cast.bid()})),
    row("withdraw_bid", "bidder", 204, lambda cast: Request(ids={"bid_id": cast.bid()})),
    row("reject_bid", "prov", 200, lambda cast: Request(ids={"bid_id": cast.bid()})),
    row("make_order", "prov", 201, lambda cast: Request(ids={"bid_id": cast.bid()}), admin=403),
)

ORDERS = (
    row("list_orders", "U", 200, lambda cast: after(cast.order("created")), lists={"customer", "seller"}),
    row("read_order", "cust, prov", 200, lambda cast: Request(ids={"order_id": cast.order("created")})),
    row(
        "cancel_order",
        "cust, prov",
        200,
        lambda cast: Request({"reason": "We moved."}, {"order_id": cast.order("in_progress")}),
    ),
    row("check_in", "prov", 201, lambda cast: Request({"status": "started"}, {"order_id": cast.order("created")})),
    row("list_checkins", "cust, prov", 200, lambda cast: Request(ids={"order_id": cast.order("completed")})),
    row(
        "pay_order", "cust", 201, lambda cast: Request(ids={"order_id": cast.order("completed")}), admin=403, erased=401
    ),
    row("refund_order", "prov", 201, lambda cast: Request(ids={"order_id": cast.paid_order()}), admin=403, erased=401),
    row("show_timeline", "cust, prov", 200, lambda cast: Request(ids={"order_id": cast.order("completed")})),
)

PLANS = (
    row("define_plan", "prov", 200, lambda cast: Request([step(1), step(2, 1)], {"order_id": cast.order("created")})),
    row("add_step", "prov", 201, lambda cast: Request(step(1), {"order_id": cast.order("created")})),
    row("change_step", "prov", 200, lambda cast: Request({"description": "Another part"}, cast.steps())),
    row("remove_step", "prov", 204, lambda cast: Request(ids=cast.steps())),
    row("list_steps", "cust, prov", 200, lambda cast: Request(ids={"order_id": cast.steps()["order_id"]})),
    row("read_step", "cust, prov", 200, lambda cast: Request(ids=cast.steps())),
    row("complete_step", "prov", 200, lambda cast: Request(ids=cast.steps())),
    row("show_plan", "cust, prov", 200, lambda cast: Request(ids={"order_id": cast.steps()["order_id"]})),
)

TOKENS = (
    row("top_up", "U", 202, Request({"amount": 10})),
    row(
        "top_up",
        "V",
        202,
        lambda cast: Request({"amount": 10, "user_id": cast.customer.user_id}),
        case="for another",
        customer=202,
    ),
    row("list_topups", "U", 200, lambda cast: after(cast.topup()), lists={"customer", "seller"}),
    row("read_topup", "cust, prov", 200, lambda cast: Request(ids={"topup_id": cast.topup()})),
)

NOTIFICATIONS = (
    row("list_notifications", "U", 200, lambda cast: after(cast.notification()), lists={"customer"}),
    row("count_unread", "U", 200),
    row(
        "mark_notification",
        "mine",
        200,
        lambda cast: Request({"read_status": True}, {"notification_id": cast.notification()}),
    ),
    row("mark_all_read", "U", 200),
    row("delete_notification", "mine", 204, lambda cast: Request(ids={"notification_id": cast.notification()})),
)

BLOG = {"title": "Hedges in March", "content": "Cut before the birds nest."}
FAQ = {"question": "Do you work in the rain?", "answer": "In a drizzle, yes."}

CONTENT = (
    row("write_blog", "V", 201, Request(BLOG)),
    row(
        "change_blog",
        "own",
        200,
        lambda cast: Request({"title": "Hedges"}, {"blog_id": cast.piece("write_blog", BLOG, cast.seller)}),
    ),
    row("delete_blog", "own", 204, lambda cast: Request(ids={"blog_id": cast.piece("write_blog", BLOG, cast.seller)})),
    row("list_blogs", "P", 200),
    row("read_blog", "P", 200, lambda cast: Request(ids={"blog_id": cast.piece("write_blog", BLOG, cast.seller)})),
    row("write_faq", "V", 201, Request(FAQ)),
    row(
        "change_faq",
        "own",
        200,
        lambda cast: Request({"answer": "No."}, {"faq_id": cast.piece("write_faq", FAQ, cast.seller)}),
    ),
    row("delete_faq", "own", 204, lambda cast: Request(ids={"faq_id": cast.piece("write_faq", FAQ, cast.seller)})),
    row("list_faqs", "P", 200),
    row("read_faq", "P", 200, lambda cast: Request(ids={"faq_id": cast.piece("write_faq", FAQ, cast.seller)})),
)

FEEDBACK = (
    row(
        "rate_order", "cust", 200, lambda cast: Request({"rating": 5}, {"order_id": cast.order("completed")}), admin=403
    ),
    row("list_service_ratings", "P", 200, lambda cast: Request(ids={"service_id": cast.service()})),
    row("write_review", "buyer", 201, lambda cast: Request({"service_id": cast.bought_service(), "review": "Good."})),
    row(
        "change_review",
        "reviewer",
        200,
        lambda cast: Request({"review": "Bad."}, {"review_id": cast.review()}),
        admin=403,
    ),
    row("delete_review", "reviewer", 204, lambda cast: Request(ids={"review_id": cast.review()})),
    row("list_service_reviews", "P", 200, lambda cast: Request(ids={"service_id": cast.service()})),
)

SYSTEM = (
    row("show_health", "P", 200),
    row("show_readiness", "P", 200),
    row("show_openapi", "P", 200),
    row("show_docs", "P", 200, lambda cast: after(cast.with_docs())),
    row("run_reconciliation", "A", 201),
    row("list_reconciliations", "A", 200),
    row("list_audit", "A", 200),
)

ROWS: tuple[Row, ...] = (
    *ACCOUNTS,
    *CATALOG,
    *TEMPLATES,
    *PROJECTS,
    *BIDS,
    *ORDERS,
    *PLANS,
    *TOKENS,
    *NOTIFICATIONS,
    *CONTENT,
    *FEEDBACK,
    *SYSTEM,
)
