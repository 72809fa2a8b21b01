package postgres

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// maxExplanation is the longest error that is printed, in bytes. A server may send a longer one, and names that are longer than
// PostgreSQL's.
const maxExplanation = 4 << 10

// Explain returns an error in one line for people, with the remedy where it is one of the network's. It leaves out the
// chain of wrapped errors, and the Detail of an error of the server's, which may hold a value of somebody's row.
func Explain(err error) string { return Shorten(explain(err), maxExplanation) }

func explain(err error) string {
	var (
		protocol   *protocolError
		pgErr      *pgconn.PgError
		dns        *net.DNSError
		unverified *tls.CertificateVerificationError
		dial       *net.OpError
		notReady   *NotReadyError
	)
	switch {
	case errors.As(err, &protocol):
		return OneLine(protocol.Problem)
	case errors.As(err, &pgErr):
		return fmt.Sprintf("%s (SQLSTATE %s)", Shorten(cmp.Or(OneLine(pgErr.Message), "an error without a message"), maxExplanation-100), Shorten(pgErr.Code, 50))
	case errors.As(err, &dns):
		switch {
		case dns.IsNotFound:
			return fmt.Sprintf("the host name %q is not known: it must be the name of PostgreSQL's service, in a network that this container is in too", dns.Name)
		case dns.IsTimeout:
			return fmt.Sprintf("the host name %q could not be looked up: the nameservers do not answer", dns.Name)
		}
		return fmt.Sprintf("the host name %q could not be looked up: %s", dns.Name, dns.Err)
	case errors.As(err, &unverified):
		return untrusted(unverified)
	case TimedOut(err):
		return "the server does not answer"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the server closed the connection"
	case errors.As(err, &dial):
		tcp, _ := dial.Addr.(*net.TCPAddr)
		switch {
		case tcp != nil && tcp.IP.To4() == nil && slices.ContainsFunc(withoutIPv6, func(errno syscall.Errno) bool { return errors.Is(dial, errno) }):
			return "the address is IPv6, which this container has not: use the host of the provider's pooler, or give the container IPv6"
		case tcp != nil && errors.Is(dial, syscall.ECONNREFUSED):
			refused := fmt.Sprintf("connection refused: nothing listens on port %d there", tcp.Port)
			if tcp.IP.IsLoopback() {
				refused += "; inside a container, localhost is the container itself: write the name of PostgreSQL's service instead"
			}
			return refused
		}
		return OneLine(dial.Err.Error())
	case errors.As(err, &notReady):
		return OneLine(notReady.Reason)
	}
	var connectErr *pgconn.ConnectError
	if errors.As(err, &connectErr) {
		err = connectErr.Unwrap() // without the user
	}
	return OneLine(err.Error())
}

// withoutIPv6 are the errors of a connection to an address of IPv6 where there is no route, no address or no support for it.
var withoutIPv6 = []syscall.Errno{syscall.ENETUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT}

// untrusted returns why a certificate is not trusted, and what to do about it.
func untrusted(err *tls.CertificateVerificationError) string {
	why := "the server's TLS certificate does not verify: " + OneLine(strings.ReplaceAll(err.Err.Error(), "x509: ", ""))
	if errors.As(err, new(x509.UnknownAuthorityError)) {
		why += ": mount the certificate of its CA into this container, and name the file with sslcert= or sslrootcert= in the connection string, or with PGSSLROOTCERT"
	}
	return why
}

// OneLine returns s with every run of white space replaced by one space.
func OneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Shorten cuts s where it, in quotes and as JSON, would have more than so many bytes.
func Shorten(s string, most int) string {
	size := 0
	for i, r := range s {
		switch {
		case r == '"' || r == '\\':
			size += 2
		case r == '<' || r == '>' || r == '&' || !unicode.IsPrint(r) || r == utf8.RuneError:
			size += 10
		default:
			size += utf8.RuneLen(r)
		}
		if size > most {
			return s[:i] + "…"
		}
	}
	return s
}
