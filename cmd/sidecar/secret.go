package main

import (
	"os"
	"strings"
)

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
