package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/crypto/x509roots/fallback/bundle"
	"software.sslmate.com/src/go-pkcs12"
)

// preferring returns a function that connects as dial does, and with TLS if the server has it. Unlike pgconn's sslmode=prefer it
// needs no second connection, and it never falls back to plain text because a certificate is not trusted. Once an address has
// offered TLS, nothing is sent to one that does not. pgconn dials for a login and for a request to cancel, so that the key of a
// session travels as the session does.
func (t Target) preferring(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil || network == "unix" {
			return conn, err
		}
		secured, err := t.negotiateTLS(ctx, conn)
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		return secured, nil
	}
}

// negotiateTLS upgrades the connection if the server supports TLS.
func (t Target) negotiateTLS(ctx context.Context, conn net.Conn) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	sslRequest := []byte{0, 0, 0, 8, 4, 210, 22, 47} // PostgreSQL documentation, Message Formats, SSLRequest
	if _, err := conn.Write(sslRequest); err != nil {
		return nil, err
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err
	}
	switch {
	case answer[0] == 'S':
		t.server.hasTLS.Store(true)
		secured := tls.Client(conn, t.preferTLS)
		return secured, secured.HandshakeContext(ctx)
	case t.server.hasTLS.Load():
		return nil, &protocolError{conn.RemoteAddr().String() + " has no TLS, which another connection to the same hosts had, so nothing was sent to it: turn on ssl there, or set sslmode=disable for all", nil}
	}
	return conn, nil
}

// useSystemRoots trusts the system's CAs or, where there are none, as in an image from scratch, those of Mozilla that
// are compiled in. They are parsed only here, because that takes longer than the rest of a run.
func useSystemRoots(conn *pgconn.Config) error {
	roots, err := x509.SystemCertPool()
	if err != nil || roots.Equal(x509.NewCertPool()) {
		roots = x509.NewCertPool()
		for root := range bundle.Roots() {
			certificate, err := x509.ParseCertificate(root.Certificate)
			if err != nil {
				return err
			}
			if root.Constraint == nil {
				roots.AddCert(certificate)
			} else {
				roots.AddCertWithConstraint(certificate, root.Constraint)
			}
		}
	}
	for _, host := range append([]*pgconn.FallbackConfig{{TLSConfig: conn.TLSConfig}}, conn.Fallbacks...) {
		if host.TLSConfig != nil { // nil for a Unix-domain socket
			host.TLSConfig.RootCAs = roots
		}
	}
	return nil
}

// maxFile is the largest file with a certificate or a key that is read, in bytes.
const maxFile = 1 << 20

// checkFile returns an error unless the file is a regular one of at most maxFile bytes. The name "" is no file.
func checkFile(name string) error {
	if name == "" {
		return nil
	}
	info, err := os.Stat(name) // a pipe would be waited for
	switch {
	case err != nil:
		return errors.Unwrap(err) // without the name
	case !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	case info.Size() > maxFile:
		return errors.New("it holds more than 1 MiB")
	}
	return nil
}

// useIdentity adds the client certificate of a PKCS#12 file to c.
func useIdentity(c *tls.Config, file, password string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	key, leaf, chain, err := pkcs12.DecodeChain(data, password)
	if err != nil {
		return err
	}
	certificate := tls.Certificate{PrivateKey: key, Leaf: leaf, Certificate: [][]byte{leaf.Raw}}
	for _, c := range chain {
		certificate.Certificate = append(certificate.Certificate, c.Raw)
	}
	c.Certificates = []tls.Certificate{certificate}
	return nil
}
