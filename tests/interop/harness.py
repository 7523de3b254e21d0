"""What the interoperability tests share: the binary and the shipped models.

The binary is named by the environment variable APR.
"""
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ("tiny-llama", "tiny-qwen2", "tiny-gpt2")

# Two layers of random weights each (tests/architectures/make_goldens.py).
ARCHITECTURES = sorted(path.parent for path in (ROOT / "tests" / "architectures").glob("*/config.json"))


def model(name):
    return ROOT / "tests" / "models" / name


def apr(*arguments):
    """Runs the binary, expects success, and returns what it prints."""
    command = [os.environ["APR"], *(str(argument) for argument in arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise AssertionError(f"apr {' '.join(command[1:])}: {ran.stderr}")
    return ran.stdout
