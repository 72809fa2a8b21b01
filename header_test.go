package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The space behind a stored key travels in `Authorization: Bearer <key>`. RFC 9110, section 5.5, has every recipient take
// it away; these servers are seen to.
func TestServersStripTheTrailingSpace(t *testing.T) {
	goServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "[%s]", r.Header.Get("Authorization"))
	}))
	defer goServer.Close()
	nginx, haproxy := freePort(), freePort()
	runDaemon(t, "nginx", "nginx-light", "/usr/sbin/nginx", func(dir string) []string {
		return []string{"-p", dir, "-e", "stderr", "-c", file(t, `daemon off; master_process off; pid `+dir+`/pid; error_log stderr; events {}
			http { access_log off; client_body_temp_path `+dir+`; proxy_temp_path `+dir+`; fastcgi_temp_path `+dir+`; uwsgi_temp_path `+dir+`; scgi_temp_path `+dir+`;
			server { listen 127.0.0.1:`+nginx+`; location / { return 200 "[$http_authorization]"; } } }`)}
	})
	runDaemon(t, "haproxy", "haproxy", "/usr/sbin/haproxy", func(string) []string {
		return []string{"-db", "-f", file(t, `defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend f
  bind 127.0.0.1:`+haproxy+`
  http-request return status 200 content-type text/plain lf-string "[%[req.hdr(authorization)]]"
`)}
	})
	for name, address := range map[string]string{
		"Go": strings.TrimPrefix(goServer.URL, "http://"), "nginx": "127.0.0.1:" + nginx, "HAProxy": "127.0.0.1:" + haproxy,
	} {
		var body string
		if err := until(10*time.Second, func() (err error) { body, err = bearer(address, apiKey+" "); return err }); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := "[Bearer " + apiKey + "]"; body != want {
			t.Errorf("%s sees %q, want %q", name, body, want)
		}
	}
}

// bearer sends a request as openai's and axios' clients do, the space included, and returns the reply's body.
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

// runDaemon runs a server in the foreground until the test ends.
func runDaemon(t *testing.T, name, debian, path string, args func(dir string) []string) {
	t.Helper()
	if found, err := exec.LookPath(name); err == nil {
		path = found
	} else if !exists(path) {
		t.Fatalf("no %s found: apt-get install %s", name, debian)
	}
	dir := t.TempDir()
	var output lockedBuffer
	cmd := exec.Command(path, args(dir)...)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", filepath.Base(path), output.String())
		}
	})
}
