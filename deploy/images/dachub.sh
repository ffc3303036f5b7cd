#!/bin/sh
# Makes /dachub: the files that dachub itself adds to the environment /opt/dachub.
set -eu
cd /build
/opt/build/bin/hatchling build -t wheel -d wheel
/opt/build/bin/pip --disable-pip-version-check --python /opt/dachub/bin/python install --quiet \
    --no-index --no-deps --no-compile --root /dachub wheel/*.whl
/opt/dachub/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /dachub /dachub/opt
