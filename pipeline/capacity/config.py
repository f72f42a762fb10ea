"""What a plan is made for: a sample run, machines, prices, bounds."""

from pathlib import Path

from pydantic import Field

from schemas.configuration import Configuration, merged, read_yaml, validated
from schemas.errors import UserError


class MachinesConfig(Configuration):
    """What the work may use."""

    cores: float = Field(default=64, gt=0, description="Cores for the item stages, like those of the sample run")
    gpus: float = Field(default=0, ge=0, description="GPUs for the item stages")
    busy: float = Field(
        default=0.85, gt=0, le=1, description="Share of their time that cores and GPUs are at work on stages"
    )
    driver_gb: float = Field(default=64, gt=0, description="Memory (10^9 bytes) of the machine that runs `humo curate`")
    network_gbit: float = Field(default=10, gt=0, description="Rate at which footage reaches the machines, in all")


class PricesConfig(Configuration):
    """In one currency. Defaults are round numbers of 2025's clouds, to be replaced."""

    core_hour: float = Field(default=0.04, ge=0, description="A core for an hour")
    gpu_hour: float = Field(default=2.5, ge=0, description="A GPU for an hour")
    tb_month: float = Field(default=23.0, ge=0, description="10^12 bytes of object storage for a month")
    million_writes: float = Field(default=5.0, ge=0, description="A million objects written")
    months: float = Field(default=1.0, ge=0, description="Months for which the run is kept")


class SlopesConfig(Configuration):
    """What one more row costs a set stage, in microseconds of one core. On a sample, set stages take mostly the time
    that they take for nothing, so these are not read from it. Those of `references` and `decide` together were measured
    (`tests/benchmarks/tables_scale.py`), and `pair_ns` (`tests/benchmarks/vectors.py`; 512 numbers a face, and less
    with fewer); the others are assumed, on the safe side, until a large run of yours says better."""

    duplicates: float = Field(default=600.0, ge=0, description="A clip")
    identities: float = Field(default=300.0, ge=0, description="A face track, beside its search")
    candidates: float = Field(default=2000.0, ge=0, description="A face track")
    references: float = Field(default=20.0, ge=0, description="A clip")
    decide: float = Field(default=20.0, ge=0, description="A clip")
    pack: float = Field(default=12_000.0, ge=0, description="A sample; measured on the demo's, of 0.3 MB each")
    track_bytes: float = Field(
        default=800.0,
        gt=0,
        description="Memory that identities take for a face track: some 300 bytes, and 24 for each that is alike",
    )
    pair_ns: float = Field(default=25.0, ge=0, description="Nanoseconds a pair of face tracks that a search compares")


class BoundsConfig(Configuration):
    """How much of something is too much. What passes its bound at the fewest hours breaks first."""

    search_hours: float = Field(default=24, gt=0, description="For the search of like faces")
    set_hours: float = Field(default=72, gt=0, description="For all set stages, which run on one machine")
    commit_mb: float = Field(default=64, gt=0, description="A commit's file, written anew with each commit")
    objects: float = Field(default=1e9, gt=0, description="Files of a run; takedown and clean list them all")
    index_gb: float = Field(default=16, gt=0, description="The index of samples, which training reads")
    cores: float = Field(default=20_000, gt=0, description="Cores of one Ray cluster")
    storage_tb: float = Field(default=5_000, gt=0, description="Storage that a run may take")


class PlanConfig(Configuration):
    """`humo plan CONFIG`."""

    sample: str = Field(description="A run that was curated with the options in question, from footage like the rest")
    days: float = Field(default=30, gt=0, description="Within which the work is to end: gives the cores to ask for")
    gpu_seconds_per_clip: dict[str, float] = Field(
        default={}, description="Stage -> seconds of a GPU a clip, over those that the sample took (or took not)"
    )
    machines: MachinesConfig = MachinesConfig()
    prices: PricesConfig = PricesConfig()
    slopes: SlopesConfig = SlopesConfig()
    bounds: BoundsConfig = BoundsConfig()


def read_plan(config: str, over: dict[str, object]) -> PlanConfig:
    """From a YAML file, or from a run folder (then all else is as it is by default). Raises UserError."""
    path = Path(config)
    if path.suffix in (".yaml", ".yml"):
        raw = read_yaml(path)
        sample = raw.get("sample")
        if isinstance(sample, str) and "://" not in sample and not Path(sample).is_absolute():
            raw["sample"] = str(path.parent / sample)
    elif "://" in config or (path / "run.json").is_file():
        raw = {"sample": config}
    else:
        raise UserError(f"{config} is neither a YAML file nor a run folder")
    return validated(PlanConfig, merged(raw, over), where="plan")
