package aof

// EachCommand splits payload, RESP commands one after the other, and calls visit
// for each. args and its strings are views of one string that holds the whole
// payload: copy what must outlive the call (args itself is reused), lest a short
// key keep 64 KiB alive. Stretches of zero bytes and empty commands are skipped.
// An error of visit ends the walk and is returned as it is.
func EachCommand[T ~string | ~[]byte](payload T, visit func(args []string) error) error {
	s := string(payload)
	args := make([]string, 0, 16)
	for i := 0; i < len(s); {
		if s[i] == 0 {
			i++
			continue
		}
		var err error
		args, i, err = splitCommand(args[:0], s, i)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			continue
		}
		if err := visit(args); err != nil {
			return err
		}
	}
	return nil
}

func splitCommand(args []string, s string, i int) ([]string, int, error) {
	n, i, ok := stringHeader(s, i, '*')
	if !ok {
		return nil, 0, &formatError{at: int64(i), reason: "not the start of a command"}
	}
	for ; n > 0; n-- {
		var l int
		// As in skipCommand: the common lengths have one or two digits.
		switch {
		case len(s)-i >= 4 && s[i] == '$' && s[i+1]-'0' <= 9 && s[i+2] == '\r' && s[i+3] == '\n':
			l, i = int(s[i+1]-'0'), i+4
		case len(s)-i >= 5 && s[i] == '$' && s[i+1]-'0' <= 9 && s[i+2]-'0' <= 9 && s[i+3] == '\r' && s[i+4] == '\n':
			l, i = int(s[i+1]-'0')*10+int(s[i+2]-'0'), i+5
		default:
			if l, i, ok = stringHeader(s, i, '$'); !ok {
				return nil, 0, &formatError{at: int64(i), reason: "not the start of an argument"}
			}
		}
		end := i + l
		if len(s)-i < l+2 || s[end] != '\r' || s[end+1] != '\n' {
			return nil, 0, &formatError{at: int64(min(end, len(s))), reason: "not the end of an argument"}
		}
		args = append(args, s[i:end])
		i = end + 2
	}
	return args, i, nil
}

// stringHeader reads "<kind><decimal>\r\n" at s[i]. When it is not there next is
// the index of the offending byte.
func stringHeader(s string, i int, kind byte) (v, next int, ok bool) {
	if i >= len(s) || s[i] != kind {
		return 0, i, false
	}
	i++
	for start := i; i < len(s); i++ {
		c := s[i]
		if c == '\r' && i > start {
			if i+1 < len(s) && s[i+1] == '\n' {
				return v, i + 2, true
			}
			return 0, i, false
		}
		if c < '0' || c > '9' {
			return 0, i, false
		}
		if v = v*10 + int(c-'0'); v > maxBulk {
			return 0, i, false
		}
	}
	return 0, i, false
}

// EachRaw splits payload as EachCommand does, without a copy: the words are
// pieces of payload. It leaves nothing to the garbage collector.
func EachRaw(payload []byte, visit func(words [][]byte) error) error {
	words := make([][]byte, 0, 16)
	for i := 0; i < len(payload); {
		if payload[i] == 0 {
			i++
			continue
		}
		var err error
		words, i, err = splitRaw(words[:0], payload, i)
		if err != nil {
			return err
		}
		if len(words) == 0 {
			continue
		}
		if err := visit(words); err != nil {
			return err
		}
	}
	return nil
}

func splitRaw(words [][]byte, b []byte, i int) ([][]byte, int, error) {
	n, i, s := header(b, i, '*')
	if s != found {
		return nil, 0, &formatError{at: int64(i), reason: "not the start of a command"}
	}
	for ; n > 0; n-- {
		var l int
		if l, i, s = header(b, i, '$'); s != found {
			return nil, 0, &formatError{at: int64(i), reason: "not the start of an argument"}
		}
		end := i + l
		if len(b)-i < l+2 || b[end] != '\r' || b[end+1] != '\n' {
			return nil, 0, &formatError{at: int64(min(end, len(b))), reason: "not the end of an argument"}
		}
		words = append(words, b[i:end])
		i = end + 2
	}
	return words, i, nil
}
