package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"evenkeel/pkg/settings"
)

// passwordProperties are the properties of CONFIG that are passwords: a command
// line shows them to whoever may list processes, or read a pod.
var passwordProperties = []string{settings.RequirePass, settings.LeaderAuth}

// passwordFlags name files with passwords of the embedded engine.
func (c *config) passwordFlags(f *pflag.FlagSet) {
	c.files = map[string]*string{}
	for _, name := range passwordProperties {
		c.files[name] = f.String(name+"-file", "", "file with the password of --"+name+", which then stands on no command line; it is read at the start")
	}
}

// readPasswords reads the passwords that are in files. An empty one is refused: the
// server would ask for none.
func (c *config) readPasswords() (faults []error) {
	for _, name := range passwordProperties {
		file := *c.files[name]
		if file == "" {
			continue
		}
		password, err := secret(file)
		switch {
		case c.set(name):
			err = fmt.Errorf("--%s is given too: want one of the two", name)
		case err == nil && password == "":
			err = fmt.Errorf("%s holds no password", file)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("--%s-file: %w", name, err))
			continue
		}
		*c.properties[name] = password
	}
	return faults
}

// given says whether a property's value comes from the command line.
func (c *config) given(property string) bool {
	return c.set(property) || c.files[property] != nil && *c.files[property] != ""
}

// secret reads a password: from the file, if there is one, else from the first of
// the environment variables that is not empty.
func secret(file string, env ...string) (string, error) {
	if file != "" {
		b, err := os.ReadFile(file) //nolint:gosec // the user names it
		if err != nil {
			return "", err // names the file
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	}
	for _, name := range env {
		if v := os.Getenv(name); v != "" {
			return v, nil
		}
	}
	return "", nil
}
