package node

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/settings"
)

var errReadOnly = reply.Plain("read only")

// config is CONFIG GET, SET, REWRITE; the second word may be part of the first.
func (c *call) config() error {
	args := c.args
	if c.name != "config" {
		args = append(strings.Fields(c.name), args[1:]...)
	}
	if len(args) < 2 {
		return unknownCommand(args[0])
	}
	set := c.node.opt.Settings
	switch strings.ToLower(args[1]) {
	case "get":
		if len(args) != 3 {
			return reply.ErrNumArgs
		}
		c.properties(set.Match(args[2]))
		return nil
	case "set":
		if len(args) == 3 && strings.EqualFold(args[2], settings.RequirePass) {
			args = append(slices.Clip(args), "") // no password
		}
		if len(args) != 4 {
			return reply.ErrNumArgs
		}
		if err := set.Set(strings.Clone(args[2]), strings.Clone(args[3])); err != nil {
			if errors.Is(err, settings.ErrUnknown) {
				return reply.Plain("Unsupported CONFIG parameter: " + args[2])
			}
			return reply.Plain(err.Error())
		}
	case "rewrite":
		if len(args) != 2 {
			return reply.ErrNumArgs
		}
		if err := set.Rewrite(); err != nil {
			return reply.Plain(err.Error())
		}
	default:
		return unknownCommand(args[0] + " " + args[1])
	}
	c.out.OK()
	return nil
}

func (c *call) properties(found map[string]string) {
	names := slices.Sorted(maps.Keys(found))
	if !c.out.JSON {
		c.out.Array(2 * len(names))
		for _, name := range names {
			c.out.Bulk(name)
			c.out.Bulk(found[name])
		}
		return
	}
	c.out.OK()
	c.out.Member("properties")
	c.out.Buf = append(c.out.Buf, '{')
	for i, name := range names {
		if i > 0 {
			c.out.Buf = append(c.out.Buf, ',')
		}
		c.out.String(name)
		c.out.Buf = append(c.out.Buf, ':')
		c.out.Escaped(found[name])
	}
	c.out.Buf = append(c.out.Buf, '}')
}

// readonly is READONLY yes|no. It outlives a restart.
func (c *call) readonly() error {
	if len(c.args) != 2 {
		return reply.ErrNumArgs
	}
	var on bool
	switch c.args[1] {
	case "yes":
		on = true
	case "no":
	default:
		return reply.InvalidArgument(c.args[1])
	}
	if err := c.node.role.readOnly(on); err != nil {
		return reply.Plain(err.Error())
	}
	c.out.OK()
	return nil
}
