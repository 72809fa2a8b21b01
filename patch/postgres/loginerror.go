package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// explainLogin returns an error in this program's words in the place of one that only the driver's words, or those of its libraries,
// tell.
func explainLogin(err error) error {
	if isUnderstood(err) {
		return err
	}
	last := innermost(err)
	text := last.Error()
	switch {
	case strings.Contains(text, "negative serial"):
		return &protocolError{"the server's TLS certificate has a negative serial number, which no certificate may have: issue another for the server", err}
	case strings.HasPrefix(text, "x509: "): // verify-ca, which the driver checks by itself
		return &tls.CertificateVerificationError{Err: last}
	case strings.HasPrefix(text, "tls: ") && !errors.As(err, new(tls.RecordHeaderError)):
		return &protocolError{"TLS with the server fails: " + strings.TrimPrefix(text, "tls: "), err}
	case strings.Contains(text, "GSSAPI"), strings.HasSuffix(text, " type: 9"): // SSPI
		return &protocolError{"the server asks for Kerberos, which this program does not speak: have its pg_hba.conf ask this role for scram-sha-256", err}
	case strings.Contains(text, "SCRAM"), strings.Contains(text, "channel binding"):
		return &protocolError{"the login fails: " + text, err}
	}
	return errNotPostgreSQL
}

// isUnderstood reports whether classify and Explain know an error.
func isUnderstood(err error) bool {
	var op *net.OpError
	return err == nil || errors.As(err, new(*protocolError)) || errors.As(err, new(*NotReadyError)) || errors.As(err, new(*pgconn.PgError)) ||
		errors.As(err, new(*net.DNSError)) || errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(syscall.Errno)) ||
		errors.As(err, &op) && op.Op == "dial" || TimedOut(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled)
}

// innermost returns the first error that caused another.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			inner = joined.Unwrap()[0]
		}
		if inner == nil {
			return err
		}
		err = inner
	}
}
