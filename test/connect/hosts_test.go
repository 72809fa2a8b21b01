package connect

import (
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"evolution-openai-patch/test/pgtest"
)

// Once one host of a list has offered TLS, nothing is sent to one that says it has none: whoever sits in the network could say so in
// its place.
func TestHostsOfAList(t *testing.T) {
	t.Parallel()
	certificate, key := issue(t, "localhost", nil, nil)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}}}
	starting := &pgproto3.ErrorResponse{Severity: "FATAL", Code: "57P03", Message: "starting up"}
	for name, serve := range map[string]func(net.Conn){
		"that starts up": func(c net.Conn) {
			receive(c)
			write(c, "S")
			secured := tls.Server(c, config)
			defer secured.Close()
			startup(secured)
			send(secured, starting)
		},
		"that breaks off the handshake": func(c net.Conn) { receive(c); write(c, "S"); receive(c) },
	} {
		for _, mode := range []string{"", "allow", "prefer"} {
			t.Run("after one "+name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				_, first, _ := net.SplitHostPort(pgtest.Listen(t, func(c net.Conn) { serve(c); _ = c.Close() }))
				received := make(chan string, 100)
				_, second, _ := net.SplitHostPort(pgtest.Listen(t, func(c net.Conn) { received <- refuseTLS(c) }))
				pgtest.Run(t, "PGHOST=127.0.0.1,127.0.0.1", "PGPORT="+first+","+second, "PGUSER=u", "PGPASSWORD="+pgtest.Password, "PGSSLMODE="+mode, pgtest.Shortly).
					Expect(t, 1, "failed: ", pgtest.NoTLSHere)
				if got := <-received; got != "" {
					t.Errorf("the second host received %q", got)
				}
			})
		}
	}
}

// refuseTLS says that there is no TLS, and returns what the client sends then.
func refuseTLS(c net.Conn) string {
	defer c.Close()
	receive(c)
	write(c, "N")
	return receive(c)
}

// The same holds for any later connection to the same server: to another of its databases, in a later round, or to cancel a statement.
func TestLaterConnectionsHaveTLS(t *testing.T) {
	t.Parallel()
	s := pgtest.NewStoppedServer(t)
	certificates(t, s.DataDir())
	if err := s.Start("ssl=on"); err != nil {
		t.Fatal(err)
	}
	d := s.NewMigrated(t, "public", pgtest.Last)
	holder := d.NewConn()
	pgtest.Exec(t, holder, `BEGIN; LOCK TABLE "OpenaiCreds" IN ACCESS SHARE MODE`)
	for name, c := range map[string]struct {
		environ []string
		signal  bool
		code    int
	}{
		"request to cancel": {[]string{"PATCH_LOCK_TIMEOUT=1m"}, true, 143},
		"another database":  {[]string{"PATCH_DATABASES=postgres,template1", "PATCH_CONNECTIONS=1"}, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var connections atomic.Int32
			received, began := make(chan string, 100), make(chan string, 10)
			address := pgtest.Listen(t, func(c net.Conn) {
				if connections.Add(1) == 1 {
					forward(c, s.Address(), began)
				} else {
					received <- refuseTLS(c)
				}
			})
			uri := strings.Replace(d.URIThrough(address), "sslmode=disable", "", 1)
			p := pgtest.Start(t, append(c.environ, "DATABASE_CONNECTION_URI="+uri, pgtest.AllFixes)...)
			if c.signal {
				waitForLocks(t, d, 1)
				_ = p.Cmd.Process.Signal(syscall.SIGTERM)
			}
			if got := <-received; got != "" {
				t.Errorf("in clear the server received %q", got)
			}
			p.Wait().Expect(t, c.code, "failed: ")
		})
	}
}
