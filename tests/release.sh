#!/bin/sh
# Build both distributions and try each in a fresh virtual environment: what is published has worked once.
# Usage: tests/release.sh PYTHON FOLDER
set -eu
python=$1 dist=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$dist"
"$python" -m build --outdir "$dist" . > "$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
"$python" -m build --wheel --outdir "$dist" sdk > "$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }

"$python" -m venv "$work/client"
"$work/client/bin/python" -m pip install --quiet --disable-pip-version-check "$dist"/foundations_tui-*.whl
cd "$work"
FOUNDATIONS_HOME=$work/home "$work/client/bin/foundations" --version
"$work/client/bin/foundations" demo --no-ui > "$work/demo.log" 2>&1 || { cat "$work/demo.log"; exit 1; }
tail -n 1 "$work/demo.log"
cd - > /dev/null

"$python" -m venv "$work/sdk"
"$work/sdk/bin/python" -m pip install --quiet --disable-pip-version-check --no-index "$dist"/foundations_sdk-*.whl
cd "$work"
"$work/sdk/bin/python" -c 'import foundations; print("foundations-sdk", foundations.__version__)'
cd - > /dev/null
ls "$dist"
