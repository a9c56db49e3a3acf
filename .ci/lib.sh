# Shared by the scripts of this folder. Sourced with bash, from the root.

# Where the recorded conversations are.
CONFORMANCE="${CONFORMANCE:-../shared/conformance}"
# Tests that compare with what was recorded look for it here.
if [[ -f "$CONFORMANCE/check.py" ]]; then
	EVENKEEL_CONFORMANCE=$(cd "$CONFORMANCE" && pwd)
	export EVENKEEL_CONFORMANCE
fi

# replay GROUP...: replays the groups against bin/sidecar, a new server for
# every scenario, and prints a line for each. Its status is the checker's.
replay() {
	local paths=() group
	for group in "$@"; do
		paths+=("$CONFORMANCE/$group")
	done
	python3 "$CONFORMANCE/check.py" -v --max-diffs 40 \
		--spawn "bin/sidecar run --listen 127.0.0.1:{port} --data-dir {dir} --probe-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0" \
		"${paths[@]}"
}

# loud TEXT...: says what must not be overlooked.
loud() {
	printf '\n======== %s\n\n' "$*"
}

# skip TEXT...: says what is not checked and why, loudly and in the file $SKIPPED if there is one.
skip() {
	loud "SKIPPED $*"
	[[ -z ${SKIPPED:-} ]] || echo "$*" >>"$SKIPPED"
}

# The kit that builds programs and runs a cluster, and where it keeps them.
CLUSTER=${CLUSTER:-../shared/cluster/cluster}
CLUSTER_HOME=${CLUSTER_HOME:-$HOME/.cache/evenkeel-cluster}
PATH="$CLUSTER_HOME/bin:$PATH"

# have PROGRAM WHAT: the program is there, or is built by the kit now. Otherwise it says that
# WHAT is not checked. A build that fails sets failed.
have() {
	local why
	command -v "$1" >/dev/null && return
	if [[ ! -x $CLUSTER ]]; then
		why="there is no $1, and no kit that builds it ($CLUSTER; CLUSTER=path names another)"
	elif [[ ${TOOLS:-build} == have ]]; then
		why="$1 is not built yet: $CLUSTER tool $1"
	else
		echo "building $1 with $CLUSTER: minutes, once"
		"$CLUSTER" tool "$1" && return
		why="$1 could not be built: $CLUSTER tool $1"
		failed=1
	fi
	skip "$2: $why"
	return 1
}
