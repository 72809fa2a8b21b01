package connect

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"software.sslmate.com/src/go-pkcs12"

	"evolution-openai-patch/test/pgtest"
)

func TestTLS(t *testing.T) {
	t.Parallel()
	s := pgtest.NewStoppedServer(t)
	ca, identity := certificates(t, s.DataDir())
	if err := os.WriteFile(filepath.Join(s.DataDir(), "pg_hba.conf"),
		[]byte("hostssl all certified all cert\nhostssl all all all scram-sha-256\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Launch("ssl=on", "ssl_ca_file=root.crt"); err != nil {
		t.Fatal(err)
	}
	plain := strings.TrimSuffix(s.URI("postgres", ""), "?sslmode=disable")
	if err := pgtest.Until(func() error {
		c, err := pgx.Connect(context.Background(), plain+"?sslmode=require")
		if err != nil {
			return err
		}
		defer c.Close(context.Background())
		_, err = c.Exec(context.Background(), "CREATE ROLE certified LOGIN")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	n := new(pgtest.Network)
	throughNetwork := strings.Replace(plain, s.Address(), n.Listen(t, s.Address()), 1)
	for name, c := range map[string]struct {
		uri, says string
		code      int
	}{
		"preferred":         {throughNetwork, "pending: ", 0},
		"required":          {plain + "?sslmode=require", "pending: ", 0},
		"trusted":           {plain + "?sslaccept=strict&sslcert=" + ca, "pending: ", 0},
		"verify-full":       {plain + "?sslmode=verify-full&sslcert=" + ca, "pending: ", 0},
		"verify-ca":         {strings.Replace(plain, "localhost", "127.0.0.1", 1) + "?sslmode=verify-ca&sslrootcert=" + ca, "pending: ", 0},
		"another host":      {strings.Replace(plain, "localhost", "127.0.0.1", 1) + "?sslmode=require&sslaccept=strict&sslcert=" + ca, pgtest.NotVerified, 1},
		"not trusted":       {plain + "?sslaccept=strict", pgtest.NotVerified, 1},
		"system's CAs":      {plain + "?sslrootcert=system", pgtest.NotVerified, 1},
		"system's, weak":    {plain + "?sslrootcert=system&sslmode=require", pgtest.WeakMode, 2},
		"without TLS":       {plain + "?sslmode=disable", pgtest.WantsTLS, 1},
		"client identity":   {strings.Replace(plain, "postgres:", "certified:", 1) + "?sslidentity=" + identity + "&sslpassword=p", "pending: ", 0},
		"identity password": {plain + "?sslidentity=" + identity + "&sslpassword=q", pgtest.BadIdentity, 2},
		"no such CA":        {plain + "?sslaccept=strict&sslcert=/no/such/file", "no such file", 2},
		"no CA in it":       {plain + "?sslaccept=strict&sslcert=" + pgtest.TempFile(t, "nothing"), "unable to add CA", 2},
	} {
		t.Run(name, func(t *testing.T) {
			pgtest.Run(t, "DATABASE_CONNECTION_URI="+c.uri, noGuard).Expect(t, c.code, c.says)
		})
	}
	if made := n.Connections.Load(); made != 1 {
		t.Errorf("%d connections with TLS preferred, want 1", made)
	}
	pgtest.Run(t, "PGHOST=localhost", "PGPORT="+s.Port, "PGUSER=postgres", "PGPASSWORD="+pgtest.Password, "PGDATABASE=postgres",
		"PGSSLMODE=verify-full", "PGSSLROOTCERT="+ca, noGuard).Expect(t, 0, "pending: ")
	pgtest.Start(t, "PGHOST=localhost", "PGPORT="+s.Port, "PGUSER=postgres", "PGPASSWORD="+pgtest.Password, "PGDATABASE=postgres",
		"PGSSLROOTCERT=system", "SSL_CERT_FILE="+ca, noGuard).Wait().Expect(t, 0, "pending: ") // a process, whose system has this CA
}

// Where the session has TLS, so has the request to cancel its statement, which carries the session's key: every connection begins with
// a request for TLS.
func TestCancelRequestHasTLS(t *testing.T) {
	t.Parallel()
	s := pgtest.NewStoppedServer(t)
	ca, _ := certificates(t, s.DataDir())
	if err := s.Start("ssl=on", "ssl_ca_file=root.crt"); err != nil {
		t.Fatal(err)
	}
	d := s.NewMigrated(t, "public", pgtest.Last)
	holder := d.NewConn()
	pgtest.Exec(t, holder, `BEGIN; LOCK TABLE "OpenaiCreds" IN ACCESS SHARE MODE`)
	for _, parameters := range []string{"", "sslmode=require", "sslmode=verify-ca&sslcert=" + ca} {
		began := make(chan string, 10)
		address := pgtest.Listen(t, func(c net.Conn) { forward(c, s.Address(), began) })
		uri := strings.Replace(d.URIThrough(address), "sslmode=disable", parameters, 1)
		p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+uri, pgtest.AllFixes, "PATCH_LOCK_TIMEOUT=1m")
		waitForLocks(t, d, 1)
		p.Stop(syscall.SIGTERM).Expect(t, 143)
		waitForLocks(t, d, 0) // so that the next is not taken for waiting before it does
		for _, what := range []string{"login", "request to cancel"} {
			if got := <-began; got != "\x00\x00\x00\x08\x04\xd2\x16\x2f" { // SSLRequest
				t.Errorf("%q: the %s begins with %q", parameters, what, got)
			}
		}
	}
}

// waitForLocks waits until so many sessions wait for a lock.
func waitForLocks(t *testing.T, d *pgtest.Database, sessions int) {
	t.Helper()
	pgtest.MustUntil(t, func() error {
		if n := d.Text(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`); n != strconv.Itoa(sessions) {
			return fmt.Errorf("%s sessions wait for a lock, want %d", n, sessions)
		}
		return nil
	})
}

// forward passes a connection on to a server, and tells the first eight bytes that the client sends.
func forward(client net.Conn, to string, began chan<- string) {
	defer client.Close()
	first := make([]byte, 8)
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	if _, err := io.ReadFull(client, first); err != nil {
		return
	}
	began <- string(first)
	_, _ = server.Write(first)
	go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
	_, _ = io.Copy(server, client)
}

// A server says that it has no TLS, and asks for the password in clear text. Whoever asks for a check of the certificate sends it
// nothing.
func TestPasswordNeedsAVerifiedServer(t *testing.T) {
	t.Parallel()
	for parameters, sends := range map[string]bool{
		"": true, "sslmode=prefer": true, "sslmode=require": false, "sslmode=no-verify": false, "sslmode=verify-ca": false, "sslmode=verify-full": false,
		"sslaccept=strict": false, "sslaccept=Strict&sslmode=prefer": false, "sslaccept=strict&sslmode=ALLOW": false, "sslaccept=strict&sslcert=CA": false,
		"sslmode=disable&sslaccept=accept_invalid_certs": true,
	} {
		t.Run(parameters, func(t *testing.T) {
			t.Parallel()
			ca, _ := certificates(t, pgtest.ShortTempDir(t))
			received := make(chan string, 1)
			address := pgtest.Listen(t, func(c net.Conn) { received <- askForPassword(c) })
			uri := pgtest.URI("u", address, "d", "")
			uri = strings.Replace(uri, "sslmode=disable", strings.ReplaceAll(parameters, "CA", ca), 1)
			pgtest.Run(t, "DATABASE_CONNECTION_URI="+uri).ExpectCode(t, 1)
			if got := <-received; strings.Contains(got, pgtest.Password) != sends {
				t.Errorf("the server received %q", got)
			}
		})
	}
}

// askForPassword does what such a server does, and returns what the client sends after its request for TLS.
func askForPassword(c net.Conn) string {
	defer c.Close()
	message := make([]byte, 1024)
	n, _ := c.Read(message)
	if n == 8 { // SSLRequest
		_, _ = c.Write([]byte{'N'})
		n, _ = c.Read(message)
	}
	if n == 0 {
		return ""
	}
	asks, _ := new(pgproto3.AuthenticationCleartextPassword).Encode(nil) // cannot fail: they are short
	_, _ = c.Write(asks)
	m, _ := c.Read(message[n:])
	refuses, _ := (&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "wrong"}).Encode(nil)
	_, _ = c.Write(refuses)
	return string(message[:n+m])
}

// certificates creates a CA, a certificate for localhost in the server's data directory, and a client's PKCS#12 identity. It
// returns the paths of the CA and the identity.
func certificates(t *testing.T, data string) (ca, identity string) {
	t.Helper()
	root, rootKey := issue(t, "root", nil, nil)
	server, serverKey := issue(t, "localhost", root, rootKey)
	client, clientKey := issue(t, "certified", root, rootKey)
	write := func(name, kind string, der []byte) {
		path := filepath.Join(data, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		if c := pgtest.ServerUser(); c != nil {
			_ = os.Chown(path, int(c.Uid), int(c.Gid))
		}
	}
	keyDER, err := x509.MarshalECPrivateKey(serverKey)
	if err != nil {
		t.Fatal(err)
	}
	write("root.crt", "CERTIFICATE", root.Raw)
	write("server.crt", "CERTIFICATE", server.Raw)
	write("server.key", "EC PRIVATE KEY", keyDER)
	p12, err := pkcs12.Modern.Encode(clientKey, client, []*x509.Certificate{root}, "p")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(data, "root.crt"), pgtest.TempFile(t, string(p12))
}

// issue creates a key and a certificate that signer signs for parent; without a parent it is a CA that signs itself.
func issue(t *testing.T, name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: parent == nil,
	}
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}
