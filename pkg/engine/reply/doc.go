// Package reply builds the answers of the engine's commands.
//
// An answer exists in two shapes, chosen by the connection with the OUTPUT
// command: RESP values, and one JSON object. A command handler asks
// Reply.JSON and appends to Reply.Buf directly; the helpers here cover what
// many handlers share. A JSON answer is left open at its end: whoever owns the
// clock closes it with Finish, which adds the member "elapsed".
//
// The package touches memory only.
package reply
