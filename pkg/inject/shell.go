package inject

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

func isShell(word string) bool {
	return slices.Contains([]string{"sh", "bash", "ash", "dash"}, path.Base(word))
}

// shellScript is the script of `sh -c SCRIPT` and where it stands, -1: there is none.
func shellScript(all []string, first int) (script string, at int) {
	if first+2 != len(all)-1 || !isShell(all[first]) || !slices.Contains([]string{"-c", "-ec", "-ce"}, all[first+1]) {
		return "", -1
	}
	return all[first+2], first + 2
}

// throughShell reads a script that is one call of tile38-server.
func (s *start) throughShell(container *yaml.Node, script string, at, commandWords int) error {
	words, ok := shellWords(strings.TrimSpace(script))
	skip := 0
	if ok && len(words) > 0 && words[0] == "exec" {
		skip = 1
	}
	if !ok || len(words) <= skip || path.Base(words[skip]) != "tile38-server" {
		return fmt.Errorf("its shell's script %q is more than a call of tile38-server%s", script, advice)
	}
	gone, err := s.flags(container, words[skip+1:])
	if err != nil {
		return err
	}
	s.move = func(c *yaml.Node, host string, port int) {
		kept := []string{"exec"} // a shell that stays would get the signals
		for i, w := range words[skip:] {
			if !slices.Contains(gone, i-1) {
				kept = append(kept, shellQuote(w))
			}
		}
		kept = append(kept, "-h", host, "-p", strconv.Itoa(port))
		list, i := get(c, "command"), at
		if at >= commandWords {
			list, i = get(c, "args"), at-commandWords
		}
		list.Content[i] = text(strings.Join(kept, " "))
	}
	return nil
}

// shellWords splits a simple command. What a shell would do more to it than take
// words apart is not understood.
func shellWords(script string) (words []string, ok bool) {
	var word strings.Builder
	in := false // a word
	for i := 0; i < len(script); i++ {
		c := script[i]
		switch {
		case c == '\'' || c == '"':
			end := strings.IndexByte(script[i+1:], c)
			if end < 0 {
				return nil, false
			}
			part := script[i+1 : i+1+end]
			if c == '"' && strings.ContainsAny(part, "$`\\!") {
				return nil, false
			}
			word.WriteString(part)
			in, i = true, i+1+end
		case c == ' ' || c == '\t':
			if in {
				words = append(words, word.String())
			}
			word.Reset()
			in = false
		case safe(c):
			word.WriteByte(c)
			in = true
		default:
			return nil, false
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words, true
}

// safe: a character that means nothing to a shell.
func safe(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_./:=@,+%-", c) >= 0
}

func shellQuote(word string) string {
	for i := range len(word) {
		if !safe(word[i]) {
			return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	if word == "" {
		return "''"
	}
	return word
}
