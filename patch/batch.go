package patch

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// batch is a sequence of statements that is sent as one Query message. The server runs none of them before it has the
// whole message, and is idle as soon as it has run the last one, so a connection that stalls leaves it waiting for the
// rest of a transaction only where its own timeouts end that. At the first error it skips what is left.
type batch struct {
	statements []string
	readers    []func(row []byte) error
}

// exec adds a statement whose result does not matter.
func (b *batch) exec(sql string) { b.copyOut(sql, nil) }

// read adds a query and returns where the first column of its one row will be.
func (b *batch) read(sql string) *[]byte {
	document := new([]byte)
	b.copyOut(sql, func(row []byte) error {
		*document = append((*document)[:0], row...)
		return nil
	})
	return document
}

// copyOut adds a COPY … TO STDOUT that hands each row to the function, which must not keep it.
func (b *batch) copyOut(sql string, each func(row []byte) error) {
	b.statements = append(b.statements, sql)
	b.readers = append(b.readers, each)
}

// session is one connection, with what ends a wait for it.
type session struct {
	conn   *pgconn.PgConn
	broken bool
}

// send sends the batch and reads every answer. It gives the connection up when ctx ends, when the server is silent for
// longer than patience, or when the connection breaks. A *pgconn.PgError leaves it usable, in a transaction that failed.
func (s *session) send(ctx context.Context, b *batch, patience time.Duration) error {
	wire := s.conn.Conn()
	stop := context.AfterFunc(ctx, func() { _ = wire.SetDeadline(time.Unix(1, 0)) })
	err := s.exchange(ctx, b, func() {
		if ctx.Err() == nil {
			_ = wire.SetDeadline(time.Now().Add(patience))
		}
	})
	if !stop() && ctx.Err() != nil && err == nil {
		err = ctx.Err()
	}
	var pgErr *pgconn.PgError
	if err != nil && (!errors.As(err, &pgErr) || s.conn.IsClosed()) {
		s.abandon()
	}
	return err
}

func (s *session) exchange(ctx context.Context, b *batch, progress func()) error {
	progress()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.conn.Frontend().Send(&pgproto3.Query{String: strings.Join(b.statements, ";\n")})
	if err := s.conn.Frontend().Flush(); err != nil {
		return err
	}
	var failed error
	for done := 0; ; {
		message, err := s.conn.ReceiveMessage(context.Background()) // the deadline ends it
		if err != nil {
			if failed != nil {
				return failed // a FATAL error, after which the server hangs up
			}
			return err
		}
		progress()
		var row []byte
		switch message := message.(type) {
		case *pgproto3.DataRow:
			row = message.Values[0]
		case *pgproto3.CopyData:
			row = message.Data
		case *pgproto3.CommandComplete:
			done++
		case *pgproto3.ErrorResponse:
			failed = pgconn.ErrorResponseToPgError(message)
		case *pgproto3.ReadyForQuery:
			return failed
		}
		if row != nil && done < len(b.readers) && b.readers[done] != nil && failed == nil {
			if err := b.readers[done](row); err != nil {
				return err
			}
		}
	}
}

// abandon gives up a connection on which an answer is still due, and asks the server to stop what it is doing.
func (s *session) abandon() {
	if s.broken {
		return
	}
	s.broken = true
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_ = s.conn.CancelRequest(ctx)
	_ = s.conn.Conn().Close()
}

// close says goodbye without waiting for the server's, which takes longer than all the rest.
func (s *session) close() {
	if s.broken {
		return
	}
	s.broken = true
	_, _ = s.conn.Conn().Write([]byte{'X', 0, 0, 0, 4}) // Terminate
	_ = s.conn.Conn().Close()
}

// encoding is that in which the server can send whatever is stored.
func (s *session) encoding() string {
	if s.conn.ParameterStatus("server_encoding") == "SQL_ASCII" {
		return "SQL_ASCII"
	}
	return "UTF8"
}

// serverVersion is the server's major version.
func (s *session) serverVersion() int {
	major, _, _ := strings.Cut(s.conn.ParameterStatus("server_version"), ".")
	n, _ := strconv.Atoi(strings.TrimFunc(major, func(r rune) bool { return r < '0' || r > '9' }))
	return n
}
