package pgtest

import (
	"bytes"
	"net"
	"sync/atomic"
	"testing"
)

// CommitCut describes a connection that breaks at the first COMMIT.
type CommitCut struct {
	AnswerLost bool // the server receives the COMMIT; its answer is lost
	ServerGone bool // no later connection succeeds
}

// Listen starts a proxy to the shared server that cuts the first connection on which the client sends a COMMIT. It
// returns the proxy's address, and whether it has cut one.
func (c CommitCut) Listen(t testing.TB) (address string, done *atomic.Bool) {
	t.Helper()
	done = new(atomic.Bool)
	return Listen(t, func(client net.Conn) { c.forward(client, done) }), done
}

var commitQuery = []byte("Q\x00\x00\x00\x0bCOMMIT\x00")

func (c CommitCut) forward(client net.Conn, done *atomic.Bool) {
	if done.Load() && c.ServerGone {
		client.Close()
		return
	}
	server, err := net.Dial("tcp", Shared.Address())
	if err != nil {
		client.Close()
		return
	}
	var silent atomic.Bool
	answered := make(chan struct{}, 1)
	join(client, server, func(message []byte) action {
		if !bytes.Equal(message, commitQuery) || !done.CompareAndSwap(false, true) {
			return pass
		}
		if c.AnswerLost {
			silent.Store(true)
			_, _ = server.Write(message)
			<-answered
		}
		return cut
	}, func([]byte) action {
		if silent.Load() {
			answered <- struct{}{}
			return cut
		}
		return pass
	})
}
