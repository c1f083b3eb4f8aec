# What .ci/run and .ci/long have in common; they source it. Goes to the root of the clone and makes a folder, $work.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1 PYTHONDONTWRITEBYTECODE=1
unset PYTHONPATH FASTCONV_ISA FASTCONV_NUM_THREADS OMP_NUM_THREADS
# The package without CUDA; the backend has stages of its own.
export SKBUILD_CMAKE_DEFINE=FASTCONV_CUDA=OFF

# The tests of what computes with arrays, for other instruction sets than the best.
computing=(tests/test_{conv*,ops*,epilogues,graph,network*,signal_networks,value_weights,nn,models,lenet,residual,mobile,isa,threads,package}.py)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# stage NAME COMMAND...: runs it and prints how long it took. Never in a condition: that would switch `set -e` off inside.
stage() {
  local name=$1 start=$SECONDS
  shift
  printf '\n=== %s\n' "$name"
  "$@"
  printf '=== %s: %d s\n' "$name" $((SECONDS - start))
}

# Makes a virtual environment and puts it first in PATH.
enter_venv() {
  "${PYTHON:-python3}" -m venv "$work/$1"
  # shellcheck disable=SC1091
  source "$work/$1/bin/activate"
}

# pytest with two workers, one of which has the large models; what it ran is counted in the end.
count_in() {
  export PYTEST_ADDOPTS="-n 2 --dist loadgroup -q --junitxml=$work/junit/$1.xml -o junit_suite_name=$1 -o cache_dir=$work/pytest-cache"
}

# Prints how long all stages took and what pytest ran in them.
summary() {
  printf '\nall stages: %d s\n' $SECONDS
  python - "$work"/junit/*.xml <<'END'
import sys
import xml.etree.ElementTree as ET

suites = [suite for path in sys.argv[1:] for suite in ET.parse(path).getroot().iter("testsuite")]
tests, failed, skipped = (
    sum(int(suite.get(key)) for suite in suites for key in keys)
    for keys in (("tests",), ("failures", "errors"), ("skipped",))
)
print(f"{tests - failed - skipped} passed, {failed} failed, {skipped} skipped")
END
}
