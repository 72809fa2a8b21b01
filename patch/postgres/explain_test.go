package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestExplain(t *testing.T) {
	dial := func(ip net.IP, errno syscall.Errno) error {
		return fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: ip, Port: 5433}, Err: os.NewSyscallError("connect", errno)})
	}
	for want, err := range map[string]error{
		"bad\\b (SQLSTATE 42601)":          fmt.Errorf("change: %w", &pgconn.PgError{Code: "42601", Message: "bad\\b", Detail: "Key (apiKey)=(secret)", Hint: "secret"}),
		"on one line (SQLSTATE 42601)":     &pgconn.PgError{Code: "42601", Message: "on\n one \tline"},
		"the server does not answer":       fmt.Errorf("inspect: %w", context.DeadlineExceeded),
		"the server closed the connection": fmt.Errorf("inspect: %w", io.ErrUnexpectedEOF),
		`the host name "db" is not known: it must be the name of PostgreSQL's service, in a network that this container is in too`:                                      &net.DNSError{Name: "db", IsNotFound: true},
		`the host name "db" could not be looked up: server misbehaving`:                                                                                                 &net.DNSError{Name: "db", Err: "server misbehaving"},
		"the server's TLS certificate does not verify: expired":                                                                                                         &tls.CertificateVerificationError{Err: errors.New("expired")},
		"connection refused: nothing listens on port 5433 there":                                                                                                        dial(net.IPv4(10, 0, 0, 1), syscall.ECONNREFUSED),
		"connection refused: nothing listens on port 5433 there; inside a container, localhost is the container itself: write the name of PostgreSQL's service instead": dial(net.IPv4(127, 0, 0, 1), syscall.ECONNREFUSED),
		"connect: no route to host":       dial(net.IPv4(127, 0, 0, 1), syscall.EHOSTUNREACH),
		"connect: network is unreachable": dial(net.IPv4(10, 0, 0, 1), syscall.ENETUNREACH),
		"the address is IPv6, which this container has not: use the host of the provider's pooler, or give the container IPv6": dial(net.ParseIP("2001:db8::1"), syscall.ENETUNREACH),
		"connect: host is down": dial(net.ParseIP("2001:db8::1"), syscall.EHOSTDOWN),
		"why":                   fmt.Errorf("connect: %w", &NotReadyError{Reason: "why"}),
		"the server's TLS certificate does not verify: certificate signed by unknown authority: mount the certificate of its CA into this container, and name the file with sslcert= or sslrootcert= in the connection string, or with PGSSLROOTCERT": &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
		"any other thing": errors.New("any  other\nthing"),
	} {
		if got := Explain(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
