"""Our templates avoid each known mistake, and each check still sees the original one."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import yaml
from template_mistakes import (
    CHECKS,
    Files,
    Inspection,
    credential_read_once_at_start,
    dynamic_credential_through_a_store,
    injected_file_readable_by_others,
    nothing_restarts,
    one_lease_per_value,
    reader_cannot_decrypt,
    sealed_for_another_place,
    sealed_without_namespace,
    service_account_without_role,
    source_in_posix_shell,
    trust_without_subject_or_audience,
    unserved_api_version,
    value_on_a_command_line,
)
from templates import ASSETS, documents

if TYPE_CHECKING:
    from collections.abc import Callable

STORE = """
apiVersion: external-secrets.io/v1beta1
kind: ExternalSecret
metadata: {name: db, namespace: production}
spec:
  secretStoreRef: {name: vault, kind: SecretStore}
  target: {name: db}
  data:
    - secretKey: username
      remoteRef: {key: database/creds/app, property: username}
    - secretKey: password
      remoteRef: {key: database/creds/app, property: password}
"""

RELOADER_ON_THE_SECRET_ONLY = """
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: app, namespace: production}
spec:
  target:
    name: app-secrets
    template: {metadata: {annotations: {reloader.stakater.com/match: "true"}}}
  dataFrom: [{extract: {key: production/app}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: production}
spec:
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, envFrom: [{secretRef: {name: app-secrets}}]}]}
"""

INJECTED = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: production}
spec:
  template:
    metadata:
      annotations:
        vault.hashicorp.com/agent-inject: "true"
        vault.hashicorp.com/agent-inject-secret-db: database/creds/app
        vault.hashicorp.com/agent-inject-template-db: |
          {{- with secret "database/creds/app" -}}
          export DB_USER="{{ .Data.username }}"
          {{- end }}
    spec:
      containers:
        - name: app
          command: ["/bin/sh", "-c", "source /vault/secrets/db && exec ./app"]
"""

SEALED = """
apiVersion: bitnami.com/v1alpha1
kind: SealedSecret
metadata: {name: app, namespace: production}
spec:
  encryptedData: {api_key: AgA=}
  template: {metadata: {name: app, namespace: default}}
"""

SEALED_WITH_A_SCOPE_IN_ONE_PLACE = """
apiVersion: bitnami.com/v1alpha1
kind: SealedSecret
metadata: {name: app, namespace: production}
spec:
  encryptedData: {api_key: AgA=}
  template:
    metadata:
      annotations: {sealedsecrets.bitnami.com/namespace-wide: "true"}
"""

SEALING = """
kubectl create secret generic app --from-literal=api_key=canary-7391 \\
  --dry-run=client -o yaml | kubeseal --format yaml > sealed.yaml
"""

TRUST = """
Statement:
  - Sid: NoAudience
    Action: sts:AssumeRoleWithWebIdentity
    Condition: {StringEquals: {"oidc.example.com/id/X:sub": "system:serviceaccount:production:eso"}}
"""

TRUST_OF_ALL = """
Statement:
  - Action: sts:AssumeRoleWithWebIdentity
    Condition:
      StringLike: {"oidc.example.com/id/X:sub": "system:serviceaccount:*"}
      StringEquals: {"oidc.example.com/id/X:aud": sts.amazonaws.com}
"""

READER = """
Statement:
  - Action: [secretsmanager:GetSecretValue]
    Resource: "arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-??????"
"""

READER_OF_ALL = """
Statement:
  - Action: secretsmanager:*
    Resource: "arn:aws:secretsmanager:eu-central-1:111122223333:secret:production/*"
  - Action: kms:Decrypt
    Resource: "*"
    Condition: {StringEquals: {kms:ViaService: secretsmanager.eu-central-1.amazonaws.com}}
"""

DECRYPT_ANYWHERE = """
Statement:
  - Action: secretsmanager:GetSecretValue
    Resource: "arn:aws:secretsmanager:eu-central-1:111122223333:secret:app-??????"
  - Action: kms:Decrypt
    Resource: "arn:aws:kms:eu-central-1:111122223333:key/x"
"""

AWS_STORE = """
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: aws, namespace: production}
spec: {provider: {aws: {auth: {jwt: {serviceAccountRef: {name: eso}}}}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: eso, namespace: production}
"""


def _files(text: str) -> Files:
    return Files([document for document in yaml.safe_load_all(text) if document])


def _script(text: str) -> Files:
    return Files([], {"seal.sh": text})


ORIGINALS: list[tuple[Callable[[Files], Inspection], Files, str]] = [
    (unserved_api_version, _files(STORE), "v1beta1"),
    (dynamic_credential_through_a_store, _files(STORE), "database/creds/app"),
    (one_lease_per_value, _files(STORE), "more than once"),
    (nothing_restarts, _files(RELOADER_ON_THE_SECRET_ONLY), "does not restart"),
    (source_in_posix_shell, _files(INJECTED), "source under"),
    (credential_read_once_at_start, _files(INJECTED), "exported at start"),
    (injected_file_readable_by_others, _files(INJECTED), "readable by others"),
    (sealed_for_another_place, _files(SEALED), "no namespace, or two"),
    (sealed_for_another_place, _files(SEALED_WITH_A_SCOPE_IN_ONE_PLACE), "two scopes"),
    (sealed_without_namespace, _script(SEALING), "no namespace"),
    (value_on_a_command_line, _script(SEALING), "value in an argument"),
    (value_on_a_command_line, _script("vault kv put secret/app api_key=canary-7391"), "argument"),
    (value_on_a_command_line, _script("psql postgresql://app:canary-7391@db/app"), "argument"),
    (trust_without_subject_or_audience, _files(TRUST), "NoAudience"),
    (trust_without_subject_or_audience, _files(TRUST_OF_ALL), "does not pin"),
    (reader_cannot_decrypt, _files(READER), "no kms:Decrypt"),
    (reader_cannot_decrypt, _files(READER_OF_ALL), "more than one secret"),
    (reader_cannot_decrypt, _files(DECRYPT_ANYWHERE), "without kms:ViaService"),
    (service_account_without_role, _files(AWS_STORE), "no role-arn"),
]


def _ours() -> Files:
    scripts = {path.name: path.read_text(encoding="utf-8") for path in ASSETS.glob("*/*.sh")}
    return Files(documents(), scripts)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_no_template_makes_the_mistake(check: Callable[[Files], Inspection]) -> None:
    inspection = check(_ours())
    assert inspection.inspected > 0
    assert inspection.findings == []


@pytest.mark.parametrize(
    ("check", "files", "finding"),
    ORIGINALS,
    ids=[f"{check.__name__}-{number}" for number, (check, _, _) in enumerate(ORIGINALS)],
)
def test_the_check_sees_the_mistake(
    check: Callable[[Files], Inspection], files: Files, finding: str
) -> None:
    inspection = check(files)
    assert inspection.inspected > 0
    assert any(finding in text for text in inspection.findings), inspection.findings


def test_every_check_has_a_mistake_to_see() -> None:
    assert {check for check, _, _ in ORIGINALS} == set(CHECKS)


def test_a_path_in_an_argument_is_no_value() -> None:
    fine = "vault kv put secret/app api_key=@/run/user/1000/api_key\nvault write x key=-\n"
    assert value_on_a_command_line(_script(fine)).findings == []


def test_a_pair_in_one_file_comes_from_one_version() -> None:
    """User and password reach the application together, never as two files or two variables."""
    keys = [
        entry["secretKey"]
        for document in documents()
        if document.get("kind") == "ExternalSecret"
        for entry in document["spec"].get("data", [])
    ]
    assert keys
    assert not {"username", "password"} & set(keys)


def test_no_rotation_function_is_shipped_as_a_template() -> None:
    """A pasted rotation function is how the host and user fields of a secret get lost."""
    rotation = re.compile(r"put_secret_value|lambda_handler|AWSPENDING|modify_db_instance")
    assert rotation.search('client.put_secret_value(SecretString=json.dumps({"password": new}))')
    texts = [path.read_text(encoding="utf-8") for path in ASSETS.rglob("*") if path.is_file()]
    assert len(texts) > 20
    assert not [text for text in texts if rotation.search(text)]


def test_no_template_holds_a_value() -> None:
    """Secret objects, long random words and key blocks have no place in a template."""
    value = re.compile(
        r"kind: Secret$|stringData:|BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b", re.MULTILINE
    )
    assert value.search("kind: Secret\n")
    rendered = [json.dumps(d) + yaml.safe_dump(d) for d in documents()]
    assert len(rendered) > 10
    assert not [text for text in rendered if value.search(text)]
