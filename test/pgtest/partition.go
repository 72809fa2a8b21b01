package pgtest

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Partition is a network that stalls: it passes bytes on until one side has sent a number of them, then nothing in either
// direction, while both sides stay connected. Connections that begin after that are not affected, unless ForGood is set.
type Partition struct {
	Passed  atomic.Int64  // bytes that the counted side has sent
	Stalled chan struct{} // closed when the network stalls
	ForGood atomic.Bool   // no later connection is answered once the network has stalled
	address string
	client  bool  // whether the client's bytes are counted, or the server's
	after   int64 // 0: never
	once    sync.Once
	end     sync.Once
	ended   chan struct{} // closed by Close
}

// NewPartition starts a proxy to an address, or to the path of a Unix socket, that stalls after as many bytes from the
// client, or from the server. With after = 0 it only counts them.
func NewPartition(t testing.TB, to string, client bool, after int64) *Partition {
	t.Helper()
	p := &Partition{client: client, after: after, Stalled: make(chan struct{}), ended: make(chan struct{})}
	t.Cleanup(p.Close)
	network := "tcp"
	if strings.HasPrefix(to, "/") {
		network = "unix"
	}
	p.address = Listen(t, func(c net.Conn) {
		if p.ForGood.Load() && p.hasStalled() {
			<-p.ended
			_ = c.Close()
			return
		}
		s, err := net.Dial(network, to)
		if err != nil {
			_ = c.Close()
			return
		}
		if tcp, ok := s.(*net.TCPConn); ok { // a large buffer, on some systems 32 MB, would hide the stall from the server
			_ = tcp.SetReadBuffer(64 << 10)
		}
		p.join(c, s)
	})
	return p
}

// Close ends the connections that have stalled, as the end of the test does.
func (p *Partition) Close() { p.end.Do(func() { close(p.ended) }) }

// Address returns the host and port of the proxy.
func (p *Partition) Address() string { return p.address }

func (p *Partition) join(client, server net.Conn) {
	affected := !p.hasStalled()
	go func() { // also while both sides are silent
		<-p.ended
		_, _ = client.Close(), server.Close()
	}()
	var group sync.WaitGroup
	group.Go(func() { p.pass(server, client, affected, p.client) })
	group.Go(func() { p.pass(client, server, affected, !p.client) })
	group.Wait()
	if affected && p.hasStalled() {
		<-p.ended
	}
	_, _ = client.Close(), server.Close()
}

func (p *Partition) hasStalled() bool {
	select {
	case <-p.Stalled:
		return true
	default:
		return false
	}
}

// pass passes bytes on in one direction until the network stalls or a connection ends.
func (p *Partition) pass(to, from net.Conn, affected, counted bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if affected && p.hasStalled() {
			return
		}
		if counted && affected {
			if total := p.Passed.Add(int64(n)); p.after > 0 && total >= p.after {
				_, _ = to.Write(buffer[:int64(n)-(total-p.after)])
				p.once.Do(func() { close(p.Stalled) })
				return
			}
		}
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			if errors.Is(err, io.EOF) {
				_ = to.(interface{ CloseWrite() error }).CloseWrite()
			}
			return
		}
	}
}
