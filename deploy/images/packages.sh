#!/bin/sh
# Makes /opt/dachub: an environment with the packages that a lock names. Its tools stay in /opt/build.
set -eu
lock=$1
pip="/opt/build/bin/pip --disable-pip-version-check --no-cache-dir"
python3 -m venv /opt/build
$pip install --quiet --require-hashes --no-deps -r /build/requirements/build.txt
python3 -m venv --without-pip /opt/dachub
$pip --python /opt/dachub/bin/python install --quiet --require-hashes --no-deps --no-compile -r "$lock"
# Byte code belongs into the image: nobody can write it later, and without it every start compiles
# everything again. Checked by nothing, because files get other times in an image.
/opt/dachub/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/dachub/lib
