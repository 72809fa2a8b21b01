package pgtest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Place is where a network breaks: how much passes of a message, or of a round trip.
type Place int

const (
	Before Place = iota // nothing
	Middle              // half of the message, or what the client sends of the round trip
	After               // all
)

// End is how a network breaks: what becomes of the connections that there are.
type End int

const (
	FIN     End = iota // closed on both sides
	RST                // reset on both sides
	Silence            // left open on both sides until Close, while nothing passes
	Mute               // the same, but what the server sends passes
)

// Later is what becomes of connections that are made after the network broke.
type Later int

const (
	Served     Later = iota
	Refused          // reset, as if the server were gone
	Denied           // answered with a permanent error
	Unanswered       // left open until Close, while nothing passes
	Alike            // served until its own RoundTrip, at which it breaks in the same way
)

// Network passes connections on to a server, message by message, and counts. It breaks at most once, and with it all connections
// that there are. Messages and bytes are counted over all of them, so that a run with several connections breaks wherever its
// traffic happens to be. A round trip begins when the client sends something after the server has answered, unless that arrives
// together with what it has sent before; the message that ends a session is not one. Of what TLS has encrypted, a message is
// whatever arrives at once.
type Network struct {
	Client    bool // whether the client's messages and bytes are counted, or the server's
	Message   int  // the message at which the network breaks; 0: none
	Byte      int  // the byte after which it breaks; 0: none
	RoundTrip int  // the round trip of a connection at which it breaks; 0: none
	Commit    bool // it breaks at the first round trip that is a COMMIT
	Place     Place
	End       End
	Later     Later

	Connections, RoundTrips atomic.Int32
	Emptied                 atomic.Int32  // how often the last open connection ended
	Messages, Bytes         atomic.Int64  // that the counted side has sent
	Broken                  chan struct{} // closed when the network breaks

	listener net.Listener
	to       string
	open     atomic.Int32 // connections
	broken   atomic.Bool
	at       atomic.Int32 // the type of the message at which the network broke
	commits  sync.Map     // for each database to which the client has sent a COMMIT: whether the answer was passed on
	ending   sync.Once
	ended    chan struct{} // closed by Close
}

// Listen starts the network in front of an address, or of the path of a Unix socket, and returns its own address. It is closed
// when the test ends.
func (n *Network) Listen(t testing.TB, to string) (address string) {
	t.Helper()
	return n.ListenAt(t, "localhost:0", to)
}

// ListenAt is like Listen, with an address of the caller's choice.
func (n *Network) ListenAt(t testing.TB, at, to string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	n.listener, n.to, n.Broken, n.ended = l, to, make(chan struct{}), make(chan struct{})
	t.Cleanup(n.Close)
	go accept(l, n.serve)
	return l.Addr().String()
}

// Close ends the network and its connections.
func (n *Network) Close() { n.ending.Do(func() { _ = n.listener.Close(); close(n.ended) }) }

// Break breaks the network now, unless it has been before, and reports whether it did.
func (n *Network) Break() (first bool) {
	if first = !n.broken.Swap(true); first {
		close(n.Broken)
	}
	return first
}

// IsBroken reports whether the network has broken.
func (n *Network) IsBroken() bool { return n.broken.Load() }

// Committed reports whether the client has sent a COMMIT to a database, and whether it was passed the answer.
func (n *Network) Committed(database string) (sent, answered bool) {
	whether, sent := n.commits.Load(database)
	return sent, whether == true
}

// String describes where and how the network breaks.
func (n *Network) String() string {
	side, at := "server", n.at.Load()
	if n.Client {
		side = "client"
	}
	where := fmt.Sprintf("%s message %d of the %s (of type %q)", []string{"before", "in", "after"}[n.Place], n.Message, side, at)
	if n.Byte > 0 {
		where = fmt.Sprintf("after byte %d of the %s", n.Byte, side)
	}
	return []string{"FIN", "RST", "silence", "mute"}[n.End] + " " + where +
		[]string{"", ", then refused", ", then denied", ", then unanswered", ", each time"}[n.Later]
}

// serve passes messages between a client and the server until both have closed the connection, or the network is closed.
func (n *Network) serve(client net.Conn) {
	n.Connections.Add(1)
	n.open.Add(1)
	defer func() {
		_ = client.Close()
		if n.open.Add(-1) == 0 {
			n.Emptied.Add(1)
		}
	}()
	later := n.IsBroken()
	switch {
	case later && n.Later == Refused:
		reset(client)
		return
	case later && n.Later == Denied:
		AnswerError("SFATAL\x00VFATAL\x00C28000\x00Mthe role is not permitted to log in\x00\x00")(client)
		return
	case later && n.Later == Unanswered:
		<-n.ended
		return
	}
	server, err := net.Dial(map[bool]string{true: "unix", false: "tcp"}[strings.HasPrefix(n.to, "/")], n.to)
	if err != nil {
		return
	}
	defer server.Close()
	// A large buffer, on some systems 32 MB, would hide a silence from the server.
	_ = server.(interface{ SetReadBuffer(int) error }).SetReadBuffer(64 << 10)
	l := &link{Network: n, later: later, client: client, server: server, answered: true}
	done := make(chan struct{}, 2)
	go func() { l.pump(server, client); done <- struct{}{} }()
	go func() { l.pump(client, server); done <- struct{}{} }()
	for range 2 {
		select {
		case <-done:
		case <-n.ended:
		}
	}
}

// link is one connection through a Network.
type link struct {
	*Network
	later          bool // it began after the network had broken
	client, server net.Conn

	mu                 sync.Mutex // held while a message passes, so that none overtakes the break
	broke, answered    bool       // the network has broken; the server has sent something since the client did
	together           bool       // the client's next message has arrived together with its last
	queries            int        // that the server has not answered
	database           string     // that the startup message names
	trips              int
	breaks, committing bool // the network breaks at this round trip; it is a COMMIT
}

// pump passes messages on in one direction until the network breaks or a connection ends.
func (l *link) pump(to, from net.Conn) {
	r, broke := reader{Reader: bufio.NewReaderSize(from, 32<<10)}, false
	for more := true; more; {
		message, err := r.next()
		broke, more = l.pass(to, message, r.Buffered() > 0, err)
	}
	switch {
	case !broke:
		return
	case l.End == Silence:
		<-l.ended
	case l.End == RST:
		reset(l.client, l.server)
	case l.End == FIN:
		closeWrite(l.client, l.server)
	}
	_, _ = io.Copy(io.Discard, from) // closed with something unread, the connection would be reset
}

// pass passes a message on, or the end of what one side sends. It reports whether the network has broken for that side, and
// if not, whether more is to be passed.
func (l *link) pass(to net.Conn, message []byte, together bool, err error) (broke, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	client, passed := to == l.server, len(message)
	if client && string(message) == "Q\x00\x00\x00\x0bCOMMIT\x00" { // sent, whether it passes or not
		l.committing = true
		l.commits.LoadOrStore(l.database, false)
	}
	affected := client || l.End != Mute // if the network has broken
	l.broke = l.broke || !l.later && l.IsBroken()
	switch {
	case l.broke && affected:
		return true, false
	case err != nil:
		closeWrite(to)
		return false, false
	case !l.broke:
		passed, l.broke = l.look(client, message)
	}
	l.together = client && together || !client && l.together
	_, err = to.Write(message[:passed])
	if l.broke && l.Break() {
		l.at.Store(int32(message[0]))
	}
	broke = l.broke && affected
	return broke, !broke && err == nil
}

// look counts a message, and returns how much of it passes, and whether the network then breaks.
func (l *link) look(client bool, message []byte) (passed int, breaks bool) {
	kind, whole := message[0], len(message)
	begins := client && l.answered && !l.together && kind != 'X'
	l.answered = !client
	var startup pgproto3.StartupMessage
	if client && kind == 0 && whole > 8 && startup.Decode(message[4:]) == nil { // and not a request for TLS or to cancel
		l.database = startup.Parameters["database"]
	}
	if begins {
		l.RoundTrips.Add(1)
		l.trips++
		l.breaks = (!l.later || l.Later == Alike) && (l.trips == l.RoundTrip || l.Commit && l.committing)
	}
	passed = whole
	if client == l.Client && !l.later {
		n, total := int(l.Messages.Add(1)), int(l.Bytes.Add(int64(whole)))
		switch {
		case l.Byte > 0 && total >= l.Byte:
			passed, breaks = max(whole-(total-l.Byte), 0), true
		case l.Message == n:
			passed, breaks = []int{0, whole / 2, whole}[l.Place], true
		}
	}
	ready := false
	switch {
	case client && kind == 'Q':
		l.queries++
	case !client && kind == 'Z':
		l.queries = max(l.queries-1, 0)
		ready = l.queries == 0 && !l.together
	}
	switch {
	case l.breaks && (client && l.Place == Before || !client && l.Place == Middle):
		passed, breaks = 0, true
	case l.breaks && ready: // After
		breaks = true
	}
	if ready && passed == whole && l.committing {
		l.committing = false
		l.commits.Store(l.database, true)
	}
	return passed, breaks
}
