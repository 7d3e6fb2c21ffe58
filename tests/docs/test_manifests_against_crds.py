"""Every rendered custom resource against the schema of its CRD.

``SECRETS_CRDS`` names a folder of CRD YAML: ``config/crds/bases`` of external-secrets v2.9.0 and
``helm/sealed-secrets/crds`` of sealed-secrets v0.36. Without it these tests fail; whoever runs
the tiers decides whether to run them at all. CEL rules (``x-kubernetes-validations``) are not
evaluated.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from templates import documents

pytestmark = pytest.mark.crds

Schemas = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    folder = os.environ.get("SECRETS_CRDS")
    if not folder:
        pytest.fail(
            "SECRETS_CRDS is not set: name a folder with the CRDs of ESO and Sealed Secrets"
        )
    found = {}
    for path in sorted(Path(folder).glob("*.yaml")):
        for definition in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if definition and definition.get("kind") == "CustomResourceDefinition":
                found.update(_served_versions(definition["spec"]))
    assert found, f"no CustomResourceDefinition below {folder}"
    return found


def _served_versions(spec: dict[str, Any]) -> Schemas:
    return {
        (f"{spec['group']}/{version['name']}", spec["names"]["kind"]): _strict(
            version["schema"]["openAPIV3Schema"]
        )
        for version in spec["versions"]
        if version["served"]
    }


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Refuse fields that the schema does not list; the API server would drop them in silence."""
    schema = copy.deepcopy(schema)
    _close(schema)
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def _close(node: object) -> None:
    if isinstance(node, list):
        for item in node:
            _close(item)
    if not isinstance(node, dict):
        return
    if "properties" in node and not node.get("x-kubernetes-preserve-unknown-fields"):
        node.setdefault("additionalProperties", False)
    if node.pop("nullable", False) and isinstance(node.get("type"), str):
        node["type"] = [node["type"], "null"]
    for child in list(node.values()):
        _close(child)


def _problems(document: dict[str, Any], schemas: Schemas) -> list[str]:
    key = (document["apiVersion"], document["kind"])
    if key not in schemas:
        return [f"{key} is not served"]
    validator = jsonschema.Draft202012Validator(schemas[key])
    return [error.message for error in validator.iter_errors(document)]


def _custom_resources() -> list[dict[str, Any]]:
    core = {"v1", "apps/v1", None}
    found = [document for document in documents() if document.get("apiVersion") not in core]
    assert len(found) >= 7
    return found


@pytest.mark.parametrize(
    "document", _custom_resources(), ids=lambda d: f"{d['kind']}-{d['metadata']['name']}"
)
def test_a_rendered_manifest_matches_its_schema(document: dict[str, Any], schemas: Schemas) -> None:
    assert _problems(document, schemas) == []


def _first(kind: str) -> dict[str, Any]:
    return copy.deepcopy(next(d for d in _custom_resources() if d["kind"] == kind))


def test_an_old_api_version_is_found(schemas: Schemas) -> None:
    wrong = _first("ExternalSecret") | {"apiVersion": "external-secrets.io/v1beta1"}
    assert _problems(wrong, schemas) == [
        "('external-secrets.io/v1beta1', 'ExternalSecret') is not served"
    ]


def test_a_misspelled_field_is_found(schemas: Schemas) -> None:
    wrong = _first("ExternalSecret")
    wrong["spec"]["refreshIntervall"] = wrong["spec"].pop("refreshInterval")
    assert any("refreshIntervall" in problem for problem in _problems(wrong, schemas))


def test_a_misspelled_field_deep_down_is_found(schemas: Schemas) -> None:
    wrong = _first("SecretStore")
    wrong["spec"]["provider"]["aws"]["auth"]["jwt"]["serviceAccount"] = {"name": "x"}
    assert any("serviceAccount" in problem for problem in _problems(wrong, schemas))


def test_a_value_outside_its_enumeration_is_found(schemas: Schemas) -> None:
    wrong = _first("ExternalSecret")
    wrong["spec"]["target"]["deletionPolicy"] = "Keep"
    assert any("Keep" in problem for problem in _problems(wrong, schemas))


def test_a_missing_field_is_found(schemas: Schemas) -> None:
    wrong = _first("VaultDynamicSecret")
    del wrong["spec"]["path"]
    assert any("'path' is a required property" in problem for problem in _problems(wrong, schemas))


def test_a_sealed_secret_without_ciphertext_is_found(schemas: Schemas) -> None:
    wrong = _first("SealedSecret")
    del wrong["spec"]["encryptedData"]
    assert any("encryptedData" in problem for problem in _problems(wrong, schemas))
