package pgtest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Place is where a network breaks, relative to a message.
type Place int

// The places.
const (
	Before Place = iota
	Middle
	After
)

// End is how a network breaks.
type End int

// The ends.
const (
	FIN     End = iota // both sides see the connection closed
	RST                // both sides see it reset
	Silence            // both sides stay connected, and nothing passes any more
)

// Later is what becomes of connections that are made after the network broke.
type Later int

// What becomes of them.
const (
	Served  Later = iota
	Refused       // reset, as if the server were gone
	Denied        // answered with a permanent error
)

// Cut is a network that breaks once: at a message, or at a byte, that one side sends. What it has sent is counted over all
// connections, so that a run with several connections breaks wherever its traffic happens to be.
type Cut struct {
	Client  bool // count what the client sends, or what the server sends
	Message int  // the message at which the network breaks; 0: none
	Place   Place
	Byte    int // the byte after which it breaks; 0: none
	End     End
	Later   Later

	Messages, Bytes atomic.Int64  // that the counted side has sent
	Broken          chan struct{} // closed when the network breaks
	mu              sync.Mutex
	sent, answered  map[string]bool // by database: the client has sent the COMMIT of a change; the answer to it was passed on
	at              atomic.Value    // string: the message at which the network broke
	once            sync.Once
	ended           chan struct{} // closed when the network is
	listener        net.Listener
	to              string
}

// String describes the cut.
func (c *Cut) String() string {
	side, end := "server", []string{"FIN", "RST", "silence"}[c.End]+[]string{"", ", then refused", ", then denied"}[c.Later]
	if c.Client {
		side = "client"
	}
	if c.Byte > 0 {
		return fmt.Sprintf("%s after byte %d of the %s", end, c.Byte, side)
	}
	at, _ := c.at.Load().(string)
	return fmt.Sprintf("%s %s message %d of the %s (%s)", end, []string{"before", "in", "after"}[c.Place], c.Message, side, at)
}

// Listen starts the network in front of an address and returns its own. The caller closes it.
func (c *Cut) Listen(to string) (address string, err error) {
	c.Broken, c.ended, c.to = make(chan struct{}), make(chan struct{}), to
	c.sent, c.answered = map[string]bool{}, map[string]bool{}
	if c.listener, err = net.Listen("tcp", "localhost:0"); err != nil {
		return "", err
	}
	go accept(c.listener, c.serve)
	return c.listener.Addr().String(), nil
}

// Close ends the network, and the silence that it may have left.
func (c *Cut) Close() {
	_ = c.listener.Close()
	close(c.ended)
}

// IsBroken reports whether the network has broken.
func (c *Cut) IsBroken() bool {
	select {
	case <-c.Broken:
		return true
	default:
		return false
	}
}

// Commit reports whether the client has sent the COMMIT of a change to a database, and whether it was passed the answer.
func (c *Cut) Commit(database string) (sent, answered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent[database], c.answered[database]
}

// mark sets one of the two.
func (c *Cut) mark(what map[string]bool, database string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what[database] = true
}

// Break breaks the network now, unless it has been before, and reports whether it did.
func (c *Cut) Break() (first bool) {
	c.once.Do(func() { close(c.Broken); first = true })
	return first
}

// serve passes messages between a client and the server until the network breaks or one of them closes the connection.
func (c *Cut) serve(client net.Conn) {
	later := c.IsBroken()
	switch {
	case later && c.Later == Refused:
		reset(client)
		return
	case later && c.Later == Denied:
		AnswerError("SFATAL\x00VFATAL\x00C28000\x00Mthe role is not permitted to log in\x00\x00")(client)
		return
	}
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{cut: c, later: later, client: client, server: server, frontend: pgproto3.NewFrontend(server, nil)}
	done := make(chan struct{})
	go func() {
		var group sync.WaitGroup
		group.Go(func() { l.pump(server, client, c.Client, l.fromClient) })
		group.Go(func() { l.pump(client, server, !c.Client, l.fromServer) })
		group.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-c.ended:
	}
	if c.End == Silence && l.broke.Load() {
		<-c.ended
	}
	_, _ = client.Close(), server.Close()
}

// reset closes a connection so that its other side reads "connection reset".
func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// link is one connection through a Cut.
type link struct {
	cut            *Cut
	later          bool        // it began after the network had broken, and is not affected
	started        bool        // the startup message has passed
	database       string      // that it names
	committing     atomic.Bool // the COMMIT of a change was read, and its answer is due
	broke          atomic.Bool
	client, server net.Conn
	frontend       *pgproto3.Frontend
}

// clientMessages are the messages that the program sends (PostgreSQL documentation, Message Formats).
var clientMessages = map[byte]string{'p': "SASLResponse", 'Q': "Query", 'X': "Terminate"}

// fromClient reads the client's next message. Only the first has no type.
func (l *link) fromClient() (name string, message []byte, err error) {
	header := make([]byte, 5)
	if !l.started {
		header = header[:4]
	}
	if _, err := io.ReadFull(l.client, header); err != nil {
		return "", nil, err
	}
	message = append(header, make([]byte, binary.BigEndian.Uint32(header[len(header)-4:])-4)...)
	if _, err := io.ReadFull(l.client, message[len(header):]); err != nil {
		return "", nil, err
	}
	if !l.started {
		var startup pgproto3.StartupMessage
		if startup.Decode(message[4:]) == nil { // and not a request to cancel
			l.database = startup.Parameters["database"]
		}
		l.started = true
		return "Startup", message, nil
	}
	if name = clientMessages[message[0]]; name == "" {
		return "", nil, fmt.Errorf("the program sent a message of type %q", message[0])
	}
	var q pgproto3.Query
	if name == "Query" && q.Decode(message[5:]) == nil && q.String == "COMMIT" {
		l.committing.Store(true)
		l.cut.mark(l.cut.sent, l.database)
	}
	return name, message, nil
}

// fromServer reads the server's next message.
func (l *link) fromServer() (name string, message []byte, err error) {
	m, err := l.frontend.Receive()
	if err != nil {
		return "", nil, err
	}
	message, err = m.Encode(nil)
	return strings.TrimPrefix(fmt.Sprintf("%T", m), "*pgproto3."), message, err
}

// pump passes messages on in one direction.
func (l *link) pump(to, from net.Conn, counted bool, next func() (string, []byte, error)) {
	for {
		name, message, err := next()
		if !l.later && l.cut.IsBroken() {
			l.leave()
			return
		}
		if err != nil {
			_ = to.(*net.TCPConn).CloseWrite()
			return
		}
		if counted && !l.later {
			if passed, breaks := l.cut.count(name, len(message)); breaks {
				_, _ = to.Write(message[:passed])
				l.note(name, passed == len(message))
				l.cut.at.Store(name)
				l.cut.Break()
				l.leave()
				return
			}
		}
		l.note(name, true)
		if _, err := to.Write(message); err != nil {
			_ = from.Close()
			return
		}
	}
}

// note keeps that the answer to the COMMIT of a change was passed on to its end.
func (l *link) note(name string, whole bool) {
	if name == "ReadyForQuery" && whole && l.committing.Swap(false) {
		l.cut.mark(l.cut.answered, l.database)
	}
}

// count counts a message, and returns whether the network breaks at it, and how much of it is passed on before.
func (c *Cut) count(name string, length int) (passed int, breaks bool) {
	n, total := c.Messages.Add(1), int(c.Bytes.Add(int64(length)))
	if c.Byte > 0 && total >= c.Byte {
		return max(length-(total-c.Byte), 0), true
	}
	if int64(c.Message) != n {
		return length, false
	}
	return []int{0, length / 2, length}[c.Place], true
}

// leave ends the connection as the network breaks.
func (l *link) leave() {
	l.broke.Store(true)
	switch l.cut.End {
	case FIN:
		<-time.After(time.Millisecond) // what was sent before arrives
		_, _ = l.client.Close(), l.server.Close()
	case RST:
		reset(l.client)
		reset(l.server)
	}
}
