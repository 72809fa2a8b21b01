package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestClassify(t *testing.T) {
	dial := func(errno syscall.Errno) error {
		return fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)})
	}
	for name, c := range map[string]struct {
		err  error
		want class
	}{
		"refused":             {dial(syscall.ECONNREFUSED), retrySoon},
		"reset":               {dial(syscall.ECONNRESET), retrySoon},
		"unreachable":         {dial(syscall.EHOSTUNREACH), retrySoon},
		"no such socket":      {dial(syscall.ENOENT), retrySoon},
		"socket, no access":   {dial(syscall.EACCES), permanent},
		"not permitted":       {dial(syscall.EPERM), permanent},
		"not a directory":     {dial(syscall.ENOTDIR), permanent},
		"invalid":             {dial(syscall.EINVAL), permanent},
		"no such family":      {dial(syscall.EAFNOSUPPORT), permanent},
		"name too long":       {dial(syscall.ENAMETOOLONG), permanent},
		"unknown host":        {&net.DNSError{IsNotFound: true}, retrySoon},
		"name server away":    {&net.DNSError{IsTimeout: true}, retrySoon},
		"end of file":         {fmt.Errorf("x: %w", io.EOF), retrySoon},
		"cut":                 {io.ErrUnexpectedEOF, retrySoon},
		"closed by us":        {net.ErrClosed, retrySoon},
		"silent":              {context.DeadlineExceeded, retrySlowly},
		"deadline":            {os.ErrDeadlineExceeded, retrySlowly},
		"not ready":           {fmt.Errorf("x: %w", &NotReadyError{}), retrySlowly},
		"untrusted":           {&tls.CertificateVerificationError{Err: errors.New("x")}, permanent},
		"cancelled":           {context.Canceled, permanent},
		"anything else":       {errors.New("x"), permanent},
		"a server's, wrapped": {fmt.Errorf("x: %w", &pgconn.PgError{Code: "57P03"}), retrySoon},
	} {
		if got := classify(c.err); got != c.want {
			t.Errorf("%s: class %d, want %d", name, got, c.want)
		}
		if Retryable(c.err) != (c.want != permanent) || ConnectionLost(c.err) != (c.want == retrySoon) {
			t.Errorf("%s: Retryable or ConnectionLost contradicts the class", name)
		}
	}
}

func TestClassifySQLState(t *testing.T) {
	for _, c := range []struct {
		code, message string
		want          class
	}{
		{"28P01", `password authentication failed for user "u"`, permanent},
		{"28000", `no pg_hba.conf entry for host "h"`, permanent},
		{"3D000", `database "d" does not exist`, permanent},
		{"42501", `permission denied for schema s`, permanent},
		{"42P01", `relation "x" does not exist`, permanent},
		{"25006", `cannot execute DROP INDEX in a read-only transaction`, permanent},
		{"57014", `canceling statement due to user request`, permanent},
		{"53300", `sorry, too many clients already`, retrySlowly},
		{"53200", `out of memory`, retrySlowly},
		{"57P01", `terminating connection due to administrator command`, retrySoon},
		{"57P02", `terminating connection because of crash of another server process`, retrySoon},
		{"57P03", `the database system is starting up`, retrySoon},
		{"57P04", `terminating connection due to conflict with recovery`, retrySoon},
		{"57P05", `terminating connection due to idle-session timeout`, retrySoon},
		{"40001", `canceling statement due to conflict with recovery`, retrySlowly},
		{"55P03", `canceling statement due to lock timeout`, retrySlowly},
		{"40P01", `deadlock detected`, retrySlowly},
		{"XX000", `cache lookup failed for index 4711`, retrySoon},
		{"XX000", `could not open relation with OID 4711`, retrySoon},
		{"XX000", `tuple concurrently updated`, retrySoon},
		{"XX000", `tuple concurrently deleted`, retrySoon},
		{"XX000", `could not find tuple`, permanent},
		{"22023", `could not open relation with OID 4711`, permanent},
		{"08006", `connection failure`, retrySlowly},
		{"08P01", `server login has been failing`, retrySlowly},
		{"08P01", `server conn crashed?`, retrySlowly},
		{"08P01", `pooler is shut down`, retrySlowly},
		{"08P01", `no more connections allowed (max_client_conn)`, retrySlowly},
		{"08P01", `unsupported startup parameter: x`, permanent},
	} {
		if got := classify(&pgconn.PgError{Code: c.code, Message: c.message}); got != c.want {
			t.Errorf("%s %s: class %d, want %d", c.code, c.message, got, c.want)
		}
	}
}

func TestNoDatabase(t *testing.T) {
	for _, c := range []struct {
		code, message string
		want          bool
	}{
		{"3D000", `database "d" does not exist`, true},
		{"08P01", `database "d" does not exist`, true}, // PgBouncer's words
		{"08P01", `no such user`, false},
		{"08P01", `database "d" is disabled`, false},
		{"08P01", `user "u" does not exist`, false},
		{"42P01", `database "d" does not exist`, false},
	} {
		if got := NoDatabase(fmt.Errorf("connect: %w", &pgconn.PgError{Code: c.code, Message: c.message})); got != c.want {
			t.Errorf("%s %s: %t", c.code, c.message, got)
		}
	}
}

// A role that is kept out of one database may be let into another; one that does not exist, or whose password is wrong, is not.
func TestKeptOut(t *testing.T) {
	for _, c := range []struct {
		code, message string
		want          bool
	}{
		{"28000", `no pg_hba.conf entry for host "h", user "u", database "d", no encryption`, true},
		{"28000", `pg_hba.conf rejects connection for host "h", user "u", database "d", SSL off`, true},
		{"28000", `role "u" is not permitted to log in`, true},
		{"28000", `role "u" does not exist`, false},
		{"42501", `permission denied for database "d"`, true},
		{"28P01", `password authentication failed for user "u"`, false},
		{"3D000", `database "d" does not exist`, false},
		{"53300", `too many connections for database "d"`, false},
	} {
		if got := KeptOut(fmt.Errorf("connect: %w", &pgconn.PgError{Code: c.code, Message: c.message})); got != c.want {
			t.Errorf("%s %s: %t", c.code, c.message, got)
		}
	}
}
