package postgres

import (
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgproto3"
)

// What a server may send, in bytes. Whatever it sends, memory is bounded, and a run ends.
const (
	maxMessage    = 1 << 20  // one message
	maxLogin      = 64 << 10 // all messages until the login is complete; PostgreSQL sends less than 1 KiB
	maxAnswer     = 4 << 20  // the answers to one batch, besides the rows that are copied
	maxCopied     = 1 << 30  // the rows that are copied for one batch
	maxParameters = 1000     // that it reports; PostgreSQL has 15
	rowCost       = 128      // that a row counts besides its size, because whoever reads it needs more memory than that
)

// protocolError reports something that no PostgreSQL server sends to this program. It is permanent.
type protocolError struct {
	Problem string
	cause   error
}

func (e *protocolError) Error() string { return e.Problem }
func (e *protocolError) Unwrap() error { return e.cause }

// unexpected returns a *protocolError for something that a server sent.
func unexpected(format string, args ...any) error {
	return &protocolError{"the server sent " + fmt.Sprintf(format, args...) + ", which no PostgreSQL sends: what listens there is another program, or broken", nil}
}

// explainLength returns a *protocolError in the place of an error about the length of a message.
func explainLength(err error) error {
	var long *pgproto3.ExceededMaxBodyLenErr
	if errors.As(err, &long) {
		return &protocolError{fmt.Sprintf("the server sent a message of %d bytes, and one of more than 1 MiB is not read: a row, a definition or an error of that size is not Evolution's", long.ActualBodyLen), err}
	}
	return err
}

// recovered sets err where reading what a server sent has panicked. It is to be deferred.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = unexpected("something that cannot be read (%v)", r)
	}
}

// meter reads what a server sends, and ends with an error when that is more than it may.
type meter struct {
	io.Reader
	left int
}

func (m *meter) Read(p []byte) (n int, err error) {
	if m.left <= 0 {
		return 0, unexpected("more than this program reads at once")
	}
	n, err = m.Reader.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}

// parameters are what a server has reported since the login, all of which pgconn keeps.
type parameters struct {
	sizes map[string]int // by name
	total int
}

// take adds a parameter, or replaces it.
func (p *parameters) take(m *pgproto3.ParameterStatus) error {
	size := len(m.Name) + len(m.Value)
	p.total += size - p.sizes[m.Name]
	p.sizes[m.Name] = size
	if p.total > maxLogin || len(p.sizes) > maxParameters {
		return unexpected("too many parameters")
	}
	return nil
}
