package resp

import "bytes"

// Head is what the head of an HTTP request says.
type Head struct {
	Request
	// Command is what of the command stands in the path, with its escapes undone;
	// the body goes on with it.
	Command string
	Size    int // of the head, in bytes
	Body    int // of the body, in bytes
}

// ReadHead reads the head of the request that b begins with, for whoever passes
// requests on instead of reading them. ok is false as long as the head is
// incomplete, and when b begins with no HTTP request; http tells the two apart
// once the first line is there. With an error it is a request that is not served.
func ReadHead(b []byte, l Limits) (h Head, http, ok bool, err error) {
	l.EnsureDefaults()
	i := bytes.IndexByte(b, '\n')
	if i < 0 || !isHTTP(b[:i+1]) {
		return h, false, false, nil
	}
	end := bytes.Index(b[i-1:], []byte("\r\n\r\n"))
	if end < 0 {
		return h, true, false, nil
	}
	end += i - 1 + len("\r\n\r\n")
	q := request{head: end}
	if err := q.begin(string(b[:i-1]), string(b[i+1:end-2]), &l); err != nil {
		return h, true, false, err
	}
	return Head{Request: q.Request, Command: q.path, Size: q.head, Body: q.body}, true, true, nil
}
