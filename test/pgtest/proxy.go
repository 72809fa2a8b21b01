package pgtest

import (
	"net"
	"sync/atomic"
	"testing"
)

// Proxy passes connections on to a server and counts round trips. A round trip begins when the client sends something
// after the server has answered; the message that ends a session is not one.
type Proxy struct {
	Connections atomic.Int32
	RoundTrips  atomic.Int32
	MuteAfter   atomic.Int32 // the last round trip of a connection that is passed on; 0: all are
	CutAt       int32        // the round trip of a connection at which it is closed; 0: none
	to          string
	address     string
}

// NewProxy starts a proxy to an address. It ends with the test. CutAt may be set before the first connection.
func NewProxy(t testing.TB, to string) *Proxy {
	t.Helper()
	p := &Proxy{to: to}
	p.address = Listen(t, p.forward)
	return p
}

// Serve passes on the connections of a listener to an address until the listener is closed.
func Serve(l net.Listener, to string) {
	p := &Proxy{to: to}
	accept(l, p.forward)
}

// Address returns the host and port of the proxy.
func (p *Proxy) Address() string { return p.address }

func (p *Proxy) forward(client net.Conn) {
	p.Connections.Add(1)
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		client.Close()
		return
	}
	var answered atomic.Bool
	answered.Store(true)
	var trips int32 // of this connection
	join(client, server, func(message []byte) action {
		if terminate := len(message) >= 5 && message[0] == 'X'; !answered.Swap(false) || terminate {
			return pass
		}
		last := p.MuteAfter.Load()
		p.RoundTrips.Add(1)
		switch trips++; {
		case trips == p.CutAt:
			return cut
		case last > 0 && trips > last:
			return drop
		}
		return pass
	}, func([]byte) action {
		answered.Store(true)
		return pass
	})
}

// An action is what becomes of bytes that one side has sent.
type action int

const (
	pass action = iota // send them to the other side
	drop               // ignore them
	cut                // ignore them and close both connections
)

// join passes bytes on in both directions until one side closes its connection, then closes both.
func join(client, server net.Conn, fromClient, fromServer func([]byte) action) {
	defer server.Close()
	defer client.Close()
	go func() {
		defer client.Close()
		pump(client, server, fromServer)
	}()
	pump(server, client, fromClient)
}

// pump passes bytes on in one direction until that fails or decide says cut.
func pump(to, from net.Conn, decide func([]byte) action) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		switch decide(buffer[:n]) {
		case cut:
			return
		case drop:
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
