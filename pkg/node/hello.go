package node

import (
	"strings"

	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/settings"
)

// errProtocol is what Redis answers to HELLO with a version that it does not
// speak.
var errProtocol = &reply.Error{JSON: "unsupported protocol version", RESP: "NOPROTO unsupported protocol version"}

// hello is HELLO [version [AUTH name password] [SETNAME name]], as Redis has it
// (https://redis.io/docs/latest/commands/hello/). Tile38 does not know it, and
// clients that begin with it go on without; so it is there only when the
// property resp3 is yes.
func (c *call) hello() error {
	if c.node.opt.Settings.Get(settings.RESP3) != "yes" {
		return unknownCommand(c.args[0])
	}
	version := ""
	rest := c.args[1:]
	if len(rest) > 0 {
		version, rest = rest[0], rest[1:]
		if version != "2" && version != "3" {
			return errProtocol
		}
	}
	for len(rest) > 0 {
		switch {
		case strings.EqualFold(rest[0], "auth") && len(rest) > 2:
			if err := c.login(rest[2]); err != nil {
				return err
			}
			rest = rest[3:]
		case strings.EqualFold(rest[0], "setname") && len(rest) > 1:
			if err := c.setName(rest[1]); err != nil {
				return err
			}
			rest = rest[2:]
		default:
			return reply.InvalidArgument(rest[0])
		}
	}
	if !c.authed && c.node.opt.Settings.Get(passProperty) != "" {
		return errAuthRequired
	}
	if version != "" {
		c.out.RESP3 = version == "3"
	}
	c.greet()
	return nil
}

// greet says who the server is.
func (c *call) greet() {
	version, role := 2, "master"
	if c.out.RESP3 {
		version = 3
	}
	if !c.node.role.leads() {
		role = "replica"
	}
	if c.out.JSON {
		c.out.OK()
		c.out.Member("result")
		c.object(map[string]any{
			"server": "tile38", "version": TileVersion, "proto": version, "id": c.conn.ID(), "mode": "standalone", "role": role,
		}, []string{"server", "version", "proto", "id", "mode", "role"})
		return
	}
	c.out.Map(7)
	for _, p := range [][2]string{{"server", "tile38"}, {"version", TileVersion}} {
		c.out.Bulk(p[0])
		c.out.Bulk(p[1])
	}
	c.out.Bulk("proto")
	c.out.Int(version)
	c.out.Bulk("id")
	c.out.Int(int(c.conn.ID()))
	for _, p := range [][2]string{{"mode", "standalone"}, {"role", role}} {
		c.out.Bulk(p[0])
		c.out.Bulk(p[1])
	}
	c.out.Bulk("modules")
	c.out.Array(0)
}
