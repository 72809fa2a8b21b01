package connect

import (
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Three to log in, two to look, two to change; where keys are stored, one more to ask whose code a change would run. To leave a name that
// was not kept is a change. What a look warns of takes none.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	for _, c := range []struct {
		before, says string
		trips        int32
	}{
		{"", "changed=true", 7},
		{"", "changed=false", 5},
		{`DROP TRIGGER evolution_openai_patch ON evolution_api."OpenaiCreds"`, "changed=true", 7},
		{`ALTER TABLE evolution_api."OpenaiCreds" DISABLE TRIGGER evolution_openai_patch; INSERT INTO evolution_api."OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId")
			SELECT 'c', 'sk-c', now(), id FROM evolution_api."Instance" LIMIT 1`, "changed=true", 8},
		{"", "changed=false", 5},
		{`UPDATE evolution_api."_prisma_migrations" SET finished_at = NULL WHERE migration_name LIKE '20251122%'`, pgtest.MigrationFailed, 5},
		{`INSERT INTO evolution_api."OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") SELECT 'd', 'sk-c', now(), id FROM evolution_api."Instance" LIMIT 1`, pgtest.RepeatedKeys, 5},
		{`UPDATE evolution_api."_prisma_migrations" SET finished_at = now()`, "changed=false", 5},
		{`DROP INDEX evolution_api."OpenaiCreds_apiKey_key"`, "changed=true", 7},
		{"", "changed=false", 5},
		{`DROP TABLE evolution_api."_prisma_migrations"`, pgtest.WithoutList, 5},
		{`ALTER SCHEMA evolution_api RENAME TO elsewhere; CREATE SCHEMA evolution_api`, "changed=true", 7}, // a guard
		{"", "changed=false", 5},
	} {
		if c.before != "" {
			d.Exec(c.before)
		}
		n := new(pgtest.Network)
		o := pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.URIThrough(n.Listen(t, pgtest.Shared.Address())))
		o.Expect(t, 0, c.says)
		if n.RoundTrips.Load() != c.trips || n.Connections.Load() != 1 {
			t.Errorf("%s: %d round trips on %d connections, want %d on 1", c.says, n.RoundTrips.Load(), n.Connections.Load(), c.trips)
		}
	}
}

// sslmode=prefer asks the server for TLS, which takes one more round trip on the same connection.
func TestPreferredTLSCostsOneRoundTrip(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.Patch().Expect(t, 0)
	n := new(pgtest.Network)
	uri := strings.Replace(d.URIThrough(n.Listen(t, pgtest.Shared.Address())), "sslmode=disable&", "", 1)
	pgtest.Run(t, "DATABASE_CONNECTION_URI="+uri).Expect(t, 0, "changed=false")
	if n.RoundTrips.Load() != 6 || n.Connections.Load() != 1 {
		t.Errorf("%d round trips on %d connections, want 6 on 1", n.RoundTrips.Load(), n.Connections.Load())
	}
}

func TestConnectionsInTheWild(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	hostPort, raw := pgtest.Shared.Address(), strings.ReplaceAll(pgtest.Password, "%", "%25")
	for name, uri := range map[string]string{
		"quotes":             `'postgresql://postgres:` + raw + `@` + hostPort + `/` + d.Name + `?schema=evolution_api'`,
		"double quotes":      `"postgresql://postgres:` + raw + `@` + hostPort + `/` + d.Name + `?schema=evolution_api"`,
		"sslmode":            `postgresql://postgres:` + raw + `@` + hostPort + `/` + d.Name + `?schema=evolution_api&sslmode=disable`,
		"pool":               `postgres://postgres:` + raw + `@` + hostPort + `/` + d.Name + `?connection_limit=2&pool_timeout=30&schema=evolution_api`,
		"pgbouncer":          `postgresql://postgres:` + raw + `@` + hostPort + `/` + d.Name + `?pgbouncer=true&schema=evolution_api`,
		"all of Prisma's":    `postgresql://postgres:` + raw + `@` + hostPort + `/` + d.Name + `?schema=evolution_api&socket_timeout=5&statement_cache_size=0&sslaccept=accept_invalid_certs&connect_timeout=1&max_idle_connection_lifetime=3`,
		"unknown parameters": `postgresql://postgres:` + raw + `@` + hostPort + `/` + d.Name + `?schema=evolution_api&work_mem=1TB&foo=bar`,
		"socket":             `postgresql://postgres:` + raw + `@localhost:` + pgtest.Shared.Port + `/` + d.Name + `?host=` + pgtest.Shared.Dir + `&schema=evolution_api`,
		"IPv6 or not":        `postgresql://postgres:` + raw + `@` + loopback(t) + `:` + pgtest.Shared.Port + `/` + d.Name + `?schema=evolution_api`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, environ := range [][]string{
				{"DATABASE_CONNECTION_URI=" + uri}, {"DATABASE_URL=" + uri}, {"DATABASE_CONNECTION_URI_FILE=" + pgtest.TempFile(t, uri+"\n")},
			} {
				pgtest.Run(t, environ...).Expect(t, 0, "patched: ", "schema=evolution_api")
			}
		})
	}
	if isUnique(d) {
		t.Error("the index was not dropped")
	}
	pgtest.Run(t, "PGHOST=localhost", "PGPORT="+pgtest.Shared.Port, "PGUSER=postgres", "PGPASSWORD="+pgtest.Password,
		"PGDATABASE="+d.Name, "PATCH_SCHEMAS=evolution_api").Expect(t, 0, "patched: ", "schema=evolution_api")
}

// isUnique reports whether Evolution's index of the keys is unique, as it was before a run.
func isUnique(d *pgtest.Database) bool {
	return d.Text(`SELECT indisunique FROM pg_index WHERE indexrelid = '"OpenaiCreds_apiKey_key"'::regclass`) == "true"
}

// loopback returns the loopback address of IPv6, or of IPv4 if the machine has no IPv6.
func loopback(t *testing.T) string {
	c, err := net.Dial("tcp", "[::1]:"+pgtest.Shared.Port)
	if err != nil {
		t.Log("this machine has no IPv6, so 127.0.0.1 is used")
		return "127.0.0.1"
	}
	c.Close()
	return "[::1]"
}

func TestPassingTroubles(t *testing.T) {
	t.Parallel()
	nobody, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nobody.Close() }) // accepts connections and sends nothing
	refused := pgtest.FreePort()
	for name, c := range map[string]struct{ uri, says string }{
		"refused":        {pgtest.URI("u", "localhost:"+refused, "x", ""), pgtest.NothingListens + refused + " there; " + pgtest.IsContainer},
		"unknown host":   {pgtest.URI("u", "no-such-host.invalid", "x", ""), `\"no-such-host.invalid\" ` + pgtest.UnknownHost},
		"silent":         {pgtest.URI("u", nobody.Addr().String(), "x", ""), pgtest.NoAnswer},
		"silent, TLS":    {strings.ReplaceAll(pgtest.URI("u", nobody.Addr().String(), "x", ""), "disable", "require"), pgtest.NoAnswer},
		"silent, maybe":  {strings.ReplaceAll(pgtest.URI("u", nobody.Addr().String(), "x", ""), "sslmode=disable", ""), pgtest.NoAnswer},
		"no socket":      {pgtest.URI("u", "localhost", "x", "") + "&host=" + t.TempDir(), "no such file"},
		"closes at once": {pgtest.URI("u", pgtest.Listen(t, func(c net.Conn) { c.Close() }), "x", ""), pgtest.ServerClosed},
		"too many clients": {
			pgtest.URI("u", pgtest.Listen(t, pgtest.AnswerError("SFATAL\x00C53300\x00Msorry, too many clients already\x00\x00")), "x", ""),
			"(SQLSTATE 53300)",
		},
		"starting up": {pgtest.URI("u", pgtest.Listen(t, pgtest.AnswerError("SFATAL\x00C57P03\x00Mthe database system is starting up\x00\x00")), "x", ""), "(SQLSTATE 57P03)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := pgtest.Run(t, "DATABASE_CONNECTION_URI="+c.uri, pgtest.Shortly, "PATCH_CONNECT_TIMEOUT=2s")
			o.Expect(t, 4, pgtest.GaveUp+pgtest.ShortWait, c.says, "failed: ", pgtest.WaitsForServer)
		})
	}
}

// The program does not wait if a later attempt cannot succeed: the timeout is longer than the tests may take.
func TestLastingTroubles(t *testing.T) {
	t.Parallel()
	web := pgtest.Listen(t, func(c net.Conn) {
		defer c.Close()
		_, _ = c.Read(make([]byte, 1024))
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
	})
	server := pgtest.Shared.URI("postgres", "")
	for name, c := range map[string]struct{ uri, says string }{
		"password":         {strings.Replace(server, "Sup3r", "Wrong", 1), pgtest.WrongPassword},
		"not replaced":     {strings.Replace(server, "Sup3r", "$(PASS)", 1), pgtest.PasswordHolds + "$(PASS), "},
		"not encoded":      {strings.Replace(server, "Sup3r", "Sup@3r", 1), pgtest.WriteEncoded},
		"decoded":          {strings.Replace(server, "Sup3r", "Sup%41r", 1), pgtest.WriteEncoded},
		"no such role":     {strings.Replace(server, "//postgres", "//nobody_here", 1), pgtest.WrongPassword},
		"not allowed in":   {pgtest.URI("u", pgtest.Listen(t, pgtest.AnswerError("SFATAL\x00C28000\x00Mno pg_hba.conf entry for host\x00\x00")), "x", ""), "pg_hba.conf"},
		"no TLS":           {strings.ReplaceAll(server, "sslmode=disable", "sslmode=require"), pgtest.OffersNoTLS},
		"not PostgreSQL":   {pgtest.URI("u", web, "x", ""), pgtest.NotPostgreSQL},
		"nor with TLS":     {strings.ReplaceAll(pgtest.URI("u", web, "x", ""), "sslmode=disable", ""), pgtest.NotPostgreSQL},
		"socket no folder": {pgtest.URI("u", "localhost", "x", "") + "&host=/dev/null/nothing", "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			o := pgtest.Run(t, "DATABASE_CONNECTION_URI="+c.uri, "PATCH_WAIT_TIMEOUT=10h")
			o.Expect(t, 1, c.says, "failed: ")
			if o.Stderr != "" || strings.Count(o.Stdout, "\n") != 1 {
				t.Error("the output is more than the one line of the report")
			}
			o = pgtest.Run(t, "DATABASE_CONNECTION_URI="+c.uri, "PATCH_WAIT_TIMEOUT=10h", "PATCH_ON_ERROR=continue")
			o.Expect(t, 0, c.says, "failed: ", "level=ERROR")
		})
	}
}

// PATCH_ON_ERROR=continue hides errors of the database. What status finds, an interruption and a wrong configuration are none.
func TestContinueHidesErrorsOnly(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	d.Patch("PATCH_ON_ERROR=continue", "PATCH_ACTION=status").Expect(t, 5, "unpatched: ")
	d.Patch("PATCH_ON_ERROR=continue", "PATCH_FIXES=none").Expect(t, 2, "PATCH_FIXES: ")
	pgtest.Exec(t, d.NewConn(), `BEGIN; SELECT * FROM "OpenaiCreds"`)
	p := d.Start("PATCH_ON_ERROR=continue", "PATCH_LOG_LEVEL=debug")
	p.WaitFor(pgtest.TableInUse)
	p.Stop(syscall.SIGTERM).Expect(t, 143, "failed: ")
}

// A broken connection is treated as a restart of the server; the third one is an error.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	for trip := 4; trip <= 6; trip++ {
		n := &pgtest.Network{RoundTrip: trip, Later: pgtest.Alike}
		pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.URIThrough(n.Listen(t, pgtest.Shared.Address()))).
			Expect(t, 1, pgtest.ConnectionLost+"3 ", "failed: ")
		if !isUnique(d) {
			t.Errorf("with connections cut at round trip %d the index was dropped", trip)
		}
	}
}

func TestPgBouncer(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	address := pgtest.Shared.StartPgBouncer(t)
	through := func(database string, environ ...string) pgtest.Outcome {
		uri := pgtest.URI("postgres", address, database, "evolution_api") + "&pgbouncer=true"
		return pgtest.Run(t, append(environ, "DATABASE_CONNECTION_URI="+uri, "DATABASE_PROVIDER=psql_bouncer")...)
	}
	through(d.Name).Expect(t, 0, "patched: ", "changed=true")
	through(d.Name).Expect(t, 0, "patched: ", "changed=false")
	through("down", pgtest.Shortly, "PATCH_CONNECT_TIMEOUT=2s").Expect(t, 4, pgtest.GaveUp+pgtest.ShortWait)
	through("no_such_database").Expect(t, 0, "pending: ")
}

// The driver's own reading of libpq's variables does not add to a connection string.
func TestAmbientVariablesDoNotCount(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	p := d.Start("PGHOST=elsewhere.invalid", "PGSERVICE=none", "PGSSLMODE=verify-full", "PGOPTIONS=-c nonsense=1")
	p.Wait().Expect(t, 0, "patched: ", "changed=true")
}
