package postgres

import (
	"cmp"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// TooLong reports whether the server sent a longer message, such as a long row. The connection is of no use after that.
func TooLong(err error) bool {
	var tooLong *pgproto3.ExceededMaxBodyLenErr
	return errors.As(err, &tooLong)
}

// Conn is a connection. It is not safe for concurrent use. The methods of a nil Conn are those of a broken one.
type Conn struct {
	pg         *pgconn.PgConn
	session    *session
	target     Target
	meter      *meter
	parameters parameters
	used       time.Time // when the last exchange ended, or the login
	broken     bool
}

// Usable reports whether statements can be sent.
func (c *Conn) Usable() bool { return c != nil && !c.broken }

// Send sends the batch and reads every answer. It drops the connection when ctx ends, when the server is silent for
// longer than patience, and on any other error than a *pgconn.PgError, after which the connection is usable, in a
// transaction that has failed.
func (c *Conn) Send(ctx context.Context, b *Batch, patience time.Duration) error {
	if !c.Usable() {
		return net.ErrClosed // an answer may still be due
	}
	defer func() { c.used = time.Now() }()
	wire := c.pg.Conn()
	stop := context.AfterFunc(ctx, func() { _ = wire.SetDeadline(time.Unix(1, 0)) })
	isReady, err := c.exchange(ctx, b, func() {
		if ctx.Err() == nil {
			_ = wire.SetDeadline(time.Now().Add(patience))
		}
	})
	if !stop() && ctx.Err() != nil && err == nil {
		err = ctx.Err()
	}
	var pgErr *pgconn.PgError
	if err != nil && (!isReady || !errors.As(err, &pgErr)) {
		c.cancel()
	}
	return err
}

// exchange sends the messages, and reads until the server is ready for others. It calls progress whenever the server has answered
// something. A server that has ended the session, so that nothing can be sent, may have said why.
func (c *Conn) exchange(ctx context.Context, b *Batch, progress func()) (isReady bool, err error) {
	defer recovered(&err)
	wasBusy := time.Since(c.used) < time.Second
	progress()
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	c.meter.left = maxAnswer
	texts, ends := b.messages()
	for _, text := range texts {
		c.pg.Frontend().Send(&pgproto3.Query{String: text})
	}
	unsent := c.pg.Frontend().Flush()
	a := answers{conn: c, batch: b, ends: ends}
	for !isReady && err == nil {
		var message pgproto3.BackendMessage
		if message, err = c.pg.ReceiveMessage(context.Background()); err == nil { // the deadline of the connection ends it
			if a.read(message) {
				progress()
			}
			isReady, err = len(a.ends) == 0, a.err
		}
	}
	if SQLState(err) != "" { // a FATAL error, after which the driver has closed the connection
		a.fail(err)
	}
	var broken *protocolError
	if err = explainLength(cmp.Or(err, unsent)); a.failed != nil && !errors.As(err, &broken) {
		err = c.liftTimeouts(a.failed, a.beginFailed, wasBusy)
	}
	return isReady, err
}

// cancel gives a connection up on which an answer is still due, and asks the server to stop what it is doing.
func (c *Conn) cancel() {
	if !c.Usable() {
		return
	}
	c.broken = true
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond) // with TLS it takes five round trips
	defer cancel()
	_ = c.pg.CancelRequest(ctx)
}

// RollBack ends the transaction, if there is one. A connection that cannot do that before ctx ends or the server is silent for longer
// than patience is dropped, and the server ends it.
func (c *Conn) RollBack(ctx context.Context, patience time.Duration) {
	if !c.Usable() {
		return
	}
	b := &Batch{}
	b.Exec("ROLLBACK")
	_ = c.Send(ctx, b, patience)
}

// Close says goodbye, and returns a channel that is closed when the server has ended the session. The server reads the goodbye after
// whatever it is doing.
func (c *Conn) Close() (ended <-chan struct{}) {
	c.broken = true
	wire := c.pg.Conn()
	_ = wire.SetDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = wire.Write([]byte{'X', 0, 0, 0, 4}) // PostgreSQL documentation, Message Formats, Terminate
	_ = c.session.Close()
	return c.session.ended
}

// ServerVersion returns the server's version as it reports it.
func (c *Conn) ServerVersion() string { return Shorten(c.pg.ParameterStatus("server_version"), 100) }

// MajorVersion returns the server's major version, 0 if that cannot be read.
func (c *Conn) MajorVersion() int {
	version := c.ServerVersion()
	if end := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		version = version[:end]
	}
	major, _ := strconv.Atoi(version)
	return major
}

// Encoding returns the client encoding in which the server can send everything that is stored.
func (c *Conn) Encoding() string {
	if c.pg.ParameterStatus("server_encoding") == "SQL_ASCII" {
		return "SQL_ASCII" // bytes of any encoding or of none, which cannot be converted
	}
	return "UTF8"
}
