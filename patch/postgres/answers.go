package postgres

import (
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// answers is what has been read of the answers to a batch.
type answers struct {
	conn        *Conn
	batch       *Batch
	done        int   // statements
	copied      int   // bytes of rows
	ends        []int // how many statements are done after each message that is not answered
	failed      error // of the server's
	beginFailed bool  // it is one of the statements of Begin
	err         error // why the rest cannot be read
}

// read reads one message, and reports whether it answers a statement. Notices and parameters do not: a server may send them for
// ever.
func (a *answers) read(message pgproto3.BackendMessage) (answered bool) {
	switch message := message.(type) {
	case *pgproto3.DataRow:
		a.conn.meter.left -= rowCost
		if len(message.Values) > 0 {
			a.row(message.Values[0])
		} else if a.reader() != nil {
			a.err = unexpected("a row without columns")
		}
		return true
	case *pgproto3.CopyData:
		if a.copied += len(message.Data); a.copied <= maxCopied && a.reader() != nil {
			a.conn.meter.left += len(message.Data) + 5 // its header
		}
		a.row(message.Data)
		return true
	case *pgproto3.CommandComplete:
		if a.done++; len(a.ends) == 0 || a.done > a.ends[0] {
			a.err = unexpected("more answers than there are statements")
		}
		return true
	case *pgproto3.ReadyForQuery:
		a.ready(message.TxStatus)
		return true
	case *pgproto3.ErrorResponse:
		a.fail(pgconn.ErrorResponseToPgError(message))
	case *pgproto3.ParameterStatus:
		a.err = a.conn.parameters.take(message)
	case *pgproto3.RowDescription, *pgproto3.CopyOutResponse, *pgproto3.CopyDone,
		*pgproto3.NoticeResponse, *pgproto3.NotificationResponse:
	default:
		a.err = unexpected("an answer to something else")
	}
	return false
}

// fail keeps the first error of the server's: those after it are its consequences.
func (a *answers) fail(err error) {
	if a.failed == nil {
		a.failed, a.beginFailed = err, a.done < a.batch.begin
	}
}

// reader returns what reads the rows of the statement that is being answered, nil for nothing.
func (a *answers) reader() func([]byte) error {
	if a.done >= len(a.batch.rows) || a.failed != nil {
		return nil
	}
	return a.batch.rows[a.done]
}

// row passes on a row, unless it is NULL.
func (a *answers) row(row []byte) {
	if read := a.reader(); row != nil && read != nil {
		a.err = read(row)
	}
}

// ready ends the answers to one message.
func (a *answers) ready(status byte) {
	switch {
	case !strings.ContainsRune("ITE", rune(status)):
		a.err = unexpected("an unknown state of the transaction")
	case a.failed == nil && a.done < a.ends[0]:
		a.err = unexpected("fewer answers than there are statements")
	}
	a.done, a.ends = a.ends[0], a.ends[1:]
}
