package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// aroundCommit passes on what is said until the first COMMIT of a change: that, or the answer to it, is lost, and the connection
// with it. It says whether it has come to that.
func aroundCommit(t *testing.T, answerLost, serverGone bool) (address string, lost *atomic.Bool) {
	t.Helper()
	lost = new(atomic.Bool)
	commit := []byte("Q\x00\x00\x00\x0bCOMMIT\x00")
	return listen(t, func(client net.Conn) {
		defer client.Close()
		if lost.Load() && serverGone {
			return
		}
		server, err := net.Dial("tcp", "localhost:"+shared.port)
		if err != nil {
			return
		}
		defer server.Close()
		var silent atomic.Bool
		answered := make(chan struct{}, 1)
		go func() {
			defer client.Close()
			buffer := make([]byte, 1<<16)
			for {
				n, err := server.Read(buffer)
				if err != nil {
					return
				}
				if silent.Load() {
					answered <- struct{}{}
					return
				}
				if _, err := client.Write(buffer[:n]); err != nil {
					return
				}
			}
		}()
		buffer := make([]byte, 1<<16)
		for {
			n, err := client.Read(buffer)
			if err != nil {
				return
			}
			if bytes.Equal(buffer[:n], commit) && lost.CompareAndSwap(false, true) {
				if answerLost {
					silent.Store(true)
					_, _ = server.Write(buffer[:n])
					<-answered
				}
				return
			}
			if _, err := server.Write(buffer[:n]); err != nil {
				return
			}
		}
	}), lost
}

// Whether the change was made is said to be unknown if and only if it is.
func TestLostCommit(t *testing.T) {
	for name, c := range map[string]struct {
		answerLost, serverGone bool
		code                   int
		says                   []string
		again                  string
	}{
		"lost":                     {false, false, 0, []string{"patched: ", "changed=true"}, "changed=false"},
		"answer lost":              {true, false, 0, []string{"patched: ", "changed=unknown"}, "changed=false"},
		"lost, server gone":        {false, true, 4, []string{"failed: ", "changed=unknown", "PATCH_ACTION=status tells"}, "changed=true"},
		"answer lost, server gone": {true, true, 4, []string{"failed: ", "changed=unknown", "PATCH_ACTION=status tells"}, "changed=false"},
	} {
		t.Run(name, func(t *testing.T) {
			d := evolution(t, "evolution_api")
			d.rows(10)
			address, lost := aroundCommit(t, c.answerLost, c.serverGone)
			uri := "DATABASE_CONNECTION_URI=" + uriFor("postgres", address, d.name, d.schema)
			o := execute(t, context.Background(), uri, allFixes, "PATCH_WAIT_TIMEOUT=2s")
			o.expect(t, c.code, c.says...)
			if !lost.Load() {
				t.Fatal("there was no COMMIT to be lost")
			}
			d.patch(allFixes).expect(t, 0, "patched: ", c.again)
			address, _ = aroundCommit(t, c.answerLost, c.serverGone)
			o = execute(t, context.Background(), "DATABASE_CONNECTION_URI="+uriFor("postgres", address, d.name, d.schema), "PATCH_ACTION=revert", allFixes, "PATCH_LOG_FORMAT=json", "PATCH_WAIT_TIMEOUT=2s")
			if want := strings.Contains(strings.Join(c.says, " "), "unknown"); strings.Contains(o.stdout, `"changed":null`) != want {
				t.Errorf("changed is not null: %s", o.stdout)
			}
		})
	}
}
