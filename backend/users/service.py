"""Who may sign in, and how: passwords, browser sessions, API tokens, one-time sign-in links."""

import hashlib
import secrets
import threading
import time
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.users.tables import SecretRow, UserRow
from tunescope.problems import Conflict, FieldError, Forbidden, InvalidInput, NotFound, NotSignedIn
from tunescope.sentences import say

hasher = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)
"""argon2id, RFC 9106's second recommended option: 3 passes over 64 MiB, 4 lanes."""
hashing = threading.BoundedSemaphore(4)
"""Each hash holds 64 MiB: a crowd that signs in at once must not fill the machine."""
FIRST_ADMIN = "admin"
MINIMUM_PASSWORD_LENGTH = 10
LONGEST_USERNAME = 60
LINK_SECONDS = 7 * 24 * 3600
USED_RESOLUTION_SECONDS = 60


def new_id() -> str:
    """A short random id, safe in URLs."""
    return secrets.token_hex(5)


def digest(secret: str) -> str:
    """SHA-256 of a secret of ours: they are random and long, so no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create_user(session: Session, username: str, role: str, password: str | None = None) -> UserRow:
    """Raises InvalidInput for a name or password that can be none, Conflict for a name that is taken."""
    username = unicodedata.normalize("NFC", username)
    check_username(username)
    if password is not None:
        check_password(password)
    # Compared here: SQLite knows capitals of the Latin alphabet only.
    if username.casefold() in {name.casefold() for name in session.scalars(select(UserRow.username))}:
        raise name_is_taken(username)
    row = UserRow(
        id=new_id(),
        username=username,
        role=role,
        active=True,
        created_at=time.time(),
        password_hash=hashed(password) if password is not None else None,
    )
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise name_is_taken(username) from error
    return row


def name_is_taken(username: str) -> Conflict:
    error = FieldError("username", f"there is already a user named {username}", "choose another name", "name_taken")
    return Conflict(say("username_taken", name=username), say("choose_another_username"), errors=[error])


def check_username(username: str) -> None:
    """A name has one spelling, can be typed into a command without quotes, and shows no more than it is."""
    if not 1 <= len(username) <= LONGEST_USERNAME or not all(map(may_be_in_username, username)):
        message = "a username is letters, digits and . _ - @, without spaces"
        error = FieldError("username", message, "write it so, such as mei.lin", "username_letters")
        raise InvalidInput(say("no_username"), errors=[error])


def may_be_in_username(character: str) -> bool:
    """Letters of any script with their marks, and numbers."""
    return character in "._-@" or unicodedata.category(character)[0] in "LMN"


def hashed(password: str) -> str:
    with hashing:
        return hasher.hash(password)


@cache
def decoy() -> str:
    """A hash to compare with where there is no user: an unknown username takes as long as a wrong password.

    Not made at import, since every process of the server would wait for it: a tenth of its start.
    """
    return hashed("of nobody")


def matches(kept: str, password: str) -> bool:
    try:
        with hashing:
            return hasher.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False


def check_password(password: str) -> None:
    if len(password) < MINIMUM_PASSWORD_LENGTH:
        values = {"least": MINIMUM_PASSWORD_LENGTH}
        message = f"a password has at least {MINIMUM_PASSWORD_LENGTH} characters"
        error = FieldError("password", message, "choose a longer one", "password_short", values)
        raise InvalidInput(say("password_too_short"), errors=[error])


def first_admin(session: Session) -> UserRow:
    """The first admin whose account is open, made when there is none yet."""
    admins = select(UserRow).where(UserRow.role == "admin", UserRow.active).order_by(UserRow.created_at).limit(1)
    found = session.scalar(admins)
    if found is not None:
        return found
    # At the first start the API and the process that makes the sign-in link may both come here at once: one of them makes it.
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    made = {"id": new_id(), "username": FIRST_ADMIN, "role": "admin", "active": True, "created_at": time.time()}
    session.execute(insert(UserRow).values(made).on_conflict_do_nothing(index_elements=["username"]))
    found = session.scalar(admins)
    if found is None:
        raise name_is_taken(FIRST_ADMIN)
    return found


def first_sign_in_link(session: Session) -> str | None:
    """Path of a new one-time sign-in link for the first admin; None once any admin has a password."""
    admins_with_password = session.scalar(
        select(func.count()).where(UserRow.role == "admin", UserRow.password_hash.is_not(None), UserRow.active)
    )
    if admins_with_password:
        return None
    return new_admin_link(session)


def new_admin_link(session: Session) -> str:
    """Path of a new one-time sign-in link for the first admin; earlier ones stop working."""
    admin = first_admin(session)
    session.query(SecretRow).filter(SecretRow.user_id == admin.id, SecretRow.kind == "link").delete()
    token = issue(session, admin, "link", seconds=LINK_SECONDS)
    return f"/sign-in?token={token}"


def issue(session: Session, user: UserRow, kind: str, *, seconds: float | None, name: str = "") -> str:
    """Make a secret of ``kind`` (session, token or link) and return it; only its hash is kept."""
    secret = f"tsc_{secrets.token_urlsafe(32)}"
    now = time.time()
    session.add(
        SecretRow(
            id=new_id(),
            kind=kind,
            user_id=user.id,
            hash=digest(secret),
            name=name,
            created_at=now,
            expires_at=now + seconds if seconds else None,
        )
    )
    session.flush()
    return secret


def user_of(session: Session, secret: str, kind: str) -> UserRow | None:
    """The active user behind a secret that has not expired."""
    row = session.scalar(select(SecretRow).where(SecretRow.hash == digest(secret), SecretRow.kind == kind))
    now = time.time()
    if row is None or (row.expires_at is not None and row.expires_at < now):
        return None
    if now - (row.last_used_at or 0) > USED_RESOLUTION_SECONDS:
        row.last_used_at = now
    user = session.get(UserRow, row.user_id)
    return user if user is not None and user.active else None


def sign_in(session: Session, username: str, password: str) -> UserRow:
    user = session.scalar(select(UserRow).where(UserRow.username == username.strip(), UserRow.active))
    kept = user.password_hash if user else None
    of_nobody = decoy()  # whoever asks, lest the first unknown username took longer
    right = matches(kept or of_nobody, password)
    if user is None or kept is None or not right:
        raise NotSignedIn(say("no_match"), say("check_both"))
    if hasher.check_needs_rehash(kept):
        user.password_hash = hashed(password)
    return user


def sign_in_with_link(session: Session, token: str) -> UserRow:
    """The user of a link, which then no longer works. A password set before is forgotten: the link replaces it."""
    user = user_of(session, token, "link")
    if user is None:
        raise NotSignedIn(
            say("link_used"),
            say("newest_link"),
        )
    sign_out(session, token)
    user.password_hash = None
    return user


def forget_old_sessions(session: Session, user: UserRow, keep: str | None = None) -> None:
    """Delete the user's expired secrets; with ``keep``, every browser session but that one too."""
    mine = session.query(SecretRow).filter(SecretRow.user_id == user.id)
    mine.filter(SecretRow.expires_at < time.time()).delete()
    if keep is not None:
        mine.filter(SecretRow.kind == "session", SecretRow.hash != digest(keep)).delete()


def sign_out(session: Session, secret: str) -> None:
    session.query(SecretRow).filter(SecretRow.hash == digest(secret)).delete()


def set_password(session: Session, user: UserRow, password: str, current: str | None) -> None:
    """Set a password; one that exists must be given first."""
    check_password(password)
    if user.password_hash is not None and not matches(user.password_hash, current or ""):
        fix = "type the one that you sign in with now"
        error = FieldError("current_password", "this is not the current password", fix, "password_wrong")
        raise InvalidInput(say("password_unchanged"), errors=[error])
    user.password_hash = hashed(password)


def remove_user(session: Session, acting: UserRow, user_id: str) -> None:
    """Close an account. Its jobs stay; it can no longer sign in."""
    user = session.get(UserRow, user_id)
    if user is None or not user.active:
        raise NotFound(say("no_such_user"), say("see_people"))
    if user.id == acting.id:
        raise Forbidden(say("not_yourself"), say("ask_another_admin"))
    # Locked, so that two admins who remove each other at once cannot both succeed.
    admins = session.scalars(select(UserRow).where(UserRow.role == "admin", UserRow.active).with_for_update()).all()
    if [admin.id for admin in admins] == [user.id]:
        raise Conflict(say("last_admin"), say("another_admin_first"))
    user.active = False
    user.username = f"{user.username} (removed {user.id})"
    session.query(SecretRow).filter(SecretRow.user_id == user.id).delete()
