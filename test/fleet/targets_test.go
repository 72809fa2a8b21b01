package fleet

import (
	"context"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// target returns the connection string of a database of the fleet.
func (f *fleet) target(database string) string { return f.URI(database, "public") }

// One of two servers is down, refuses the role or does not answer: the other is done, and its line comes first.
func TestFleetOfTwoServers(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	down := pgtest.URI("postgres", "localhost:"+pgtest.FreePort(), "evolution", "")
	for name, c := range map[string]struct {
		broken, reason string
		code           int
	}{
		"down":       {down, "connection refused", 4},
		"not ready":  {pgtest.URI("u", pgtest.Listen(t, pgtest.AnswerError("SFATAL\x00C57P03\x00Mthe database system is starting up\x00\x00")), "x", ""), "(SQLSTATE 57P03)", 4},
		"password":   {strings.Replace(f.target("postgres"), "Sup3r", "Wrong", 1), pgtest.WrongPassword, 1},
		"no network": {pgtest.URI("postgres", "nowhere.invalid", "evolution", ""), `\"nowhere.invalid\" ` + pgtest.UnknownHost, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := "ts_" + strings.ReplaceAll(name, " ", "_")
			f := fleetOn(t, pgtest.Shared)
			f.add(database)
			p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+c.broken+"  \n\t"+f.target(database), pgtest.Shortly) // the other is done long before
			p.WaitForOutput("patched: " + f.Address() + "/" + database + " schema=public changed=true")
			if c.code == 4 && strings.Contains(p.Stdout.String(), "failed: ") {
				t.Error("the first line is that of the server that is waited for")
			}
			o := p.Wait()
			o.Expect(t, c.code, "failed: ", c.reason)
			expectLast(t, o, "done: 1 patched (1 changed), 1 failed")
		})
	}
}

// Two servers are handled at once: while a database of the first is in use, the second is done, each over its own connections.
func TestFleetOfTwoServersAtOnce(t *testing.T) {
	t.Parallel()
	f, other := fleetOn(t, pgtest.Shared), newFleet(t)
	f.add("ao_a")
	other.add("ao_b", "ao_c")
	holder := f.open("ao_a")
	pgtest.Exec(t, holder, lockTable)
	p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+f.URI("postgres", "")+" "+other.URI("postgres", ""), "PATCH_DATABASES=ao_*", "PATCH_CONNECTIONS=1")
	p.WaitForOutput("patched: "+other.Address()+"/ao_b ", "patched: "+other.Address()+"/ao_c ")
	if strings.Contains(p.Stdout.String(), "/ao_a ") {
		t.Error("the database that is in use was handled")
	}
	pgtest.Exec(t, holder, "COMMIT")
	o := p.Wait()
	o.Expect(t, 0, "patched: "+f.Address()+"/ao_a ")
	expectLast(t, o, "done: 3 patched (3 changed)")
}

// The exit status is that of the first failure in the order of targets, databases and schemas.
func TestFleetExitStatus(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("es_done", "es_refused", "es_both")
	f.addEmpty("es_missing")
	refuse := `DROP INDEX "OpenaiCreds_apiKey_key"; CREATE UNIQUE INDEX again ON "OpenaiCreds"("apiKey") WHERE id <> ''`
	pgtest.Exec(t, f.open("es_refused"), refuse)
	c := f.open("es_both")
	pgtest.Exec(t, c, refuse)
	pgtest.Exec(t, c, "CREATE SCHEMA a; ALTER SCHEMA public RENAME TO z")
	wrong := strings.Replace(f.target("es_done"), "Sup3r", "Wrong", 1)
	for _, c := range []struct {
		code    int
		uris    []string
		environ []string
	}{
		{3, []string{"es_done", "es_refused", wrong, "es_missing"}, nil},
		{1, []string{"es_done", wrong, "es_refused", "es_missing"}, nil},
		{4, []string{"es_missing", wrong, "es_refused"}, nil},
		{4, []string{"es_done"}, []string{"PATCH_DATABASES=es_refused,es_missing"}}, // by name
		{3, []string{"es_done"}, []string{"PATCH_DATABASES=es_refused,es_done"}},
		{4, []string{"es_done"}, []string{"PATCH_DATABASES=es_both", "PATCH_SCHEMAS=z,a"}},
		{3, []string{"es_done"}, []string{"PATCH_DATABASES=es_both", "PATCH_SCHEMAS=z,zz"}},
		{0, []string{"es_refused", wrong}, []string{"PATCH_ON_ERROR=continue"}},
	} {
		var uris []string
		for _, uri := range c.uris {
			if !strings.Contains(uri, ":") {
				uri = f.target(uri)
			}
			uris = append(uris, uri)
		}
		environ := append([]string{"DATABASE_CONNECTION_URI=" + strings.Join(uris, " "), "PATCH_ON_MISSING_TABLE=fail"}, c.environ...)
		pgtest.Run(t, environ...).Expect(t, c.code)
	}
}

// Several connection strings are given in a file as well, and each of them may be in quotes.
func TestFleetOfAFile(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("tf_a", "tf_b")
	file := pgtest.TempFile(t, "\n"+f.target("tf_a")+"\r\n\n\""+f.target("tf_b")+"\"\n'"+f.target("tf_b")+"'\n")
	o := pgtest.Run(t, "DATABASE_CONNECTION_URI_FILE="+file, "PATCH_DRY_RUN=true")
	o.Expect(t, 0)
	if n := strings.Count(o.Stdout, "/tf_a "); n != 1 {
		t.Errorf("%d lines for tf_a, want 1", n)
	}
	if n := strings.Count(o.Stdout, "/tf_b "); n != 2 {
		t.Errorf("%d lines for tf_b, which is given twice", n)
	}
	pgtest.Run(t, `DATABASE_CONNECTION_URI="`+f.target("tf_a")+" "+f.target("tf_b")+`"`).Expect(t, 0, "/tf_a ", "/tf_b ")
	pgtest.Run(t, `DATABASE_CONNECTION_URI='`+f.target("tf_a")+"' '"+f.target("tf_b")+`'`).Expect(t, 0, "/tf_a ", "/tf_b ")
}

// What is wrong with a connection string is reported by its position, never by its text, and nothing is contacted.
func TestFleetWrongConnectionString(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add("ws_a")
	for _, wrong := range []string{
		"topsecret",
		"mysql://root:topsecret@localhost/db",
		"postgresql://postgres:topsecret@localhost:99999/db",
		"postgresql://u:topsecret@h/db?schema=" + strings.Repeat("topsecret", 8),
	} {
		for _, environ := range []string{
			"DATABASE_CONNECTION_URI=" + f.target("ws_a") + " " + wrong + " " + f.target("ws_a"),
			"DATABASE_CONNECTION_URI_FILE=" + pgtest.TempFile(t, f.target("ws_a")+"\n"+wrong+"\n"+f.target("ws_a")+"\n"),
		} {
			o := pgtest.Run(t, environ)
			o.Expect(t, 2, "connection string 2 of 3")
			o.ExpectNot(t, "topsecret", "1 of 3", "3 of 3")
			if o.Stdout != "" {
				t.Errorf("a report although nothing was contacted: %s", o.Stdout)
			}
		}
	}
	if !hasIndex(t, f.open("ws_a")) {
		t.Error("the database of the first connection string was changed")
	}
}

// One target has patterns and another has none; both share the limit of their server.
func TestFleetTargetsOfOneServer(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	f.add(numbered("os_", 6)...)
	uri := f.addRole("os_role", "SUPERUSER CONNECTION LIMIT 2") // superusers are not limited, the next one is
	pgtest.Exec(t, f.admin, "ALTER ROLE os_role NOSUPERUSER")
	for _, name := range numbered("os_", 6) {
		c := f.open(name)
		pgtest.Exec(t, c, `ALTER TABLE "OpenaiCreds" OWNER TO os_role; GRANT CREATE ON SCHEMA public TO os_role; GRANT SELECT ON "_prisma_migrations" TO os_role`)
		_ = c.Close(context.Background())
	}
	second := strings.Replace(uri, "/postgres?", "/os_000?", 1)
	o := pgtest.Run(t, "DATABASE_CONNECTION_URI="+uri+" "+second+" "+uri, "PATCH_DATABASES=os_*", "PATCH_CONNECTIONS=2", inJSON)
	o.Expect(t, 0, `"level":"DEBUG"`)
	o.ExpectNot(t, "too many connections", "53300")
	if n := strings.Count(o.Stdout, "\n"); n != 18 {
		t.Errorf("%d lines, want 18", n)
	}
}
