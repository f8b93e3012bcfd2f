"""Read the access token of a request, for API Gateway: who is calling, without asking any store.

The policy allows every route of the stage, so that API Gateway may keep it for the token's other requests; what a
caller may do is each operation's own business. Anything but a good token ends in `Unauthorized`, which API Gateway
answers with 401.
"""

from typing import Any

from itlc.accounts.tokens import read_access_token
from itlc.errors import Unauthenticated
from itlc.operation import Operation

app = Operation("authorize")


@app.authorizer_of_requests
def authorize(event: dict[str, Any]) -> dict[str, Any]:
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise Unauthenticated("There is no bearer token.")
        identity = read_access_token(token.strip())
    except Unauthenticated as error:
        raise Exception("Unauthorized") from error  # API Gateway knows this word, and no other
    api, stage = event["methodArn"].split("/")[:2]
    allowed = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": f"{api}/{stage}/*"}
    return {
        "principalId": f"user:{identity.user_id}",
        "policyDocument": {"Version": "2012-10-17", "Statement": [allowed]},
        "context": {
            "user_id": str(identity.user_id),
            "session_id": identity.session_id,
            "is_admin": str(identity.is_admin).lower(),
            "expires_at": str(identity.expires_at),
        },
    }
