#!/usr/bin/env python3
"""cargo, but `cargo metadata` names packages as cargo before 1.77 did. See deny.sh."""
import json
import os
import subprocess
import sys

real = os.environ.get("FAROL_REAL_CARGO", "cargo")
if "metadata" not in sys.argv[1:2]:
    os.execvp(real, [real, *sys.argv[1:]])

done = subprocess.run([real, *sys.argv[1:]], stdout=subprocess.PIPE, check=False)
if done.returncode:
    sys.exit(done.returncode)
metadata = json.loads(done.stdout)
old = {}
for package in metadata["packages"]:
    source = package["source"] or "path+file://" + os.path.dirname(package["manifest_path"])
    old[package["id"]] = f'{package["name"]} {package["version"]} ({source})'


def rename(value):
    if isinstance(value, str):
        return old.get(value, value)
    if isinstance(value, list):
        return [rename(item) for item in value]
    if isinstance(value, dict):
        return {key: rename(item) for key, item in value.items()}
    return value


json.dump(rename(metadata), sys.stdout)
