package connect

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"evolution-openai-patch/test/pgtest"
)

// tlsModes are the values of sslmode with which TLS is asked for. Those that require it come last.
var tlsModes = []string{"allow", "prefer", "require", "no-verify", "verify-ca", "verify-full"}

// withMode returns a connection string to a server.
func withMode(address, mode string) string {
	return "DATABASE_CONNECTION_URI=" + strings.Replace(pgtest.URI("u", address, "d", ""), "sslmode=disable", "sslmode="+mode, 1)
}

// strangers are programs that listen where PostgreSQL is looked for. Those that speak first do not wait for the client.
func strangers(t *testing.T) map[string]func(net.Conn) {
	certificate, key := issue(t, "localhost", nil, nil)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}}}
	says := func(text string) func(net.Conn) { return func(c net.Conn) { write(c, text); receiveOnly(c) } }
	answers := func(text string) func(net.Conn) { return func(c net.Conn) { receive(c); write(c, text) } }
	const mysql = "\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00salt1234\x00\xff\xff\xff\x02\x00\xff\xdf\x15\x00\x00\x00\x00\x00\x00"
	return map[string]func(net.Conn){
		"HTTP":         answers("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
		"HTTPS":        func(c net.Conn) { _ = tls.Server(c, config).Handshake() },
		"SSH":          says("SSH-2.0-OpenSSH_9.2p1\r\n"),
		"SMTP":         says("220 mail ESMTP\r\n"),
		"VNC":          says("RFB 003.008\n"),
		"MySQL":        says("J" + mysql),
		"MySQL, E":     says("E" + mysql),
		"MySQL, N":     says("N" + mysql),
		"MySQL, R":     says("R" + mysql),
		"MySQL, S":     says("S" + mysql),
		"Redis":        answers("-ERR unknown command\r\n"),
		"an E":         answers("ERROR\r\n"),
		"an E, closed": answers("Error: no.\x00"),
		"NUL":          answers(strings.Repeat("\x00", 100)),
		"garbage":      answers("\xff\xfe\x80\x13\x00\x01\x02garbage"),
		"silence":      receiveOnly,
		"closes":       func(net.Conn) {},
		"HTTP in TLS": func(c net.Conn) {
			receive(c)
			write(c, "S")
			secured := tls.Server(c, config)
			receive(secured)
			write(secured, "HTTP/1.1 400 Bad Request\r\n\r\n")
		},
	}
}

// internal matches what is of no use to whoever reads a message: addresses, types, and the words of libraries.
var internal = regexp.MustCompile(`\d\.\d: |:\d+ \(|AfterNetConnect|failed to|dial error|tls error|tls: |message failed|pgproto3|x509: |invalid body|unknown (message|authentication)|error="?connect:|write failed|unmarshal|\*\w+\.`)

// Whatever program listens there in place of PostgreSQL, and whichever sslmode is asked for, the error says so in words of its own.
func TestStrangers(t *testing.T) {
	t.Parallel()
	for name, serve := range strangers(t) {
		address := pgtest.Listen(t, func(c net.Conn) { defer c.Close(); serve(c) })
		for _, mode := range append([]string{"disable"}, tlsModes...) {
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				environ := []string{withMode(address, mode), pgtest.Shortly}
				if name == "silence" {
					environ = append(environ, "PATCH_CONNECT_TIMEOUT=2s")
				}
				o := pgtest.Run(t, environ...)
				if internal.MatchString(o.Stdout) {
					t.Errorf("the message has words of a library: %s", o.Stdout)
				}
				switch {
				case name == "silence":
					o.Expect(t, 4, pgtest.NoAnswer)
				case name == "closes", name == "HTTPS":
					o.ExpectCode(t, 1, 4)
					if !strings.Contains(o.Stdout, pgtest.ServerClosed) && !strings.Contains(o.Stdout, pgtest.NotPostgreSQL) {
						t.Error("the server closes the connection")
					}
				case name == "HTTP in TLS" && strings.HasPrefix(mode, "verify"):
					o.Expect(t, 1, pgtest.NotVerified)
				case name == "an E, closed":
					o.Expect(t, 4, pgtest.CannotTake+"rror: no.")
				case name == "MySQL, N" && requiresTLS(mode):
					o.Expect(t, 1, pgtest.OffersNoTLS)
				default:
					o.Expect(t, 1, pgtest.NotPostgreSQL)
				}
			})
		}
	}
}

// requiresTLS reports whether the mode requires TLS.
func requiresTLS(mode string) bool { return mode != "disable" && mode != "allow" && mode != "prefer" }

// A server that cannot start another process says so in plain text, whatever it was asked. That may pass.
func TestServerCannotFork(t *testing.T) {
	t.Parallel()
	address := pgtest.Listen(t, func(c net.Conn) {
		defer c.Close()
		receive(c)
		write(c, "Ecould not fork new process for connection: Resource temporarily unavailable\n\x00")
	})
	for _, mode := range append([]string{"disable"}, tlsModes...) {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			o := pgtest.Run(t, withMode(address, mode), pgtest.Shortly)
			o.Expect(t, 4, pgtest.CannotTake+"could not fork new process for connection: Resource temporarily unavailable")
			if !strings.Contains(o.Stderr, pgtest.WaitsForServer) {
				t.Error("it is not said that it is waited")
			}
		})
	}
}

// A server that answers the request for TLS with an error is understood as if it had been asked to log in.
func TestErrorInPlaceOfTLS(t *testing.T) {
	t.Parallel()
	full := pgtest.Listen(t, pgtest.AnswerError("SFATAL\x00C53300\x00Msorry, too many clients already\x00\x00"))
	for _, mode := range tlsModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			pgtest.Run(t, withMode(full, mode), pgtest.Shortly).Expect(t, 4, "(SQLSTATE 53300)")
		})
	}
}

// Where TLS is required and the server has none, the remedy is the parameter, whatever required it.
func TestServerOffersNoTLS(t *testing.T) {
	t.Parallel()
	for _, mode := range tlsModes[2:] {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			o := pgtest.Run(t, withMode(pgtest.Shared.Address(), mode), "PATCH_WAIT_TIMEOUT=10h")
			o.Expect(t, 1, pgtest.OffersNoTLS)
		})
	}
}

// A certificate of a CA that is not known is refused in the same words, and with the same remedy, however it is checked.
func TestUnknownCA(t *testing.T) {
	t.Parallel()
	s := pgtest.NewStoppedServer(t)
	certificates(t, s.DataDir())
	if err := s.Start("ssl=on"); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"verify-ca", "verify-full", "require&sslaccept=strict"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			o := pgtest.Run(t, withMode(s.Address(), mode), "PATCH_WAIT_TIMEOUT=10h")
			o.Expect(t, 1, pgtest.NotVerified, pgtest.MountCA)
			if internal.MatchString(o.Stdout) {
				t.Errorf("the message has words of a library: %s", o.Stdout)
			}
		})
	}
}

// A certificate that Go does not read because its serial number is negative is named.
func TestNegativeSerialNumber(t *testing.T) {
	t.Parallel()
	config := negativeSerial(t)
	address := pgtest.Listen(t, func(c net.Conn) {
		defer c.Close()
		receive(c)
		write(c, "S")
		_ = tls.Server(c, config).Handshake()
	})
	for _, mode := range tlsModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			o := pgtest.Run(t, withMode(address, mode), "PATCH_WAIT_TIMEOUT=10h")
			o.Expect(t, 1, pgtest.NegativeSerial)
			if internal.MatchString(o.Stdout) {
				t.Errorf("the message has words of a library: %s", o.Stdout)
			}
		})
	}
}

// negativeSerial returns the configuration of a server whose certificate has a negative serial number, which Go does not make: the
// number of one that Go has made is replaced. Nobody gets as far as the signature.
func negativeSerial(t *testing.T) *tls.Config {
	t.Helper()
	_, key := issue(t, "localhost", nil, nil)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0x7a7a7a7a), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	positive, _ := asn1.Marshal(template.SerialNumber)
	negative, _ := asn1.Marshal(big.NewInt(-0x7a7a7a7a))
	der = []byte(strings.Replace(string(der), string(positive), string(negative), 1))
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// A server that asks for Kerberos is told from one that does not speak PostgreSQL's protocol.
func TestServerAsksForKerberos(t *testing.T) {
	t.Parallel()
	address := pgtest.Listen(t, func(c net.Conn) { startup(c); send(c, &pgproto3.AuthenticationGSS{}); receiveOnly(c) })
	o := pgtest.Run(t, withMode(address, "disable"), "PATCH_WAIT_TIMEOUT=10h")
	o.Expect(t, 1, pgtest.AsksForKerberos)
	o.ExpectNot(t, "github.com")
}

// A login that fails makes no further connection: there is nothing to cancel.
func TestFailedLoginCancelsNothing(t *testing.T) {
	t.Parallel()
	for name, bytes := range map[string]string{"garbage": "\xff\xfe\x80\x13garbage", "an error": "E\x00\x00\x00\x12SFATAL\x00C28000\x00\x00"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var connections atomic.Int32
			address := pgtest.Listen(t, func(c net.Conn) {
				defer c.Close()
				connections.Add(1)
				startup(c)
				write(c, bytes)
				receiveOnly(c)
			})
			const runs = 10 // another connection of one would come before the end of the next
			for range runs {
				pgtest.Run(t, withMode(address, "disable")).Expect(t, 1)
			}
			if n := connections.Load(); n != runs {
				t.Errorf("%d connections in %d runs", n, runs)
			}
		})
	}
}
