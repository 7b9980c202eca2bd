"""Build the wheel, install it into a fresh environment, and run it from another folder: `make smoke`.

The checkout's own code must not be importable from there, so what the wheel forgot to pack is found missing.
"""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, TOP)
        (wheel,) = folder.glob("*.whl")
        venv.create(folder / "venv", with_pip=True)
        binaries = folder / "venv" / "bin"
        run(
            binaries / "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--constraint",
            TOP / "constraints.txt",
            wheel,
        )
        recipes = json.loads(run(binaries / "tb", "recipes", "list", "--json", cwd=folder))
        datasets = json.loads(run(binaries / "tb", "datasets", "list", "--json", cwd=folder))
        run(binaries / "tb", "recipes", "check", cwd=folder)
        where = run(
            binaries / "python", "-c", "import transferbench; print(transferbench.__file__)", cwd=folder
        ).strip()
    assert where.startswith(str(folder)), where
    assert {"digits_stack", "digits_a"} <= {row["recipe"] for row in recipes}
    assert "digits" in {row["dataset"] for row in datasets}
    print(f"smoke: {wheel.name} lists {len(recipes)} recipes and {len(datasets)} dataset(s) from another folder")


def run(*command: object, cwd: Path = TOP) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
