"""Signing up, in and out with a password; who one is; one's other sessions, and another password."""

import secrets
from http import HTTPStatus

from aiohttp import web

from gateway.access.auth import Credential
from gateway.access.sessions import Seen, WebSession, csrf_token
from gateway.answers.access import ChangedPassword, EndedSessions, ListedSession, SessionInfo, SignedOut
from gateway.answers.fields import Page
from gateway.errors import AuthCsrf, AuthInvalidLogin, AuthPermissionDenied, RateLimited, RouteNotFound
from gateway.requests.access import NewPassword, Scope, SignIn, SignUp
from gateway.rest.api import Access, Call, Doc, Route, page, reply
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
    return _begun(call, *await sessions.begin(user, Seen.of(call.request)), status=HTTPStatus.CREATED)


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
    session, token = await call.api.sessions.sign_in(wanted.login, wanted.password, seen=Seen.of(call.request))
    return _begun(call, session, token, status=HTTPStatus.CREATED)


def _begun(call: Call, session: WebSession, token: str, *, status: HTTPStatus) -> web.Response:
    response = reply(_shown(call, session, token), status=status, headers={"Location": "/v1/session"})
    call.api.browsers.keep(response, token, life_s=(session.ends_at - session.created_at) // SECOND)
    return response


def _shown(call: Call, session: WebSession, token: str) -> dict[str, object]:
    return {
        "login": session.user.login,
        "user_id": session.user.user_id,
        **_held_by(call, session),
        "csrf_token": csrf_token(token),
        "created_at": time_text(session.created_at),
        "expires_at": time_text(session.ends_at),
    }


def _held_by(call: Call, credential: Credential) -> dict[str, object]:
    """Return whose credential it is, and what it may do."""
    account = call.api.views.account(credential.account_id)
    return {
        "account_id": account.account_id,
        "kind": account.state.kind,
        "name": account.state.name,
        "blocked": account.state.blocked,
        "frozen": account.state.frozen,
        "scopes": sorted(credential.scopes),
    }


async def who_am_i(call: Call) -> web.Response:
    """Of a session, with its CSRF token; of an API key, without."""
    credential = call.principal.credential
    if isinstance(credential, WebSession):
        token = call.api.browsers.token_of(call.request)
        assert token is not None
        return reply(_shown(call, credential, token))
    return reply(
        {
            "login": None,
            "user_id": None,
            **_held_by(call, credential),
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


def _session(call: Call) -> WebSession:
    session = call.principal.credential
    assert isinstance(session, WebSession)  # Access.SESSION
    return session


async def list_sessions(call: Call) -> web.Response:
    """Where one is signed in, the oldest first."""
    here = _session(call)
    return page([_listed(each, here) for each in call.api.sessions.of_user(here.user)], None)


def _listed(session: WebSession, here: WebSession) -> dict[str, object]:
    return {
        "session_id": session.id,
        "current": session.id == here.id,
        "created_at": time_text(session.created_at),
        "expires_at": time_text(session.ends_at),
        "address": session.seen.address,
        "user_agent": session.seen.user_agent,
    }


async def end_session(call: Call) -> web.Response:
    here, wanted = _session(call), call.path("session_id")
    session = next((each for each in call.api.sessions.of_user(here.user) if each.id == wanted), None)
    if session is None:
        raise RouteNotFound("there is no such session of this person")
    await call.api.sessions.end(session)
    response = reply({"ended": 1})
    if session.id == here.id:
        call.api.browsers.forget(response)
    return response


async def end_other_sessions(call: Call) -> web.Response:
    return reply({"ended": await call.api.sessions.end_others(_session(call))})


async def change_password(call: Call) -> web.Response:
    wanted = call.parsed(NewPassword)
    ended = await call.api.sessions.change_password(
        _session(call), wanted.password, wanted.new_password, address=call.request.remote or ""
    )
    return reply({"changed": True, "ended": ended})


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
    Route(
        "GET",
        "/v1/sessions",
        Access.SESSION,
        list_sessions,
        doc=Doc(summary="Where one is signed in", answers={200: Page[ListedSession]}),
    ),
    Route(
        "DELETE",
        "/v1/sessions",
        Access.SESSION,
        end_other_sessions,
        doc=Doc(summary="Sign out everywhere else", answers={200: EndedSessions}),
    ),
    Route(
        "DELETE",
        "/v1/sessions/{session_id}",
        Access.SESSION,
        end_session,
        doc=Doc(summary="Sign out in one place", answers={200: EndedSessions}, gives=("Set-Cookie",)),
    ),
    Route(
        "PUT",
        "/v1/password",
        Access.SESSION,
        change_password,
        doc=Doc(
            summary="Change one's password, which signs out everywhere else",
            body=NewPassword,
            example={"password": "correct horse battery", "new_password": "staple of the horse"},
            answers={200: ChangedPassword},
        ),
    ),
)
