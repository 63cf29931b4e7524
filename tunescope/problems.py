"""The errors that every part raises, and that the API turns into RFC 9457 problem details.

Problem
├── InvalidInput (422)     a field of the input is wrong; ``errors`` names each field and its remedy
├── NotSignedIn (401)      no session or token
├── Forbidden (403)        signed in, but not allowed
├── NotFound (404)         no such thing, or not visible to this user
├── Conflict (409)         the thing's state does not allow it
├── TooLarge (413)         an upload over the limit
├── TooMany (429)          too many tries in too short a time
└── Unavailable (503)      a part that is needed (Redis, a worker) is not there now
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tunescope.sentences import Sentence, Value, say


@dataclass(frozen=True)
class FieldError:
    """One wrong field: ``loc`` is its dotted path in the input (``adaptation.r``).

    ``type`` and ``values`` say the same for programs, and for a page in another language: its words are by ``type``.
    ``patch`` is the remedy as new values by dotted path, where one change is enough; else empty.
    """

    loc: str
    message: str
    fix: str = ""
    type: str = ""
    values: Mapping[str, Value] = field(default_factory=dict[str, Value], compare=False)
    patch: Mapping[str, str | int | float | bool] = field(
        default_factory=dict[str, str | int | float | bool], compare=False
    )


class Problem(Exception):
    """What happened (``detail``) and what to do next (``fix``)."""

    status = 500
    code = "problem"
    title = "Something went wrong"

    def __init__(
        self, detail: str | Sentence, fix: str | Sentence = "", errors: list[FieldError] | None = None
    ) -> None:
        self.detail_sentence = _said(detail)
        self.detail = self.detail_sentence.text
        self.fix_sentence = _said(fix) if fix else None
        self.fix = self.fix_sentence.text if self.fix_sentence else ""
        super().__init__(self.detail)
        self.errors = errors or []

    def __str__(self) -> str:
        lines = [f"{error.loc}: {error.message}" + (f" ({error.fix})" if error.fix else "") for error in self.errors]
        text = "\n".join([self.detail, *lines])
        told = any(error.fix.lower() == self.fix.rstrip(".").lower() for error in self.errors)
        return f"{text}\n{self.fix}" if self.fix and not told else text


def _said(what: str | Sentence) -> Sentence:
    """As a sentence also where somebody else said it: another server, or the command line, which speaks English only."""
    return what if isinstance(what, Sentence) else say("as_said", said=what)


class InvalidInput(Problem):
    status = 422
    code = "invalid-input"
    title = "The input is not valid"


class NotSignedIn(Problem):
    status = 401
    code = "not-signed-in"
    title = "Sign in first"


class Forbidden(Problem):
    status = 403
    code = "forbidden"
    title = "Not allowed"


class NotFound(Problem):
    status = 404
    code = "not-found"
    title = "Not found"


class Conflict(Problem):
    status = 409
    code = "conflict"
    title = "Not possible in this state"


class TooLarge(Problem):
    status = 413
    code = "too-large"
    title = "Too large"


class TooMany(Problem):
    status = 429
    code = "too-many"
    title = "Too many tries"

    def __init__(self, detail: str | Sentence, retry_after_seconds: int) -> None:
        minutes = -(-retry_after_seconds // 60)
        super().__init__(
            detail, say("try_in_a_minute") if minutes == 1 else say("try_again_in_minutes", minutes=minutes)
        )
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Problem):
    status = 503
    code = "unavailable"
    title = "Not available at the moment"
