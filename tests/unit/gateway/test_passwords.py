"""Which passwords are good enough, how they are kept, and that an unknown login costs what a wrong password does."""

import asyncio

import pytest
from argon2 import PasswordHasher

from gateway.access import passwords
from gateway.access.passwords import Passwords, check_password
from gateway.errors import AuthInvalidLogin
from market.errors import Busy, InvalidArguments

GOOD = "correct horse battery"


@pytest.mark.parametrize(
    ("password", "why", "rule"),
    [
        pytest.param("ninechars", "10 to 128", "length", id="too short"),
        pytest.param("x1y2z3" * 22, "10 to 128", "length", id="too long"),
        pytest.param("abababababab", "different characters", "variety", id="too few letters"),
        pytest.param("Password2024!", "anybody would try", "common", id="a common one, dressed up"),
        pytest.param("1234567890", "anybody would try", "common", id="the digits"),
        pytest.param("i-am-ada.l-2024", "login name", "like_login", id="with the login name in it"),
    ],
)
def test_a_password_that_is_easily_guessed_is_refused(password: str, why: str, rule: str) -> None:
    with pytest.raises(InvalidArguments, match=why) as refusal:
        check_password(password, login="ada.l")
    assert (refusal.value.field, refusal.value.details) == ("password", {"rule": rule})
    assert password not in str(refusal.value)


@pytest.mark.parametrize("password", [GOOD, "x7#kQ2m!pZ", "债权转让市场的密码很长", "p" * 100 + "qrst"])
def test_other_passwords_are_taken(password: str) -> None:
    check_password(password, login="ada")


async def test_what_is_kept_is_argon2id_and_salted() -> None:
    keeper = Passwords()
    one, other = await keeper.hash(GOOD), await keeper.hash(GOOD)
    assert one != other
    assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    await keeper.require(one, GOOD)
    for kept, password in ((one, GOOD + " "), (None, GOOD), ("no hash at all", GOOD)):
        with pytest.raises(AuthInvalidLogin):
            await keeper.require(kept, password)
    assert not keeper.is_outdated(one)
    assert keeper.is_outdated(PasswordHasher(memory_cost=8, time_cost=1, parallelism=1).hash(GOOD))


async def test_the_same_letter_from_another_keyboard_is_the_same() -> None:
    keeper = Passwords()
    await keeper.require(await keeper.hash("caf\u00e9 am Markt"), "cafe\u0301 am Markt")


async def test_where_there_is_no_login_the_same_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared with a hash of the same parameters, so an answer's time tells nothing."""
    keeper, compared = Passwords(), []

    def verify(_: PasswordHasher, kept: str, __: str) -> bool:
        compared.append(kept.rpartition("$")[0].rpartition("$")[0])
        return True

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    kept = await keeper.hash(GOOD)
    await keeper.require(kept, GOOD)
    with pytest.raises(AuthInvalidLogin):
        await keeper.require(None, GOOD)
    assert compared[0] == compared[1]


async def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAITING_MAX", 3)
    keeper = Passwords()
    outcomes = await asyncio.gather(*(keeper.hash(GOOD) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(outcome, Busy) for outcome in outcomes) == 2
    assert (await keeper.hash(GOOD)).startswith("$argon2id$")
