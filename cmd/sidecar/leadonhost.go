package main

import (
	"errors"
	"fmt"
	"os"
)

// role drops --follow on the host that leads. The pods of a StatefulSet are told
// apart by their names alone, which are those of their hosts.
func (c *config) role() []error {
	if c.leadOnHost == "" {
		return nil
	}
	if c.follow == "" {
		return []error{errors.New("--lead-on-host: the other hosts need a leader: give --follow as well")}
	}
	host, err := os.Hostname()
	if err != nil {
		return []error{fmt.Errorf("--lead-on-host: the name of this machine: %w", err)}
	}
	if host == c.leadOnHost {
		c.follow = ""
	}
	return nil
}
