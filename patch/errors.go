package patch

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// MissingError reports that there is no database or no table yet.
type MissingError struct {
	what    string
	schemas []string // others that hold the table
	noGuard string   // why no guard can be installed, "" if none is wanted
	guard   bool     // a dry run, without which a guard would be installed
	again   bool     // another run is to patch it
	watched bool     // it is looked for again anyway
}

func (e *MissingError) Error() string {
	what := e.what + " does not exist"
	switch {
	case e.noGuard != "":
		what += ", and no guard can be installed: " + e.noGuard
	case e.guard:
		what += ", so the guard would be installed, if the role may"
	}
	switch {
	case len(e.schemas) > 0:
		return what + "; but " + elsewhere(e.schemas)
	case e.guard:
		return what
	case e.watched:
		return what + "; if Evolution runs already, the name in the connection string is wrong; otherwise the watch goes on until Evolution has created it"
	case !e.again:
		return what + "; if Evolution runs already, the name in the connection string is wrong"
	}
	return what + "; if Evolution runs already, the name in the connection string is wrong; otherwise run this once more after Evolution's first start, or set PATCH_WATCH in a container that Evolution does not wait for"
}

// elsewhere says which other schemas hold the table.
func elsewhere(schemas []string) string {
	return "the table exists in schema " + strings.Join(schemas, ", ") + ": if Evolution uses that one, set PATCH_SCHEMAS, or ?schema= in the connection string"
}

// WaitError reports that PostgreSQL, or with PATCH_ON_MISSING_TABLE=wait the table, did not come in time.
type WaitError struct {
	Limit time.Duration
	Cause error // of the last attempt that was not cut short
}

func (e *WaitError) Error() string {
	return fmt.Sprintf("gave up after PATCH_WAIT_TIMEOUT=%s: %s", e.Limit, explain(e.Cause))
}

func (e *WaitError) Unwrap() error { return e.Cause }

// UnknownError reports a COMMIT that was sent and not answered, so that it may have taken effect.
type UnknownError struct{ cause error }

func (e *UnknownError) Error() string {
	return explain(e.cause) + "; COMMIT was sent and not answered, so whether the change was made is not known: a run with PATCH_ACTION=status tells"
}

func (e *UnknownError) Unwrap() error { return e.cause }

// passwordError reports that the server has refused a password, and what may be wrong with it.
type passwordError struct {
	hint  string
	cause error
}

func (e *passwordError) Error() string { return explain(e.cause) + "; " + e.hint }
func (e *passwordError) Unwrap() error { return e.cause }

// Interrupted is the signal that ended the work before it was done.
type Interrupted struct{ Signal syscall.Signal }

func (e Interrupted) Error() string {
	name := "SIGTERM"
	if e.Signal == syscall.SIGINT {
		name = "SIGINT"
	}
	return "interrupted (" + name + ")"
}

// errNotInPlace is what status finds where a fix is not in place.
var errNotInPlace = errors.New("a fix that was asked for is not in place")
