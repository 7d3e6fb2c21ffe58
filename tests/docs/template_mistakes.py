"""Mistakes that published templates of these five patterns make, each as a check.

A check looks at a whole set of files, says how many places it inspected, and names what is wrong.
One that inspected nothing proves nothing, so the tests refuse a count of zero.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CHECKS", "Files", "Inspection"]

Document = dict[str, Any]
RELOADER = "reloader.stakater.com/"
INJECTOR = "vault.hashicorp.com/"
SEALED = "sealedsecrets.bitnami.com/"


@dataclass(frozen=True, slots=True)
class Files:
    """Rendered manifests and policies, and scripts by name."""

    documents: list[Document]
    scripts: dict[str, str] = field(default_factory=dict)

    def kind(self, *kinds: str) -> list[Document]:
        return [document for document in self.documents if document.get("kind") in kinds]

    def statements(self, action: str) -> list[Document]:
        """IAM statements that allow ``action``, by name or by wildcard."""
        return [
            statement
            for document in self.documents
            for statement in document.get("Statement", [])
            if any(fnmatchcase(action, allowed) for allowed in _many(statement["Action"]))
        ]


@dataclass(frozen=True, slots=True)
class Inspection:
    """How many places were looked at, and what is wrong there."""

    inspected: int
    findings: list[str]


def _many(value: Any) -> list[Any]:  # noqa: ANN401 - JSON: one or a list
    return value if isinstance(value, list) else [value]


def _inspect(items: list[Any], wrong: Callable[[Any], str | None]) -> Inspection:
    return Inspection(len(items), [text for item in items if (text := wrong(item))])


def unserved_api_version(files: Files) -> Inspection:
    """The CRDs of ESO 2.9 serve v1 only; apply of v1beta1 fails."""
    ours = [d for d in files.documents if "external-secrets.io/" in d.get("apiVersion", "")]
    return _inspect(
        ours,
        lambda d: f"{d['kind']} is v1beta1" if d["apiVersion"].endswith("/v1beta1") else None,
    )


def _store_reads(files: Files) -> Iterator[tuple[str, str]]:
    for document in files.kind("ExternalSecret"):
        spec, name = document["spec"], document["metadata"]["name"]
        for entry in spec.get("data", []):
            yield name, entry["remoteRef"]["key"]
        for entry in spec.get("dataFrom", []):
            if "extract" in entry:
                yield name, entry["extract"]["key"]


def dynamic_credential_through_a_store(files: Files) -> Inspection:
    """A KV store rewrites database/creds/x to <mount>/data/database/creds/x."""
    return _inspect(
        list(_store_reads(files)),
        lambda read: f"{read[0]} reads {read[1]}" if re.search(r"(^|/)creds/", read[1]) else None,
    )


def one_lease_per_value(files: Files) -> Inspection:
    """Two reads of one dynamic path are two leases: a user with another user's password."""
    reads = list(_store_reads(files))
    generated = [
        (document["metadata"]["name"], entry["sourceRef"]["generatorRef"]["name"])
        for document in files.kind("ExternalSecret")
        for entry in document["spec"].get("dataFrom", [])
        if "sourceRef" in entry
    ]
    leases = [read for read in reads if "creds/" in read[1]] + generated
    return _inspect(
        sorted(set(leases)),
        lambda lease: f"{lease} is leased more than once" if leases.count(lease) > 1 else None,
    )


def _restarts_for(deployment: Document, secret: str) -> bool:
    annotations = deployment["metadata"].get("annotations", {})
    named = annotations.get(f"secret.{RELOADER}reload", "").split(",")
    automatic = (f"{RELOADER}auto", f"{RELOADER}search", f"secret.{RELOADER}auto")
    return secret in named or any(annotations.get(key) == "true" for key in automatic)


def nothing_restarts(files: Files) -> Inspection:
    """Reloader restarts a workload that asks for it; a mark on the Secret alone does nothing."""
    targets = {
        document["spec"]["target"]["name"]: document["metadata"]["name"]
        for document in files.kind("ExternalSecret")
    }
    consumers = [
        (deployment, name)
        for deployment in files.kind("Deployment")
        for name in targets
        if re.search(rf"['\"]{re.escape(name)}['\"]", repr(deployment["spec"]))
    ]
    return _inspect(
        consumers,
        lambda pair: (
            None
            if _restarts_for(*pair)
            else f"{pair[0]['metadata']['name']} does not restart when {pair[1]} changes"
        ),
    )


def _injected(files: Files) -> list[Document]:
    return [
        deployment
        for deployment in files.kind("Deployment")
        if f"{INJECTOR}agent-inject"
        in deployment["spec"]["template"]["metadata"].get("annotations", {})
    ]


def _commands(deployment: Document) -> str:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return "\n".join(
        " ".join([*container.get("command", []), *container.get("args", [])])
        for container in containers
    )


def source_in_posix_shell(files: Files) -> Inspection:
    """POSIX sh has no ``source``; the container does not start where /bin/sh is dash."""
    return _inspect(
        _injected(files),
        lambda d: (
            "source under /bin/sh"
            if re.search(r"(^|/)sh -c .*\bsource\s", _commands(d), re.DOTALL)
            else None
        ),
    )


def credential_read_once_at_start(files: Files) -> Inspection:
    """What the entry point exports stays old, whatever the agent writes later."""

    def wrong(deployment: Document) -> str | None:
        annotations = deployment["spec"]["template"]["metadata"]["annotations"]
        exports = [
            key
            for key, text in annotations.items()
            if "agent-inject-template-" in key and re.search(r"^\s*export\s", text, re.MULTILINE)
        ]
        sourced = re.search(r"(\bsource|(^|[\s;&'\"])\.)\s+/vault/secrets", _commands(deployment))
        return f"credentials are exported at start: {exports}" if exports or sourced else None

    return _inspect(_injected(files), wrong)


def injected_file_readable_by_others(files: Files) -> Inspection:
    """The default mode of an injected file is 0644."""

    def wrong(deployment: Document) -> str | None:
        annotations = deployment["spec"]["template"]["metadata"]["annotations"]
        prefix = f"{INJECTOR}agent-inject-secret-"
        names = [key.removeprefix(prefix) for key in annotations if key.startswith(prefix)]
        modes = {n: annotations.get(f"{INJECTOR}agent-inject-perms-{n}", "0644") for n in names}
        wide = sorted(name for name, mode in modes.items() if int(mode, 8) & 0o077)
        return f"readable by others: {wide}" if wide or not names else None

    return _inspect(_injected(files), wrong)


def sealed_for_another_place(files: Files) -> Inspection:
    """Strict scope binds the ciphertext to namespace/name; a missing namespace means default."""

    def wrong(document: Document) -> str | None:
        outer = document["metadata"]
        inner = document["spec"].get("template", {}).get("metadata", {})
        same = {key: inner.get(key, outer.get(key)) for key in ("name", "namespace")}
        if not outer.get("namespace") or same != {key: outer.get(key) for key in same}:
            return f"{outer['name']} has no namespace, or two"
        scopes = [
            {k: v for k, v in metadata.get("annotations", {}).items() if k.startswith(SEALED)}
            for metadata in (outer, inner)
        ]
        return None if scopes[0] == scopes[1] else f"{outer['name']} has two scopes"

    return _inspect(files.kind("SealedSecret"), wrong)


def _script_commands(files: Files, program: str) -> list[str]:
    """Commands that start with ``program``; comments removed, continued lines joined."""
    lines = [
        line
        for text in files.scripts.values()
        for line in re.sub(r"\\\n\s*", " ", text).splitlines()
        if not line.lstrip().startswith("#")
    ]
    pieces = [piece.strip() for line in lines for piece in re.split(r"[|;&]+|\$\(", line)]
    return [piece for piece in pieces if piece.startswith(program)]


def sealed_without_namespace(files: Files) -> Inspection:
    """Both kubeseal and kubectl take ``default`` when nobody says otherwise."""
    commands = _script_commands(files, "kubeseal") + _script_commands(
        files, "kubectl create secret"
    )
    return _inspect(
        commands,
        lambda c: None if re.search(r"(--namespace|\s-n)[ =]", c) else f"no namespace: {c}",
    )


def value_on_a_command_line(files: Files) -> Inspection:
    """Arguments are readable by every user of the machine, and stay in the shell's history."""
    literal = (
        r"--from-literal|"  # kubectl create secret
        r"\b(vault|bao) (kv (put|patch)|write)\b.* \w+=[^@\s-]|"  # KEY=@FILE and KEY=- are fine
        r"--secret-string [^f]|"  # aws; file://… is fine
        r"psql\s+\S*://\S*:\S*@|"
        r"<<<|"
        r"\becho\s.*(\$value|SECRET)"
    )
    lines = [
        line
        for text in files.scripts.values()
        for line in re.sub(r"\\\n\s*", " ", text).splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    return _inspect(
        lines, lambda line: f"value in an argument: {line}" if re.search(literal, line) else None
    )


def trust_without_subject_or_audience(files: Files) -> Inspection:
    """Without aud a token made for something else is good; without sub every pod's token is."""

    def wrong(statement: Document) -> str | None:
        exact = statement.get("Condition", {}).get("StringEquals", {})
        claims = {key.rsplit(":", 1)[-1]: value for key, value in exact.items()}
        subject_is_exact = claims.get("sub", "").startswith("system:serviceaccount:")
        audience_is_sts = claims.get("aud") == "sts.amazonaws.com"
        if subject_is_exact and audience_is_sts:
            return None
        return f"{statement.get('Sid', 'statement')} does not pin sub and aud"

    return _inspect(files.statements("sts:AssumeRoleWithWebIdentity"), wrong)


def reader_cannot_decrypt(files: Files) -> Inspection:
    """A secret under a customer key needs kms:Decrypt, and only through Secrets Manager."""
    readers = files.statements("secretsmanager:GetSecretValue")
    decrypts = files.statements("kms:Decrypt")

    def wrong(statement: Document) -> str | None:
        if any(resource.endswith("*") for resource in _many(statement["Resource"])):
            return "reads more than one secret"
        if not decrypts:
            return "no kms:Decrypt"
        through = [
            d.get("Condition", {}).get("StringEquals", {}).get("kms:ViaService") for d in decrypts
        ]
        return None if all(through) else "kms:Decrypt without kms:ViaService"

    return _inspect(readers, wrong)


def service_account_without_role(files: Files) -> Inspection:
    """ESO reads the role from the service account that the store names."""
    accounts = {
        (d["metadata"]["namespace"], d["metadata"]["name"])
        for d in files.kind("ServiceAccount")
        if "eks.amazonaws.com/role-arn" in d["metadata"].get("annotations", {})
    }
    subjects = {
        value
        for statement in files.statements("sts:AssumeRoleWithWebIdentity")
        for key, value in statement.get("Condition", {}).get("StringEquals", {}).items()
        if key.endswith(":sub")
    }

    def wrong(store: Document) -> str | None:
        namespace = store["metadata"]["namespace"]
        name = store["spec"]["provider"]["aws"]["auth"]["jwt"]["serviceAccountRef"]["name"]
        if (namespace, name) not in accounts:
            return f"{namespace}/{name} has no role-arn annotation"
        subject = f"system:serviceaccount:{namespace}:{name}"
        return None if subject in subjects else f"no role trusts {subject}"

    stores = [d for d in files.kind("SecretStore") if "aws" in d["spec"]["provider"]]
    return _inspect(stores, wrong)


CHECKS = [
    unserved_api_version,
    dynamic_credential_through_a_store,
    one_lease_per_value,
    nothing_restarts,
    source_in_posix_shell,
    credential_read_once_at_start,
    injected_file_readable_by_others,
    sealed_for_another_place,
    sealed_without_namespace,
    value_on_a_command_line,
    trust_without_subject_or_audience,
    reader_cannot_decrypt,
    service_account_without_role,
]
