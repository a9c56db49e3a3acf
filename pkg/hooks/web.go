package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"time"
)

const (
	maxAnswer   = 64 << 10         // bytes of an answer that are read
	idleTimeout = 30 * time.Second // of a connection
)

// webClient posts messages. Connections are kept for the next message.
type webClient struct {
	client    *http.Client
	transport *http.Transport
}

func newWebClient(o *Options) *webClient {
	tr := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: o.Timeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    o.Timeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           2 * o.MaxSenders,
		MaxIdleConnsPerHost:    o.MaxSenders,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxAnswer,
	}
	return &webClient{client: &http.Client{Transport: tr}, transport: tr}
}

// post sends msg. Only 200, 201 and 202 say that it was taken, as in Tile38.
func (c *webClient) post(ctx context.Context, url string, msg []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(msg))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		// The address may hold a secret, and the error goes to the log.
		if ue, ok := errors.AsType[*neturl.Error](err); ok {
			return ue.Err
		}
		return err
	}
	// Read, so that the connection can be used again. The status has decided.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted:
		return nil
	}
	return fmt.Errorf("the answer is %d", resp.StatusCode)
}

func (c *webClient) close() { c.transport.CloseIdleConnections() }
