# Shared by the scripts in this folder, which begin with `. "$(dirname "$0")/common.sh"`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/.venv/bin:$PATH"

step() { printf '\n=== %s\n' "$*"; }

# The commit to compare with: the given one, or the one before HEAD if none is given or it is not in the clone, as
# after the first push of a branch or a forced push.
base() {
    for commit in ${1:+"$1"} HEAD~1 HEAD; do
        git rev-parse --quiet --verify "$commit^{commit}" && return
    done
}
