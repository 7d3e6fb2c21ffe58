"""Every error a user or a model can see.

Each class has a stable ``code``, one ``message`` that is safe to show, and a ``next_step``.
No text of a library's exception ever becomes part of them: whoever translates a foreign
exception picks a class here and raises it ``from None``.

The tree::

    SecretsError
    ├── InputError            the request itself is wrong
    │   ├── BadReferenceError     REF_INVALID
    │   ├── UnknownStoreError     STORE_UNKNOWN
    │   ├── UnsupportedError      UNSUPPORTED        the store lacks this ability
    │   ├── SourceError           SOURCE_INVALID     file, env or generator source
    │   └── ConfigError           CONFIG_INVALID
    ├── StoreError            the store answered no, or not at all
    │   ├── NotFoundError         NOT_FOUND
    │   ├── AlreadyExistsError    ALREADY_EXISTS
    │   ├── PermissionDeniedError PERMISSION_DENIED
    │   ├── AuthenticationError   AUTH_FAILED
    │   ├── ConflictError         CONFLICT           compare-and-set lost
    │   ├── UnreachableError      STORE_UNREACHABLE
    │   ├── StoreTimeoutError     STORE_TIMEOUT
    │   ├── SealedStoreError      STORE_SEALED
    │   ├── RateLimitedError      STORE_RATE_LIMITED
    │   ├── LimitError            LIMIT_EXCEEDED     too large, too deep, too many
    │   ├── ProtocolError         STORE_PROTOCOL     an answer that makes no sense
    │   ├── CorruptError          STORE_CORRUPT      damaged or tampered file
    │   └── OutcomeUnknownError   OUTCOME_UNKNOWN    the reply to a change was lost
    ├── PlanError             the change is not the one that was agreed
    │   ├── PlanNotFoundError     PLAN_NOT_FOUND
    │   ├── PlanExpiredError      PLAN_EXPIRED
    │   ├── PlanUsedError         PLAN_USED
    │   ├── PlanMismatchError     PLAN_MISMATCH
    │   └── PlanStaleError        PLAN_STALE         the target changed since the plan
    ├── RefusedError          policy or a person said no
    │   ├── PolicyDeniedError     POLICY_DENIED
    │   ├── ApprovalNeededError   APPROVAL_NEEDED
    │   └── DeclinedError         DECLINED
    ├── TooWeakError          TOO_WEAK           no equality signal about a guessable value
    ├── JournalError          JOURNAL_UNAVAILABLE
    ├── EgressBlockedError    EGRESS_BLOCKED
    └── InternalError         INTERNAL           anything else, with an incident id
"""

from __future__ import annotations

import secrets
from typing import ClassVar

__all__ = [
    "AlreadyExistsError",
    "ApprovalNeededError",
    "AuthenticationError",
    "BadReferenceError",
    "ConfigError",
    "ConflictError",
    "CorruptError",
    "DeclinedError",
    "EgressBlockedError",
    "InputError",
    "InternalError",
    "JournalError",
    "LimitError",
    "NotFoundError",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "PlanError",
    "PlanExpiredError",
    "PlanMismatchError",
    "PlanNotFoundError",
    "PlanStaleError",
    "PlanUsedError",
    "PolicyDeniedError",
    "ProtocolError",
    "RateLimitedError",
    "RefusedError",
    "SealedStoreError",
    "SecretsError",
    "SourceError",
    "StoreError",
    "StoreTimeoutError",
    "TooWeakError",
    "UnknownStoreError",
    "UnreachableError",
    "UnsupportedError",
]


class SecretsError(Exception):
    """Root of the tree.

    Args:
        message: One sentence that is safe to show to a model. Names, versions, limits and
            states only; never a value and never a foreign exception's text.
        next_step: What the reader can do now. The class default is used when omitted.
    """

    code: ClassVar[str] = "ERROR"
    default_message: ClassVar[str] = "The request could not be carried out."
    default_next_step: ClassVar[str] = "Run `secrets status` to see what is configured."

    def __init__(self, message: str | None = None, *, next_step: str | None = None) -> None:
        self.message = message or self.default_message
        self.next_step = next_step or self.default_next_step
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.code}: {self.message} Next: {self.next_step}"


class InputError(SecretsError):
    """The request itself is wrong; nothing was contacted."""

    code = "INPUT_INVALID"
    default_message = "The request is not valid."
    default_next_step = "Correct the arguments and call again."


class BadReferenceError(InputError):
    """A reference does not follow the grammar of ``core.refs``."""

    code = "REF_INVALID"
    default_message = "The reference is not valid."
    default_next_step = (
        "Write it as scheme://path?version=N#key, for example local://app/db#password."
    )


class UnknownStoreError(InputError):
    """No store is configured for the scheme or the ``?store=`` name."""

    code = "STORE_UNKNOWN"
    default_message = "No such store is configured."
    default_next_step = "Run `secrets status` for the configured stores, `secrets init` to add one."


class UnsupportedError(InputError):
    """The store does not have the ability that was asked for."""

    code = "UNSUPPORTED"
    default_message = "This store cannot do that."
    default_next_step = "Run `secrets status` to see what each store can do."


class SourceError(InputError):
    """A source (generator, file, environment, copy) cannot be used."""

    code = "SOURCE_INVALID"
    default_message = "The source of the value cannot be used."
    default_next_step = "Name a regular file below the project folder or an allowed variable."


class ConfigError(InputError):
    """A configuration file is wrong or asks for what its place may not grant."""

    code = "CONFIG_INVALID"
    default_message = "The configuration is not valid."
    default_next_step = "Correct the file, then run `secrets status`."


class StoreError(SecretsError):
    """The store answered no, or did not answer."""

    code = "STORE_ERROR"
    default_message = "The store could not carry out the request."


class NotFoundError(StoreError):
    """The secret, key or version does not exist."""

    code = "NOT_FOUND"
    default_message = "There is no such secret."
    default_next_step = "List the names with secrets_list."


class AlreadyExistsError(StoreError):
    """Something is already there and the request said to create."""

    code = "ALREADY_EXISTS"
    default_message = "The secret exists already."
    default_next_step = "Plan an update instead, or choose another name."


class PermissionDeniedError(StoreError):
    """The store knows who asks and says no."""

    code = "PERMISSION_DENIED"
    default_message = "The store denied the request."
    default_next_step = "Run `secrets status`; it names the missing permission."


class AuthenticationError(StoreError):
    """The login failed or has expired."""

    code = "AUTH_FAILED"
    default_message = "The login to the store failed or has expired."
    default_next_step = "Log in again with the store's own tool, then retry."


class ConflictError(StoreError):
    """Compare-and-set lost: the secret changed in between; nothing was written."""

    code = "CONFLICT"
    default_message = "The secret changed in between; nothing was written."
    default_next_step = "Describe it again and make a new plan."


class UnreachableError(StoreError):
    """No connection; the request was not sent."""

    code = "STORE_UNREACHABLE"
    default_message = "The store cannot be reached."
    default_next_step = "Check the address in the configuration and that the server runs."


class StoreTimeoutError(StoreError):
    """No answer within the configured time; nothing was changed."""

    code = "STORE_TIMEOUT"
    default_message = "The store did not answer in time."
    default_next_step = "Try again, or raise `timeout` in the store's configuration."


class SealedStoreError(StoreError):
    """The server is sealed or in standby."""

    code = "STORE_SEALED"
    default_message = "The store is sealed or not active."
    default_next_step = "Ask its operator to unseal it."


class RateLimitedError(StoreError):
    """The store asks for patience."""

    code = "STORE_RATE_LIMITED"
    default_message = "The store limits the rate of requests."
    default_next_step = "Wait a moment, then retry."


class LimitError(StoreError):
    """Too large, too deep or too many."""

    code = "LIMIT_EXCEEDED"
    default_message = "A size limit was exceeded; nothing was changed."
    default_next_step = "Split the secret into smaller ones."


class ProtocolError(StoreError):
    """An answer that this store should not give (redirect, wrong type, broken JSON)."""

    code = "STORE_PROTOCOL"
    default_message = "The store gave an answer that makes no sense."
    default_next_step = "Check that the configured address is the store itself, not a proxy."


class CorruptError(StoreError):
    """A file is damaged or was changed by someone without the key."""

    code = "STORE_CORRUPT"
    default_message = "The store's file is damaged or was tampered with; nothing was delivered."
    default_next_step = "Restore the file from a backup; the damaged one was left as it is."


class OutcomeUnknownError(StoreError):
    """The reply to a change was lost: it may or may not have happened."""

    code = "OUTCOME_UNKNOWN"
    default_message = "The change was sent but its reply was lost."
    default_next_step = "Describe the secret and compare its version before planning again."


class PlanError(SecretsError):
    """The change is not the one that was agreed; nothing was done."""

    code = "PLAN_INVALID"
    default_message = "The plan cannot be applied."
    default_next_step = "Make a new plan."


class PlanNotFoundError(PlanError):
    """No plan with this id."""

    code = "PLAN_NOT_FOUND"
    default_message = "There is no such plan."


class PlanExpiredError(PlanError):
    """The plan is older than its lifetime."""

    code = "PLAN_EXPIRED"
    default_message = "The plan has expired."


class PlanUsedError(PlanError):
    """The plan was applied, or refused, before."""

    code = "PLAN_USED"
    default_message = "The plan was used before; a plan works once."


class PlanMismatchError(PlanError):
    """``change`` or ``affects`` is not what the plan says, or the plan file was altered."""

    code = "PLAN_MISMATCH"
    default_message = "The arguments do not match the stored plan; nothing was done."
    default_next_step = "Call secrets_apply with exactly the plan, change and affects returned."


class PlanStaleError(PlanError):
    """The target changed between plan and apply."""

    code = "PLAN_STALE"
    default_message = "The target changed since the plan was made; nothing was done."


class RefusedError(SecretsError):
    """Policy or a person said no."""

    code = "REFUSED"
    default_message = "The request was refused."


class PolicyDeniedError(RefusedError):
    """The operator's policy forbids it."""

    code = "POLICY_DENIED"
    default_message = "Policy denies this."
    default_next_step = "Ask the operator; `secrets status` names the rule."


class ApprovalNeededError(RefusedError):
    """A person must decide and cannot be asked from here."""

    code = "APPROVAL_NEEDED"
    default_message = "A person must approve this change and cannot be asked here."
    default_next_step = (
        "A person runs `secrets apply PLAN` in a terminal, or the operator adds a standing grant."
    )


class DeclinedError(RefusedError):
    """A person was asked and said no."""

    code = "DECLINED"
    default_message = "The change was declined; nothing was done."
    default_next_step = "Ask the user what they want instead."


class TooWeakError(SecretsError):
    """The value is guessable, so no equality signal is given about it."""

    code = "TOO_WEAK"
    default_message = "The value is too weak to compare."
    default_next_step = "Rotate it to a generated value."


class JournalError(SecretsError):
    """The journal cannot be written durably, so nothing is done."""

    code = "JOURNAL_UNAVAILABLE"
    default_message = "The journal cannot be written, so nothing was done."
    default_next_step = "Free disk space or repair the state folder, then retry."


class EgressBlockedError(SecretsError):
    """The guard found a value, or could not search, in something about to leave."""

    code = "EGRESS_BLOCKED"
    default_message = "The answer was withheld because it may have contained a secret value."
    default_next_step = "A change may have happened: look with `secrets journal`; report this."


class InternalError(SecretsError):
    """Anything nobody translated. Carries an incident id that the log repeats."""

    code = "INTERNAL"
    default_message = "Something unexpected happened."
    default_next_step = "Report it with the line of incidents.log (state folder) that has this id."

    def __init__(self, incident: str | None = None) -> None:
        self.incident = incident or secrets.token_hex(4)
        super().__init__(f"{self.default_message} Incident {self.incident}.")
