"""`tb doctor`: what this machine has for the program, what would be chosen on it, and what is in the way."""

import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import which
from typing import Literal

import transferbench
from transferbench import environment
from transferbench.errors import DeviceError, TransferbenchError
from transferbench.home import Home
from transferbench.locks import writer_lock
from transferbench.pipeline.engines import AUTO, precision_for, refusals
from transferbench.pipeline.forecast import free_disk
from transferbench.pipeline.outlook import products_per_second

EXTRAS: dict[str, tuple[tuple[str, ...], str]] = {
    "cpu": (("ncnn",), "the fast engine for the nets of Table 1 on CPUs"),
    "nets": (("timm",), "nets named timm:NAME"),
    "distributed": (("dask", "distributed"), "tb evaluate --scheduler"),
    "train": (("tensorboard",), "curves of a pretraining in TensorBoard"),
}
"""Optional packages by the name of the extra that installs them, and what they are for."""
NEEDED = ("torch", "torchvision", "numpy", "numba", "scikit-learn", "scipy", "h5py", "pillow", "safetensors", "click")
LITTLE_MEMORY = 6e9
LITTLE_DISK = 5e9
"""A block of Caltech-256 takes 0.5 GB; recipes have up to ten."""

Severity = Literal["wrong", "slow", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Something that nets can run on.

    Parameters
    ----------
    name : str
        ``cpu``, ``cuda:0`` ...; ``cuda`` where there is none.
    there : bool
        Whether it can be used.
    what : str
        Its model, or why it cannot be used.
    free_bytes, total_bytes : int
        Of its memory, within the limit of a container; 0 if it is not there.
    """

    name: str
    there: bool
    what: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What ``--engine auto`` takes on a device.

    Parameters
    ----------
    device : str
        ``cpu`` or ``cuda``.
    nets : str
        For which nets.
    engine, precision : str
        What is taken; empty where the device is not there.
    why : str
        Why the other engine is not.
    """

    device: str
    nets: str
    engine: str
    precision: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something to know.

    Parameters
    ----------
    severity : {"wrong", "slow", "info"}
        Whether it prevents work, makes it slow, or neither.
    what, todo : str
        What there is and what to do about it.
    """

    severity: Severity
    what: str
    todo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """All of it.

    Parameters
    ----------
    program, python, platform : str
        Versions.
    packages : dict of str to str
        Versions of what the program needs; ``not installed`` where it is missing.
    extras : dict of str to dict of str to str
        The same of optional packages, by extra.
    cores, machine_cores, threads : int
        That this process may use, that the machine has, and that torch uses.
    matrix_product_gflop_per_s : float
        Measured, float32: what a direct convolution cannot exceed on the CPU.
    devices : tuple of Device
        The CPU first.
    engines : dict of str to str
        Versions, or how to get them.
    auto : tuple of Choice
        By device and kind of net.
    home : str
        The work folder.
    home_free_bytes : int
        On its disk.
    findings : tuple of Finding
        The gravest first.
    """

    program: str
    python: str
    platform: str
    packages: dict[str, str]
    extras: dict[str, dict[str, str]]
    cores: int
    machine_cores: int
    threads: int
    matrix_product_gflop_per_s: float
    devices: tuple[Device, ...]
    engines: dict[str, str]
    auto: tuple[Choice, ...]
    home: str
    home_free_bytes: int
    findings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        """Whether nothing prevents work."""
        return all(finding.severity != "wrong" for finding in self.findings)


def look_round(home: Home) -> Machine:
    """Look at this machine.

    Parameters
    ----------
    home : Home
        The work folder; a file is written to it and removed again, if it is there or can be made.

    Returns
    -------
    Machine
        Everything that is in the way, not only the first thing.

    Raises
    ------
    DeviceError
        If torch cannot be loaded at all.
    """
    try:
        import torch
    except (ImportError, OSError) as problem:
        msg = f"torch cannot be loaded: {problem}\n  pip install --force-reinstall torch torchvision"
        raise DeviceError(msg) from problem
    packages = {name: _version(name) for name in NEEDED}
    extras = {extra: {name: _version(name) for name in names} for extra, (names, _) in EXTRAS.items()}
    devices = (_cpu(), *_gpus())
    found = [*_packages_missing(packages), *_home_told(home), *_speed_told(devices, extras), *_extras_told(extras)]
    return Machine(
        program=transferbench.__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        packages=packages,
        extras=extras,
        cores=environment.cores(),
        machine_cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        matrix_product_gflop_per_s=products_per_second() / 1e9,
        devices=devices,
        engines={"torch": packages["torch"], "ncnn": extras["cpu"]["ncnn"]},
        auto=tuple(_choices(devices)),
        home=str(home.root),
        home_free_bytes=free_disk(home.root),
        findings=tuple(sorted(found, key=lambda finding: ("wrong", "slow", "info").index(finding.severity))),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cpu() -> Device:
    from transferbench.extraction.memory import free_bytes

    free = free_bytes("cpu")
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Device(name="cpu", there=True, what=_processor(), free_bytes=free, total_bytes=total)


def _processor() -> str:
    import torch

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}"


def _gpus() -> Iterator[Device]:
    import torch

    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for number in range(n_gpus):
        facts = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        what = f"{facts.name}, compute capability {facts.major}.{facts.minor}"
        yield Device(name=f"cuda:{number}", there=True, what=what, free_bytes=free, total_bytes=total)
    if not n_gpus:
        yield Device(name="cuda", there=False, what=_why_no_gpu(), free_bytes=0, total_bytes=0)


def _why_no_gpu() -> str:
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built without CUDA"
    return f"torch {torch.__version__} is built for CUDA {torch.version.cuda}, but sees no GPU"


def _choices(devices: tuple[Device, ...]) -> Iterator[Choice]:
    kinds = {device.name.partition(":")[0]: device for device in reversed(devices)}
    for kind, device in reversed(kinds.items()):
        for nets, reasons in (
            ("of Table 1, 8 channels and more", refusals(device.name)),
            ("others", ["knows the nets of Table 1 alone", *refusals(device.name)]),
        ):
            if not device.there:
                yield Choice(device=kind, nets=nets, engine="", precision="", why=device.what)
            elif reasons:
                precision = precision_for(device.name, AUTO)
                why = f"ncnn {reasons[0]}"
                yield Choice(device=kind, nets=nets, engine="torch", precision=precision, why=why)
            else:
                why = "Winograd's algorithm needs fewer products than torch's convolutions"
                yield Choice(device=kind, nets=nets, engine="ncnn", precision="float32", why=why)


def _packages_missing(packages: dict[str, str]) -> Iterator[Finding]:
    for name, found in packages.items():
        if found == "not installed":
            yield Finding(severity="wrong", what=f"{name} is not installed", todo="pip install transferbench")


def _home_told(home: Home) -> Iterator[Finding]:
    where = f"{home.root} (--home, TB_HOME)"
    try:
        home.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.root, prefix=".doctor-") as folder:
            (Path(folder) / "file").write_bytes(b"1")
            with writer_lock(Path(folder), "doctor"):
                pass
    except (OSError, TransferbenchError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        what = f"the work folder {where} cannot be used: {reason}"
        yield Finding(severity="wrong", what=what, todo="give another folder by --home or TB_HOME")
        return
    if (free := free_disk(home.root)) < LITTLE_DISK:
        what = f"{free / 1e9:,.1f} GB are free for the work folder {where}"
        yield Finding(severity="wrong" if free == 0 else "info", what=what, todo="tb plan tells what a recipe needs")


def _speed_told(devices: tuple[Device, ...], extras: dict[str, dict[str, str]]) -> Iterator[Finding]:
    import torch

    cores, threads = environment.cores(), torch.get_num_threads()
    if threads != cores:
        set_by = next((f"{name}={os.environ[name]}" for name in _THREADS if name in os.environ), "nothing we know of")
        what = f"torch uses {threads} thread(s), this process may use {cores} core(s): set by {set_by}"
        yield Finding(severity="slow", what=what, todo=f"unset it, or set OMP_NUM_THREADS={cores}")
    if not any(device.there for device in devices[1:]):
        if which("nvidia-smi") or Path("/proc/driver/nvidia").exists():
            todo = "install the torch that matches the driver: https://pytorch.org/get-started/locally/"
            yield Finding(severity="slow", what=f"there is an NVIDIA driver, but {devices[1].what}", todo=todo)
        if extras["cpu"]["ncnn"] == "not installed":
            what = "without a GPU and ncnn, extraction takes two to three times as long as it could"
            yield Finding(severity="slow", what=what, todo="pip install 'transferbench[cpu]'")
    for device in devices:
        if device.there and device.free_bytes < LITTLE_MEMORY:
            what = f"{device.free_bytes / 1e9:,.1f} GB of memory are free on {device.name}; batches are made smaller"
            yield Finding(severity="slow", what=what, todo="end what else needs it, if you can")


_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_THREAD_LIMIT")


def _extras_told(extras: dict[str, dict[str, str]]) -> Iterator[Finding]:
    for extra, found in extras.items():
        if "not installed" in found.values():
            what = f"the extra [{extra}] is not installed: {EXTRAS[extra][1]}"
            yield Finding(severity="info", what=what, todo=f"pip install 'transferbench[{extra}]', if you need it")
