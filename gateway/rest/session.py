"""Signing up, in and out with a password; who one is."""

import secrets
from http import HTTPStatus

from aiohttp import web

from gateway.answers.access import SessionInfo, SignedOut
from gateway.errors import AuthCsrf, AuthInvalidLogin, AuthPermissionDenied, RateLimited, RouteNotFound
from gateway.requests.access import Scope, SignIn, SignUp
from gateway.rest.api import Access, Call, Doc, Route, reply
from gateway.sessions import WebSession, csrf_token
from gateway.wire import SECOND, time_or_none, time_text
from market.commands import AccountKind, Deposit, Done, OpenAccount
from market.errors import Busy, DuplicateId
from market.ids import AccountId

SIGNUP = "signup"  # who its commands are recorded under
INVESTOR_SCOPES = frozenset({Scope.READ, Scope.TRADE})


async def sign_up(call: Call) -> web.Response:
    """Open an investor's account with a login, and sign in."""
    wanted, sessions, rules = call.parsed(SignUp), call.api.sessions, call.api.sign_ups
    call.api.browsers.check_origin(call.request)
    if not rules.allowed:
        raise AuthPermissionDenied("nobody can sign up here: ask the operator")
    rules.throttle.take(call.request.remote or "")

    async def account() -> AccountId:
        return await _open_account(call, wanted.name or "")

    user = await sessions.add_user(wanted.login, wanted.password, INVESTOR_SCOPES, account=account, by=SIGNUP)
    return _begun(call, *await sessions.begin(user), status=HTTPStatus.CREATED)


async def _open_account(call: Call, name: str) -> AccountId:
    """Return a new account, with what simulated cash a market to look at gives to everybody."""
    engine, account_id = call.api.engine, AccountId(f"U-{secrets.token_hex(5).upper()}")
    opened = await engine.submit(
        OpenAccount(account_id=account_id, kind=AccountKind.INVESTOR, name=name, reason="signed up"), actor=SIGNUP
    )
    if isinstance(opened.result, Done) and opened.result.duplicate:
        raise Busy("try again")  # one in a million million: the number is somebody's
    for currency, amount in call.api.sign_ups.cash.items():
        gift = Deposit(
            account_id=account_id,
            currency=currency,
            amount=amount,
            custody_ref=f"signup-{account_id}-{currency}",
            reason="simulated money",
        )
        await engine.submit(gift, actor=SIGNUP)
    return account_id


async def sign_in(call: Call) -> web.Response:
    wanted = call.parsed(SignIn)
    call.api.browsers.check_origin(call.request)
    session, token = await call.api.sessions.sign_in(wanted.login, wanted.password, peer=call.request.remote)
    return _begun(call, session, token, status=HTTPStatus.CREATED)


def _begun(call: Call, session: WebSession, token: str, *, status: HTTPStatus) -> web.Response:
    response = reply(_shown(call, session, token), status=status, headers={"Location": "/v1/session"})
    call.api.browsers.keep(response, token, life_s=(session.ends_at - session.created_at) // SECOND)
    return response


def _shown(call: Call, session: WebSession, token: str) -> dict[str, object]:
    account = call.api.views.account(session.account_id)
    return {
        "login": session.user.login,
        "user_id": session.user.user_id,
        "account_id": account.account_id,
        "kind": account.state.kind,
        "name": account.state.name,
        "scopes": sorted(session.scopes),
        "csrf_token": csrf_token(token),
        "created_at": time_text(session.created_at),
        "expires_at": time_text(session.ends_at),
    }


async def who_am_i(call: Call) -> web.Response:
    """Of a session, with its CSRF token; of an API key, without."""
    credential = call.principal.credential
    if isinstance(credential, WebSession):
        token = call.api.browsers.token_of(call.request)
        assert token is not None
        return reply(_shown(call, credential, token))
    account = call.account
    return reply(
        {
            "login": None,
            "user_id": None,
            "account_id": account.account_id,
            "kind": account.state.kind,
            "name": account.state.name,
            "scopes": sorted(credential.scopes),
            "csrf_token": None,
            "created_at": None,
            "expires_at": time_or_none(credential.expires_at),
        }
    )


async def sign_out(call: Call) -> web.Response:
    session = call.principal.credential
    if not isinstance(session, WebSession):
        raise RouteNotFound("a key has no session to end")
    await call.api.sessions.end(session)
    response = reply({"signed_out": True})
    call.api.browsers.forget(response)
    return response


ROUTES = (
    Route(
        "POST",
        "/v1/users",
        Access.PUBLIC,
        sign_up,
        doc=Doc(
            summary="Sign up: open an investor's account with a login, and sign in",
            body=SignUp,
            example={"login": "ada", "password": "correct horse battery", "name": "Ada"},
            answers={201: SessionInfo},
            refusals=(AuthPermissionDenied, AuthCsrf, DuplicateId, RateLimited),
            gives=("Location", "Set-Cookie"),
        ),
    ),
    Route(
        "POST",
        "/v1/session",
        Access.PUBLIC,
        sign_in,
        doc=Doc(
            summary="Sign in: a session in a cookie, with the CSRF token that its writes must carry",
            body=SignIn,
            example={"login": "ada", "password": "correct horse battery"},
            answers={201: SessionInfo},
            refusals=(AuthInvalidLogin, AuthCsrf, RateLimited),
            gives=("Location", "Set-Cookie"),
        ),
    ),
    Route(
        "GET",
        "/v1/session",
        Access.SIGNED,
        who_am_i,
        doc=Doc(summary="Who this is, of a session or of an API key", answers={200: SessionInfo}),
    ),
    Route(
        "DELETE",
        "/v1/session",
        Access.SIGNED,
        sign_out,
        doc=Doc(
            summary="Sign out",
            answers={200: SignedOut},
            refusals=(RouteNotFound,),
            gives=("Set-Cookie",),
        ),
    ),
)
