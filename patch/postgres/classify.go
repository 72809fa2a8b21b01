package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// class says whether a retry helps against an error, and how much one costs the server.
type class int

const (
	permanent   class = iota
	retrySoon         // nobody answers: another attempt costs nothing
	retrySlowly       // every further attempt costs the server something
)

// NotReadyError reports a server that answers, but of which something has to change before the caller can go on. It is
// retryable.
type NotReadyError struct {
	Reason  string
	Waiting string // what the log calls the wait, "" for one for PostgreSQL itself
	Cause   error  // what it is if waiting does not help; nil if that is the NotReadyError itself
}

func (e *NotReadyError) Error() string { return e.Reason }
func (e *NotReadyError) Unwrap() error { return e.Cause }

// Retryable reports whether another attempt may succeed where this error ended one.
func Retryable(err error) bool { return classify(err) != permanent }

// ConnectionLost reports whether the server ended the connection or cannot be reached, and costs nothing to ask again.
func ConnectionLost(err error) bool { return classify(err) == retrySoon }

// Unreachable reports whether the error is one of the server's, whatever database was asked for: nobody answers, or it is not up.
func Unreachable(err error) bool {
	var abandoned *AbandonedError
	return !errors.As(err, &abandoned) && (TimedOut(err) || classify(err) == retrySoon && SQLState(err) != "57P04") // database_dropped
}

// classify returns the class of an error.
func classify(err error) class {
	var (
		pgErr     *pgconn.PgError
		login     *pgconn.ConnectError
		notReady  *NotReadyError
		dns       *net.DNSError
		untrusted *tls.CertificateVerificationError
		errno     syscall.Errno
		op        *net.OpError
		protocol  *protocolError
		setting   *timeoutSettingError
	)
	switch {
	case errors.As(err, &protocol): // of one address, whatever the others said
		return permanent
	case errors.As(err, &setting), errors.As(err, &notReady):
		return retrySlowly
	case errors.As(err, &pgErr):
		return classifySQLState(pgErr, errors.As(err, &login))
	case errors.As(err, &untrusted):
		return permanent
	case errors.As(err, &dns):
		return retrySoon
	case errors.As(err, &op) && errors.As(op, &errno):
		switch errno {
		case syscall.EACCES, syscall.EPERM, syscall.ENOTDIR, syscall.EINVAL, syscall.EAFNOSUPPORT, syscall.ENAMETOOLONG:
			return permanent
		}
		return retrySoon
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return retrySoon
	case TimedOut(err):
		return retrySlowly
	}
	return permanent
}

// classifySQLState returns the class of an error of the server's (PostgreSQL documentation, PostgreSQL Error Codes), or of a pooler's
// before it.
func classifySQLState(err *pgconn.PgError, atLogin bool) class {
	isPart := func(part string) bool { return strings.Contains(err.Message, part) }
	switch {
	case strings.HasPrefix(err.Code, "57P"): // shut down, crashed, starting up or in recovery, database dropped, idle for too long
		return retrySoon
	case LockUnavailable(err), // during an inspection, which takes no lock of its own
		err.Code == SerializationFailure: // a standby cancels what holds up its recovery (Handling Query Conflicts)
		return retrySlowly
	case err.Code == InternalError && slices.ContainsFunc(raceMessages, isPart):
		return retrySoon
	case err.Code == protocolViolation, err.Code == InternalError && atLogin:
		of, _ := ofPooler(err)
		return of
	case strings.HasPrefix(err.Code, "53"), strings.HasPrefix(err.Code, "08"): // insufficient resources, connection exception
		return retrySlowly
	}
	return permanent
}

// raceMessages are parts of messages of PostgreSQL's, which are never translated: another session has just dropped or changed something.
var raceMessages = []string{"cache lookup failed", "could not open relation with OID", "tuple concurrently "}

// poolerMessages are the errors of PgBouncer (08P01 for most of them), of Supabase's Supavisor and of Neon's proxy (XX000 for all, before
// the login is done), by the SQLSTATE and a part of the message in lower case. The first match counts. An error that is not known passes
// with Supavisor and Neon, where something has to be started first, or is full.
var poolerMessages = []struct {
	code, part string
	class      class
	remedy     string
}{
	{protocolViolation, "max_client_conn", retrySlowly, "raise max_client_conn, or let Evolution's connection_limit leave one free"},
	{protocolViolation, "connect", retrySlowly, ""},
	{protocolViolation, "crashed", retrySlowly, ""},
	{protocolViolation, "login", retrySlowly, ""},
	{protocolViolation, "shut", retrySlowly, ""},
	{protocolViolation, "timeout", retrySlowly, ""},
	{protocolViolation, "", permanent, ""},

	{InternalError, "tenant or user not found", permanent, nameTheTenant},
	{InternalError, "tenant/user ", permanent, nameTheTenant}, // … not found
	{InternalError, "(etenantnotfound)", permanent, nameTheTenant},
	{InternalError, "no tenant identifier", permanent, nameTheTenant},
	{InternalError, "external_id or sni_hostname", permanent, nameTheTenant},
	{InternalError, "invalid format for user or db_name", permanent, nameTheTenant},
	{InternalError, "user not found", permanent, ""},
	{InternalError, "max client", retrySlowly, makeRoom},
	{InternalError, "maxclients", retrySlowly, makeRoom},
	{InternalError, "ssl connection is required", permanent, useTLS},
	{InternalError, "not in tenant allow_list", permanent, allowAddress},

	{InternalError, "endpoint could not be found", permanent, nameTheEndpoint},
	{InternalError, "endpoint cannot be found", permanent, nameTheEndpoint},
	{InternalError, "endpoint not found", permanent, nameTheEndpoint},
	{InternalError, "project not found", permanent, nameTheEndpoint},
	{InternalError, "branch not found", permanent, nameTheEndpoint},
	{InternalError, "endpoint id is not specified", permanent, nameTheEndpoint},
	{InternalError, "inferred from sni", permanent, nameTheEndpoint}, // it and the option do not agree
	{InternalError, "password authentication failed", permanent, ""},
	{InternalError, `" does not exist`, permanent, ""}, // a role or a database
	{InternalError, "connection is insecure", permanent, useTLS},
	{InternalError, "is not allowed to connect to this endpoint", permanent, allowAddress},

	{InternalError, "", retrySlowly, ""},
}

// ofPooler returns the class and the remedy of an error that a pooler sent.
func ofPooler(err *pgconn.PgError) (class, string) {
	message := strings.ToLower(err.Message)
	for _, m := range poolerMessages {
		if m.code == err.Code && strings.Contains(message, m.part) {
			return m.class, m.remedy
		}
	}
	return permanent, ""
}

// TimedOut reports whether there was no answer within the time allowed.
func TimedOut(err error) bool {
	var network net.Error // the first of them: there may be one for each host
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

// SQLState returns the SQLSTATE of an error of the server's, "" for any other error.
func SQLState(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

// OutcomeUnknown reports whether a COMMIT that ended with this error may have taken effect: the server did not answer, it
// ended the session (as it does while COMMIT waits for a synchronous standby), or a pooler lost the server.
func OutcomeUnknown(err error) bool {
	var pgErr *pgconn.PgError
	return !errors.As(err, &pgErr) || pgErr.SeverityUnlocalized != "ERROR" && pgErr.SeverityUnlocalized != "" ||
		strings.HasPrefix(pgErr.Code, "08") || strings.HasPrefix(pgErr.Code, "57P")
}

// LockUnavailable reports whether another session held a lock.
func LockUnavailable(err error) bool {
	code := SQLState(err)
	return code == lockNotAvailable || code == deadlockDetected
}

// KeptOut reports whether the server understood a login and does not let the role into the database, by its pg_hba.conf or for want of
// CONNECT. A role that does not exist has the SQLSTATE of the former.
func KeptOut(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.Code == InsufficientPrivilege ||
		pgErr.Code == InvalidAuthorizationSpecification && !strings.Contains(pgErr.Message, "does not exist"))
}

// NoDatabase reports whether the server has no database of that name. PgBouncer and Neon's proxy have no SQLSTATE of its own for that.
func NoDatabase(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.Code == invalidCatalogName ||
		(pgErr.Code == protocolViolation || pgErr.Code == InternalError) && strings.HasPrefix(pgErr.Message, "database ") && strings.HasSuffix(pgErr.Message, " does not exist"))
}
