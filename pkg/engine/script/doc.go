// Package script runs what clients send as Lua: EVAL and its kin, SCRIPT, and
// the filters WHEREEVAL and WHEREEVALSHA.
//
//	scripts.go     limits, and the scripts that are kept, by their SHA-1
//	eval.go        EVAL, EVALRO, EVALNA, their SHA forms, and SCRIPT
//	commands.go    which commands a script may call
//	tile38.go      the table tile38, and answers in RESP as Lua values
//	json.go        the table json
//	result.go      what a script returns, as RESP or JSON
//	where.go       WHEREEVAL
//
// The machine for scripts and its bounds are package lua's matter. Each EVAL has a
// machine of its own, so nothing of a run is left for the next one. A WHEREEVAL has
// one machine for all the items that it is asked about, because scripts of Tile38
// may count in ARGV.
//
// Whoever calls Eval carries out the commands of the script, and decides what is
// locked meanwhile: this package knows no state and no lock. What a script has
// written before it fails stays written, as in Tile38.
//
// Scripts are kept so that EVALSHA finds them. Those that came by EVAL or WHEREEVAL
// make room for others when there are too many, the ones first that were not used
// for longest; those of SCRIPT LOAD stay until SCRIPT FLUSH, and when they alone are
// too many, SCRIPT LOAD is refused.
//
// The package touches memory only; its clock is passed in.
package script
