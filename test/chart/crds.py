"""Write kubeconform schemas from the CustomResourceDefinitions of others.

usage: crds.py CRD.YAML... FOLDER

As the kit's own schemas: KIND-GROUP-VERSION.json, with the first word of the
group; unknown fields are errors. Descriptions are left out. Needs PyYAML.

Those in schemas/ were made from
  github.com/prometheus-operator/prometheus-operator v0.85.0, example/prometheus-operator-crd
  github.com/cert-manager/cert-manager v1.19.2, deploy/crds
(Apache License 2.0); `go mod download -json MODULE@VERSION` fetches either.
"""
import json
import pathlib
import sys

import yaml


def strict(schema):
    """What of the schema decides validity, closed where fields are named."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    out = {k: v for k, v in schema.items() if k in ("type", "enum", "required", "minimum", "maximum", "minItems", "minLength", "pattern")}
    if "properties" in schema:
        out["properties"] = {k: strict(v) for k, v in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            out["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        out["additionalProperties"] = strict(schema["additionalProperties"])
    if "items" in schema:
        out["items"] = strict(schema["items"])
    return out


def main(files, folder):
    for file in files:
        crd = yaml.safe_load(pathlib.Path(file).read_text())["spec"]
        for version in crd["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            schema["required"] = sorted({*schema.get("required", []), "apiVersion", "kind", "metadata"})
            name = "-".join([crd["names"]["kind"], crd["group"].split(".")[0], version["name"]]).lower() + ".json"
            (pathlib.Path(folder) / name).write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1:-1], sys.argv[-1])
