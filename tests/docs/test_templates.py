"""The templates render to what stands beside them, and name where their fields come from."""

from __future__ import annotations

import re

import jinja2
import pytest
import yaml
from templates import ASSETS, Template, documents, parse, templates

each_template = pytest.mark.parametrize("template", templates(), ids=lambda t: t.name)


@each_template
def test_the_rendered_form_is_current(template: Template) -> None:
    assert template.rendered_file.read_text(encoding="utf-8") == template.render()


@each_template
def test_the_rendered_form_parses(template: Template) -> None:
    assert parse(template.name, template.render())


@each_template
def test_a_missing_parameter_is_an_error(template: Template) -> None:
    text = template.source.read_text(encoding="utf-8")
    used = sorted(set(re.findall(r"\[\[ (\w+) \]\]", text)))
    assert used
    with pytest.raises(jinja2.UndefinedError):
        template.render(**{used[0]: jinja2.StrictUndefined(name=used[0])})


@each_template
def test_every_parameter_has_an_effect(template: Template) -> None:
    """A value that is written twice, once as a parameter and once as a literal, shows here."""
    text = template.source.read_text(encoding="utf-8")
    used = sorted(set(re.findall(r"\[\[ (\w+) \]\]", text)))
    rendered = template.render(**{name: f"changed-{index}" for index, name in enumerate(used)})
    leftovers = [str(template.values()[name]) for name in used]
    body = "\n".join(line for line in rendered.splitlines() if not line.lstrip().startswith("#"))
    assert not [value for value in leftovers if len(value) > 10 and value in body]


def test_every_example_value_is_used() -> None:
    folders = sorted(path.parent for path in ASSETS.glob("*/values.yaml"))
    assert len(folders) == 5
    for folder in folders:
        text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.j2"))
        names = yaml.safe_load((folder / "values.yaml").read_text(encoding="utf-8"))
        assert [name for name in names if f"[[ {name} ]]" not in text] == [], folder.name


def test_no_rendered_file_is_orphaned() -> None:
    expected = {template.rendered_file for template in templates()}
    assert set(ASSETS.glob("*/rendered/*")) == expected


def test_every_asset_names_its_sources() -> None:
    sources = [t.source for t in templates()] + [*ASSETS.glob("*/*.py"), *ASSETS.glob("*/*.sh")]
    assert len(sources) >= 10
    for source in sources:
        text = source.read_text(encoding="utf-8")
        assert re.search(r"Sources:\s+(# )?https://", text), source


def test_core_objects_have_the_shape_the_api_server_wants() -> None:
    """Types of the core fields these templates use; their CRDs are checked elsewhere."""
    checked = 0
    for document in documents():
        if document.get("apiVersion") not in {"v1", "apps/v1"}:
            continue
        checked += 1
        metadata = document["metadata"]
        assert set(document) <= {"apiVersion", "kind", "metadata", "spec"} | {
            "automountServiceAccountToken"
        }
        assert metadata["name"]
        assert metadata["namespace"]
        assert all(isinstance(v, str) for v in metadata.get("annotations", {}).values())
        if document["kind"] == "Deployment":
            _check_deployment(document["spec"])
    assert checked >= 5


def _check_deployment(spec: dict[str, object]) -> None:
    pod = spec["template"]
    assert isinstance(pod, dict)
    selector = spec["selector"]
    assert isinstance(selector, dict)
    assert selector["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert all(isinstance(v, str) for v in pod["metadata"].get("annotations", {}).values())
    volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
    for container in pod["spec"]["containers"]:
        assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
