package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Only an ERROR of the server itself says that a COMMIT has not taken effect.
func TestOutcomeUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"cut":                    {io.ErrUnexpectedEOF, true},
		"silent":                 {context.DeadlineExceeded, true},
		"anything else":          {errors.New("x"), true},
		"constraint":             {&pgconn.PgError{Code: "23505", SeverityUnlocalized: "ERROR"}, false},
		"constraint, wrapped":    {fmt.Errorf("x: %w", &pgconn.PgError{Code: "23505", SeverityUnlocalized: "ERROR"}), false},
		"serialization":          {&pgconn.PgError{Code: "40001", SeverityUnlocalized: "ERROR"}, false},
		"severity not said":      {&pgconn.PgError{Code: "23505"}, false},
		"session ended":          {&pgconn.PgError{Code: "57P01", SeverityUnlocalized: "FATAL"}, true},
		"any FATAL":              {&pgconn.PgError{Code: "25P03", SeverityUnlocalized: "FATAL"}, true},
		"PANIC":                  {&pgconn.PgError{Code: "XX000", SeverityUnlocalized: "PANIC"}, true},
		"a pooler lost it":       {&pgconn.PgError{Code: "08P01", SeverityUnlocalized: "ERROR"}, true},
		"connection failure":     {&pgconn.PgError{Code: "08006"}, true},
		"shutdown, by a pooler":  {&pgconn.PgError{Code: "57P01"}, true},
		"cancelled by a timeout": {&pgconn.PgError{Code: "57014", SeverityUnlocalized: "ERROR"}, false},
	} {
		if got := OutcomeUnknown(c.err); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

func TestLockUnavailable(t *testing.T) {
	for code, want := range map[string]bool{"55P03": true, "40P01": true, "55000": false, "40001": false, "57014": false, "": false} {
		if got := LockUnavailable(fmt.Errorf("x: %w", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("%q: %t, want %t", code, got, want)
		}
	}
	if LockUnavailable(nil) || LockUnavailable(io.EOF) {
		t.Error("no error of the server's is a lock that is not available")
	}
}

func TestTimedOut(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{context.DeadlineExceeded, true},
		{fmt.Errorf("x: %w", timeout(true)), true},
		{fmt.Errorf("x: %w", timeout(false)), false},
		{errors.Join(timeout(false), fmt.Errorf("x: %w", context.DeadlineExceeded)), true}, // of one host of several
		{context.Canceled, false},
		{io.EOF, false},
		{nil, false},
	} {
		if got := TimedOut(c.err); got != c.want {
			t.Errorf("%v: %t, want %t", c.err, got, c.want)
		}
	}
}

// timeout is an error of the network.
type timeout bool

func (t timeout) Error() string { return "x" }
func (t timeout) Timeout() bool { return bool(t) }
func (timeout) Temporary() bool { return false }
