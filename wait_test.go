package main

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
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"software.sslmate.com/src/go-pkcs12"
)

// proxy stands between the program and the server, and counts.
type proxy struct {
	listener    net.Listener
	connections atomic.Int32
	trips       atomic.Int32 // changes of direction from the client to the server
	cutAfter    int32        // the trip at which the connection is cut; 0: never
	muteAfter   int32        // the last trip of a connection that is answered; 0: all are
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.connections.Add(1)
			go p.forward(client, to)
		}
	}()
	return p
}

func (p *proxy) forward(client net.Conn, to string) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	var answered atomic.Bool
	answered.Store(true)
	var mine atomic.Int32
	go func() {
		defer client.Close()
		buffer := make([]byte, 1<<16)
		for {
			n, err := server.Read(buffer)
			if err != nil {
				return
			}
			answered.Store(true)
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 1<<16)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if terminate := n >= 5 && buffer[0] == 'X'; answered.Swap(false) && !terminate {
			p.trips.Add(1)
			switch n := mine.Add(1); {
			case n == p.cutAfter:
				return
			case p.muteAfter > 0 && n > p.muteAfter:
				continue
			}
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func TestRoundTrips(t *testing.T) {
	d := evolution(t, "evolution_api")
	for _, c := range []struct {
		says  string
		trips int32
	}{{"changed=true", 7}, {"changed=false", 5}} {
		p := newProxy(t, "localhost:"+shared.port)
		o := execute(t, context.Background(), "DATABASE_CONNECTION_URI="+uriFor("postgres", p.address(), d.name, d.schema))
		o.expect(t, 0, c.says)
		if p.trips.Load() != c.trips || p.connections.Load() != 1 {
			t.Errorf("%s: %d round trips on %d connections, want %d on 1", c.says, p.trips.Load(), p.connections.Load(), c.trips)
		}
	}
}

// Asking whether the server has TLS, as sslmode=prefer does, costs a round trip and no second connection.
func TestPreferredTLSCostsOneRoundTrip(t *testing.T) {
	d := evolution(t, "evolution_api")
	d.patch().expect(t, 0)
	p := newProxy(t, "localhost:"+shared.port)
	uri := strings.Replace(uriFor("postgres", p.address(), d.name, d.schema), "sslmode=disable&", "", 1)
	execute(t, context.Background(), "DATABASE_CONNECTION_URI="+uri).expect(t, 0, "changed=false")
	if p.trips.Load() != 6 || p.connections.Load() != 1 {
		t.Errorf("%d round trips on %d connections, want 6 on 1", p.trips.Load(), p.connections.Load())
	}
}

func TestConnectionsInTheWild(t *testing.T) {
	d := evolution(t, "evolution_api")
	hostPort, raw := "localhost:"+shared.port, strings.ReplaceAll(password, "%", "%25")
	for name, uri := range map[string]string{
		"quotes":             `'postgresql://postgres:` + raw + `@` + hostPort + `/` + d.name + `?schema=evolution_api'`,
		"double quotes":      `"postgresql://postgres:` + raw + `@` + hostPort + `/` + d.name + `?schema=evolution_api"`,
		"sslmode":            `postgresql://postgres:` + raw + `@` + hostPort + `/` + d.name + `?schema=evolution_api&sslmode=disable`,
		"pool":               `postgres://postgres:` + raw + `@` + hostPort + `/` + d.name + `?connection_limit=2&pool_timeout=30&schema=evolution_api`,
		"pgbouncer":          `postgresql://postgres:` + raw + `@` + hostPort + `/` + d.name + `?pgbouncer=true&schema=evolution_api`,
		"all of Prisma's":    `postgresql://postgres:` + raw + `@` + hostPort + `/` + d.name + `?schema=evolution_api&socket_timeout=5&statement_cache_size=0&sslaccept=accept_invalid_certs&connect_timeout=1&max_idle_connection_lifetime=3`,
		"unknown parameters": `postgresql://postgres:` + raw + `@` + hostPort + `/` + d.name + `?schema=evolution_api&work_mem=1TB&foo=bar`,
		"socket":             `postgresql://postgres:` + raw + `@localhost:` + shared.port + `/` + d.name + `?host=` + shared.dir + `&schema=evolution_api`,
		"IPv6 or not":        `postgresql://postgres:` + raw + `@` + loopback(t) + `:` + shared.port + `/` + d.name + `?schema=evolution_api`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, environ := range [][]string{
				{"DATABASE_CONNECTION_URI=" + uri}, {"DATABASE_URL=" + uri}, {"DATABASE_CONNECTION_URI_FILE=" + file(t, uri+"\n")},
			} {
				execute(t, context.Background(), environ...).expect(t, 0, "patched: ", "schema=evolution_api")
			}
		})
	}
	if d.indexes() != "OpenaiCreds_name_key OpenaiCreds_pkey" {
		t.Error("the index is still there")
	}
	execute(t, context.Background(), "PGHOST=localhost", "PGPORT="+shared.port, "PGUSER=postgres", "PGPASSWORD="+password,
		"PGDATABASE="+d.name, "PATCH_SCHEMAS=evolution_api").expect(t, 0, "patched: ", "schema=evolution_api")
}

// loopback is the IPv6 one where the machine has it.
func loopback(t *testing.T) string {
	c, err := net.Dial("tcp", "[::1]:"+shared.port)
	if err != nil {
		t.Log("no IPv6 on this machine: tried with 127.0.0.1; the parser's tests cover the brackets")
		return "127.0.0.1"
	}
	c.Close()
	return "[::1]"
}

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestWaitsForAServerThatAppears(t *testing.T) {
	s := stoppedServer(t)
	p := start(t, "DATABASE_CONNECTION_URI="+s.uri("postgres", ""))
	p.says(`msg="waiting for PostgreSQL"`)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	o := p.end()
	o.expect(t, 0, "connection refused", "msg=connected", "pending: ")
	if n := strings.Count(o.stderr, "waiting for PostgreSQL"); n != 1 {
		t.Errorf("%d lines about waiting, want one and no more in the first 10 s", n)
	}
}

// stoppedServer is a server of its own that has not been started.
func stoppedServer(t *testing.T) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "eop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := startServer(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	t.Cleanup(func() { s.stop() })
	return s
}

func TestPassingTroubles(t *testing.T) {
	nobody, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close() // accepts, and says nothing
	for name, c := range map[string]struct{ uri, says string }{
		"refused":        {uriFor("u", "localhost:"+freePort(), "x", ""), "connection refused: inside a container, localhost is the container itself; write the name of PostgreSQL's service instead"},
		"unknown host":   {uriFor("u", "no-such-host.invalid", "x", ""), `the host name \"no-such-host.invalid\" is not known: it must be the name of PostgreSQL's service, in a network that this container is in too`},
		"silent":         {uriFor("u", nobody.Addr().String(), "x", ""), "the server does not answer"},
		"silent, TLS":    {strings.ReplaceAll(uriFor("u", nobody.Addr().String(), "x", ""), "disable", "require"), "the server does not answer"},
		"silent, maybe":  {strings.ReplaceAll(uriFor("u", nobody.Addr().String(), "x", ""), "sslmode=disable", ""), "the server does not answer"},
		"no socket":      {uriFor("u", "localhost", "x", "") + "&host=" + t.TempDir(), "no such file"},
		"closes at once": {uriFor("u", listen(t, func(c net.Conn) { c.Close() }), "x", ""), "the server closed the connection"},
		"too many clients": {
			uriFor("u", listen(t, answer("SFATAL\x00C53300\x00Msorry, too many clients already\x00\x00")), "x", ""),
			"sorry, too many clients already (SQLSTATE 53300)",
		},
		"starting up": {uriFor("u", listen(t, answer("SFATAL\x00C57P03\x00Mthe database system is starting up\x00\x00")), "x", ""), "starting up"},
	} {
		t.Run(name, func(t *testing.T) {
			o := execute(t, context.Background(), "DATABASE_CONNECTION_URI="+c.uri, "PATCH_WAIT_TIMEOUT=700ms", "PATCH_CONNECT_TIMEOUT=200ms")
			o.expect(t, 4, "gave up after PATCH_WAIT_TIMEOUT=700ms", c.says, "failed: ", "waiting for PostgreSQL")
		})
	}
}

// answer is a server that ends every login with an error.
func answer(fields string) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		_, _ = c.Read(make([]byte, 1024))
		n := len(fields) + 4
		_, _ = c.Write(append([]byte{'E', byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, fields...))
		_, _ = io.Copy(io.Discard, c)
	}
}

func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

// Lasting troubles end it at once: the wait allowed here is longer than the whole test run.
func TestLastingTroubles(t *testing.T) {
	web := listen(t, func(c net.Conn) {
		defer c.Close()
		_, _ = c.Read(make([]byte, 1024))
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
	})
	server := shared.uri("postgres", "")
	for name, c := range map[string]struct{ uri, says string }{
		"password":         {strings.Replace(server, "Sup3r", "Wrong", 1), "user or password is wrong"},
		"no such role":     {strings.Replace(server, "//postgres", "//nobody_here", 1), "user or password is wrong"},
		"not allowed in":   {uriFor("u", listen(t, answer("SFATAL\x00C28000\x00Mno pg_hba.conf entry for host\x00\x00")), "x", ""), "pg_hba.conf"},
		"no TLS":           {strings.ReplaceAll(server, "sslmode=disable", "sslmode=require"), "server refused TLS connection"},
		"not PostgreSQL":   {uriFor("u", web, "x", ""), "failed: "},
		"nor with TLS":     {strings.ReplaceAll(uriFor("u", web, "x", ""), "sslmode=disable", ""), "does not speak PostgreSQL's protocol"},
		"socket no folder": {uriFor("u", "localhost", "x", "") + "&host=/dev/null/nothing", "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			o := execute(t, context.Background(), "DATABASE_CONNECTION_URI="+c.uri, "PATCH_WAIT_TIMEOUT=10h")
			o.expect(t, 1, c.says, "failed: ")
			if o.stderr != "" || strings.Count(o.stdout, "\n") != 1 {
				t.Error("want one readable line, that of the report")
			}
			o = execute(t, context.Background(), "DATABASE_CONNECTION_URI="+c.uri, "PATCH_WAIT_TIMEOUT=10h", "PATCH_ON_ERROR=continue")
			o.expect(t, 0, c.says, "failed: ", "level=ERROR")
		})
	}
}

// A connection that breaks is a restart; one that breaks again and again is an error.
func TestLostConnection(t *testing.T) {
	d := evolution(t, "evolution_api")
	for trip := int32(4); trip <= 6; trip++ {
		p := newProxy(t, "localhost:"+shared.port)
		p.cutAfter = trip
		execute(t, context.Background(), "DATABASE_CONNECTION_URI="+uriFor("postgres", p.address(), d.name, d.schema)).
			expect(t, 1, "the connection was lost 3 times", "failed: ")
		if d.indexes() != "OpenaiCreds_apiKey_key OpenaiCreds_name_key OpenaiCreds_pkey" {
			t.Errorf("cut at trip %d: the index is gone", trip)
		}
	}
}

func TestStandby(t *testing.T) {
	primary := stoppedServer(t)
	if err := primary.start(); err != nil {
		t.Fatal(err)
	}
	d := primary.newDatabase(t, "public")
	d.migrate("20251122003044")
	dir, err := os.MkdirTemp("", "eop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	standby := &server{dir: dir, port: freePort()}
	if err := own(dir); err != nil {
		t.Fatal(err)
	}
	// A stopped primary's folder is a base backup.
	primary.interrupt()
	if out, err := exec.Command("cp", "-a", primary.data(), standby.data()).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(standby.data(), "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := primary.start(); err != nil {
		t.Fatal(err)
	}
	if err := standby.start(fmt.Sprintf("primary_conninfo=host=localhost port=%s user=postgres password='%s'", primary.port, password)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.stop)
	uri := "DATABASE_CONNECTION_URI=" + standby.uri(d.name, "")
	execute(t, context.Background(), uri, "PATCH_ACTION=status").expect(t, 5, "unpatched: ")
	execute(t, context.Background(), uri, "PATCH_WAIT_TIMEOUT=300ms").expect(t, 4, "is a standby")
	p, watch := start(t, uri), start(t, uri, "PATCH_WATCH=100ms")
	p.says("is a standby")
	watch.says("is a standby")
	standbyDB := &database{t: t, server: standby, name: d.name, schema: "public", conn: standby.connect(t, d.name)}
	standbyDB.text("SELECT pg_promote()")
	p.end().expect(t, 0, "patched: ")
	watch.says("state=patched every=")
	watch.stop(syscall.SIGTERM).expect(t, 0, "patched: ")
	if strings.Contains(standbyDB.text(`SELECT string_agg(indexname, ' ') FROM pg_indexes WHERE tablename = 'OpenaiCreds'`), "apiKey") {
		t.Error("the index is still there")
	}
}

func TestPgBouncer(t *testing.T) {
	bouncer, err := exec.LookPath("pgbouncer")
	if err != nil {
		if bouncer = "/usr/sbin/pgbouncer"; !exists(bouncer) {
			t.Fatal("no PgBouncer found: apt-get install pgbouncer")
		}
	}
	d := evolution(t, "evolution_api")
	dir, err := os.MkdirTemp("", "eop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := own(dir); err != nil {
		t.Fatal(err)
	}
	port := freePort()
	for name, content := range map[string]string{
		"users": fmt.Sprintf("%q %q\n", "postgres", password),
		"ini": "[databases]\n* = host=localhost port=" + shared.port + "\ndown = host=localhost port=" + freePort() + "\n[pgbouncer]\npool_mode = transaction\nlisten_addr = localhost\nlisten_port = " + port +
			"\nauth_type = scram-sha-256\nauth_file = " + dir + "/users\nunix_socket_dir =\nserver_login_retry = 1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var output lockedBuffer
	cmd := exec.Command(bouncer, filepath.Join(dir, "ini"))
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: ordinaryUser(), Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	through := func(database string, environ ...string) outcome {
		uri := uriFor("postgres", "localhost:"+port, database, "evolution_api") + "&pgbouncer=true"
		return execute(t, context.Background(), append(environ, "DATABASE_CONNECTION_URI="+uri, "DATABASE_PROVIDER=psql_bouncer")...)
	}
	through(d.name).expect(t, 0, "patched: ", "changed=true")
	through(d.name).expect(t, 0, "patched: ", "changed=false")
	through("down", "PATCH_WAIT_TIMEOUT=3s", "PATCH_CONNECT_TIMEOUT=500ms").expect(t, 4, "gave up after PATCH_WAIT_TIMEOUT=3s")
	through("no_such_database").expect(t, 0, "pending: ")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// A wait must end as soon as a signal comes, whatever it is waiting for.
func TestSignals(t *testing.T) {
	d := evolution(t, "evolution_api")
	holder := d.another()
	mustExec(t, holder, `BEGIN; SELECT * FROM "OpenaiCreds"`)
	silent := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for name, c := range map[string]struct {
		uri, says string
		signal    syscall.Signal
	}{
		"refused":       {uriFor("u", "localhost:"+freePort(), "x", ""), "waiting for PostgreSQL", syscall.SIGTERM},
		"silent":        {uriFor("u", silent, "x", ""), "waiting for PostgreSQL", syscall.SIGINT},
		"for a lock":    {d.uri(), "the table is in use", syscall.SIGTERM},
		"for migration": {d.uri(), "migration", syscall.SIGTERM},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "for migration" {
				mustExec(t, holder, "SELECT pg_advisory_lock(72707369)")
			}
			p := start(t, "DATABASE_CONNECTION_URI="+c.uri, "PATCH_CONNECT_TIMEOUT=300ms", "PATCH_LOG_LEVEL=debug")
			p.says(c.says)
			sent := time.Now()
			o := p.stop(c.signal)
			o.expect(t, 128+int(c.signal), "interrupted by ", "failed: ")
			if took := time.Since(sent); took > time.Second {
				t.Errorf("it took %s", took)
			}
		})
		mustExec(t, holder, "SELECT pg_advisory_unlock_all()")
	}
	if d.indexes() != "OpenaiCreds_apiKey_key OpenaiCreds_name_key OpenaiCreds_pkey" {
		t.Error("the index is gone")
	}
}

// While it waits for the table's lock, Evolution's queries must not wait for as long.
func TestLockEtiquette(t *testing.T) {
	d := evolution(t, "evolution_api")
	holder := d.another()
	mustExec(t, holder, `BEGIN; SELECT * FROM "OpenaiCreds"`)
	d.patch("PATCH_LOCK_RETRY=300ms").expect(t, 1, "stayed in use for PATCH_LOCK_RETRY=300ms", "PATCH_LOCK_TIMEOUT=50ms must exceed the longest transaction on the table", "held by pid", "transaction since")
	d.patch("PATCH_LOCK_RETRY=0").expect(t, 1, "stayed in use")

	p := start(t, "DATABASE_CONNECTION_URI="+d.uri(), "PATCH_LOG_LEVEL=debug")
	p.says("the table is in use")
	// These come back although the holder goes on, so no attempt has blocked them for good.
	for range 200 {
		d.exec(`SELECT * FROM "OpenaiCreds"`)
	}
	select {
	case <-p.ended:
		t.Fatal("it ended although the table was in use")
	default:
	}
	mustExec(t, holder, "COMMIT")
	p.end().expect(t, 0, "patched: ", "changed=true")
}

func TestStaysAwayFromARunningMigration(t *testing.T) {
	d := evolution(t, "evolution_api")
	prisma := d.another()
	mustExec(t, prisma, "SELECT pg_advisory_lock(72707369)")
	before := d.dump()
	d.patch("PATCH_WAIT_TIMEOUT=300ms").expect(t, 4, "a migration of Evolution's is running")
	d.patch("PATCH_ACTION=status").expect(t, 5, "unpatched: ")
	if d.dump() != before {
		t.Error("it changed something")
	}
	p := start(t, "DATABASE_CONNECTION_URI="+d.uri())
	p.says("a migration of Evolution's is running")
	if got := d.text(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 72707369`); got != "1" {
		t.Errorf("%s sessions have or want Prisma's lock", got)
	}
	mustExec(t, prisma, "SELECT pg_advisory_unlock(72707369)")
	p.end().expect(t, 0, "patched: ", "changed=true")

	empty := newDatabase(t, "public")
	prisma = empty.another()
	mustExec(t, prisma, "SELECT pg_advisory_lock(72707369)")
	empty.patch("PATCH_WAIT_TIMEOUT=300ms").expect(t, 0, "pending: ")
	p = start(t, "DATABASE_CONNECTION_URI="+empty.uri())
	p.says("a migration is running that may create the table")
	if err := deploy(prisma, "20251122003044"); err != nil {
		t.Fatal(err)
	}
	mustExec(t, prisma, "SELECT pg_advisory_unlock_all()")
	p.end().expect(t, 0, "patched: ", "changed=true")
}

// Between two of its first migrations Evolution's table is not yet as it will be: nothing to refuse, but to wait for.
func TestNothingIsRefusedWhileAMigrationRuns(t *testing.T) {
	for _, mode := range []string{"continue", "wait"} {
		t.Run(mode, func(t *testing.T) {
			d := newDatabase(t, "public")
			d.migrate("20240718121437") // its table has no column "name"
			prisma := d.another()
			mustExec(t, prisma, "SELECT pg_advisory_lock(72707369)")
			p := start(t, "DATABASE_CONNECTION_URI="+d.uri(), allFixes, "PATCH_ON_MISSING_TABLE="+mode)
			p.says("a migration of Evolution's is running")
			if err := deploy(prisma, "20251122003044"); err != nil {
				t.Fatal(err)
			}
			mustExec(t, prisma, "SELECT pg_advisory_unlock_all()")
			p.end().expect(t, 0, "patched: ", "changed=true")
		})
	}
}

// A look that the end of the waiting cuts short says nothing new: what the one before it found is the cause.
func TestTheLastRealCauseOutlastsTheWait(t *testing.T) {
	for _, c := range []struct {
		d     *database
		trips int32 // three to log in, two to look, one for the schemas where the table might be instead
		code  int
		says  string
	}{
		{newDatabase(t, "public"), 5, 0, "pending: "},
		{evolution(t, "public"), 5, 4, "gave up after PATCH_WAIT_TIMEOUT=300ms: a migration of Evolution's is running"},
	} {
		mustExec(t, c.d.another(), "SELECT pg_advisory_lock(72707369)")
		p := newProxy(t, "localhost:"+shared.port)
		p.muteAfter = c.trips
		execute(t, context.Background(), "DATABASE_CONNECTION_URI="+uriFor("postgres", p.address(), c.d.name, c.d.schema), "PATCH_WAIT_TIMEOUT=300ms").
			expect(t, c.code, c.says)
		if n := p.trips.Load(); n <= c.trips {
			t.Errorf("%d round trips, so no look was cut short", n)
		}
	}
}

func TestTLS(t *testing.T) {
	s := stoppedServer(t)
	ca, identity := certificates(t, s.data())
	if err := os.WriteFile(filepath.Join(s.data(), "pg_hba.conf"),
		[]byte("hostssl all certified all cert\nhostssl all all all scram-sha-256\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.launch("ssl=on", "ssl_ca_file=root.crt"); err != nil {
		t.Fatal(err)
	}
	plain := strings.TrimSuffix(s.uri("postgres", ""), "?sslmode=disable")
	if err := until(30*time.Second, func() error {
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
	p := newProxy(t, "localhost:"+s.port)
	throughProxy := strings.Replace(plain, "localhost:"+s.port, p.address(), 1)
	for name, c := range map[string]struct {
		uri, says string
		code      int
	}{
		"preferred":         {throughProxy, "pending: ", 0},
		"required":          {plain + "?sslmode=require", "pending: ", 0},
		"trusted":           {plain + "?sslaccept=strict&sslcert=" + ca, "pending: ", 0},
		"verify-full":       {plain + "?sslmode=verify-full&sslcert=" + ca, "pending: ", 0},
		"verify-ca":         {strings.Replace(plain, "localhost", "127.0.0.1", 1) + "?sslmode=verify-ca&sslrootcert=" + ca, "pending: ", 0},
		"another host":      {strings.Replace(plain, "localhost", "127.0.0.1", 1) + "?sslmode=require&sslaccept=strict&sslcert=" + ca, "does not verify", 1},
		"not trusted":       {plain + "?sslaccept=strict", "does not verify", 1},
		"without TLS":       {plain + "?sslmode=disable", "pg_hba.conf", 1},
		"client identity":   {strings.Replace(plain, "postgres:", "certified:", 1) + "?sslidentity=" + identity + "&sslpassword=p", "pending: ", 0},
		"identity password": {plain + "?sslidentity=" + identity + "&sslpassword=q", "sslidentity: ", 2},
		"no such CA":        {plain + "?sslaccept=strict&sslcert=/no/such/file", "no such file", 2},
		"no CA in it":       {plain + "?sslaccept=strict&sslcert=" + file(t, "nothing"), "unable to add CA", 2},
	} {
		t.Run(name, func(t *testing.T) {
			execute(t, context.Background(), "DATABASE_CONNECTION_URI="+c.uri).expect(t, c.code, c.says)
		})
	}
	if n := p.connections.Load(); n != 1 {
		t.Errorf("%d connections where TLS is preferred, want 1", n)
	}
	execute(t, context.Background(), "PGHOST=localhost", "PGPORT="+s.port, "PGUSER=postgres", "PGPASSWORD="+password, "PGDATABASE=postgres",
		"PGSSLMODE=verify-full", "PGSSLROOTCERT="+ca).expect(t, 0, "pending: ")
}

// certificates makes a CA, a certificate for localhost in the server's folder, and a client's PKCS#12 identity.
func certificates(t *testing.T, data string) (ca, identity string) {
	t.Helper()
	issue := func(name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
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
	root, rootKey := issue("root", nil, nil)
	server, serverKey := issue("localhost", root, rootKey)
	client, clientKey := issue("certified", root, rootKey)
	write := func(name, kind string, der []byte) {
		path := filepath.Join(data, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		if c := ordinaryUser(); c != nil {
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
	return filepath.Join(data, "root.crt"), file(t, string(p12))
}

// Nothing of the driver's own reading of the environment must reach behind a connection string.
func TestAmbientVariablesDoNotCount(t *testing.T) {
	d := evolution(t, "evolution_api")
	p := start(t, "DATABASE_CONNECTION_URI="+d.uri(), "PGHOST=elsewhere.invalid", "PGSERVICE=none", "PGSSLMODE=verify-full", "PGOPTIONS=-c nonsense=1")
	p.end().expect(t, 0, "patched: ", "changed=true")
}
