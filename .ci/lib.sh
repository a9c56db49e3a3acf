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
