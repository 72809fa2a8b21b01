package test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The space after a stored key is sent in `Authorization: Bearer <key>`. By RFC 9110, section 5.5, every recipient removes
// it; this holds for these servers.
func TestServersStripTheTrailingSpace(t *testing.T) {
	t.Parallel()
	goServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "[%s]", r.Header.Get("Authorization"))
	}))
	defer goServer.Close()
	nginx, haproxy, dir := pgtest.FreePort(), pgtest.FreePort(), t.TempDir()
	pgtest.StartDaemon(t, "nginx", "nginx-light", "/usr/sbin/nginx", nil,
		"-p", dir, "-e", "stderr", "-c", pgtest.TempFile(t, `daemon off; master_process off; pid `+dir+`/pid; error_log stderr; events {}
			http { access_log off; client_body_temp_path `+dir+`; proxy_temp_path `+dir+`; fastcgi_temp_path `+dir+`; uwsgi_temp_path `+dir+`; scgi_temp_path `+dir+`;
			server { listen 127.0.0.1:`+nginx+`; location / { return 200 "[$http_authorization]"; } } }`))
	pgtest.StartDaemon(t, "haproxy", "haproxy", "/usr/sbin/haproxy", nil, "-db", "-f", pgtest.TempFile(t, `defaults
  mode http
  timeout client 1m
  timeout server 1m
  timeout connect 1m
frontend f
  bind 127.0.0.1:`+haproxy+`
  http-request return status 200 content-type text/plain lf-string "[%[req.hdr(authorization)]]"
`))
	for name, address := range map[string]string{
		"Go": strings.TrimPrefix(goServer.URL, "http://"), "nginx": "127.0.0.1:" + nginx, "HAProxy": "127.0.0.1:" + haproxy,
	} {
		var body string
		if err := pgtest.Until(func() (err error) { body, err = bearer(address, pgtest.APIKey+" "); return err }); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := "[Bearer " + pgtest.APIKey + "]"; body != want {
			t.Errorf("%s received %q, want %q", name, body, want)
		}
	}
}

// bearer sends a request with a key as the clients of openai and axios do, and returns the body of the reply.
func bearer(address, key string) (string, error) {
	c, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n", key); err != nil {
		return "", err
	}
	reply, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	return string(body), err
}
