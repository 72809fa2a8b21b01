package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"evolution-openai-patch/test/pgtest"
)

// reject has pg_hba.conf reject a role in some databases, and returns what ends that.
func (f *fleet) reject(role string, databases ...string) (allow func()) {
	f.t.Helper()
	file := filepath.Join(f.DataDir(), "pg_hba.conf")
	before, err := os.ReadFile(file)
	if err != nil {
		f.t.Fatal(err)
	}
	rewrite := func(rules string) {
		f.t.Helper()
		if err := os.WriteFile(file, []byte(rules), 0o644); err != nil {
			f.t.Fatal(err)
		}
		pgtest.Exec(f.t, f.admin, "SELECT pg_reload_conf()")
	}
	rewrite("host " + strings.Join(databases, ",") + " " + role + " all reject\n" + string(before))
	return func() { f.t.Helper(); rewrite(string(before)) }
}

// waitUntilRejected waits until the server has read its pg_hba.conf.
func (f *fleet) waitUntilRejected(uri, database string) {
	f.t.Helper()
	pgtest.MustUntil(f.t, func() error {
		c, err := pgconn.Connect(context.Background(), strings.Replace(uri, "/postgres?", "/"+database+"?", 1))
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code == "28000" {
			return nil
		}
		if err == nil {
			_ = c.Close(context.Background())
		}
		return fmt.Errorf("not rejected: %w", err)
	})
}

// A database of the provider's, which a pattern finds and pg_hba.conf rejects, is counted, and so is one without CONNECT. One that is named
// fails.
func TestFleetKeptOut(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.add("ko_a", "ko_b", "ko_hba", "ko_closed", "ko_revoked")
	uri := f.addRole("ko_app", "")
	f.give("ko_app", "ko_a", "ko_b", "ko_hba")
	pgtest.Exec(t, f.admin, "REVOKE CONNECT ON DATABASE ko_closed FROM PUBLIC; REVOKE CONNECT ON DATABASE ko_revoked FROM PUBLIC")
	f.reject("ko_app", "ko_hba")
	f.waitUntilRejected(uri, "ko_hba")
	for databases, c := range map[string]struct {
		code int
		want report
		last string
	}{
		"ko_[ab],ko_h*":         {0, all("patched", "ko_a", "ko_b"), "2 patched, " + pgtest.OneKeptOut},
		"*":                     {0, all("patched", "ko_a", "ko_b"), "2 patched, " + pgtest.OneWithoutTable + ", 3 " + pgtest.SeveralKeptOut},
		"!ko_closed,!ko_r*":     {0, all("patched", "ko_a", "ko_b"), "2 patched, " + pgtest.OneWithoutTable + ", " + pgtest.OneKeptOut},
		"ko_hba,*":              {1, all("patched", "ko_a", "ko_b").and(all("failed", "ko_hba")), "2 patched, 1 failed, " + pgtest.OneWithoutTable + ", 2 " + pgtest.SeveralKeptOut},
		"ko_closed,*,!ko_hba":   {1, all("patched", "ko_a", "ko_b").and(all("failed", "ko_closed")), "2 patched, 1 failed, " + pgtest.OneWithoutTable + ", " + pgtest.OneKeptOut},
		"ko_hba*":               {1, all("failed", "postgres *"), "1 failed, " + pgtest.OneKeptOut},
		"ko_closed*,ko_revoke*": {1, all("failed", "postgres *"), "1 failed, 2 " + pgtest.SeveralKeptOut},
		"ko_a,ko_hb*,ko_clos*":  {1, all("patched", "ko_a").and(all("failed", "postgres *")), "1 patched, 1 failed, 2 " + pgtest.SeveralKeptOut},
		"ko_nothing*,!ko_hba":   {0, report{}, pgtest.NoneMatches},
	} {
		f.as(uri, "ko_[ab]").Expect(t, 0)
		o := f.as(uri, databases)
		o.ExpectCode(t, c.code)
		reportOf(t, o).expect(t, c.want)
		expectLast(t, o, "done: "+c.last)
		if c.want["postgres *"] != "" {
			o.Expect(t, c.code, pgtest.KeptOutOfAll, `"level":"WARN"`)
		} else {
			o.ExpectNot(t, pgtest.KeptOutOfAll)
		}
	}
	o := f.as(uri, "ko_hba*", "PATCH_ON_ERROR=continue")
	o.Expect(t, 0, `"level":"WARN"`, pgtest.KeptOutOfAll)
	o.ExpectNot(t, `"level":"ERROR"`)
	o = f.as(strings.Replace(uri, "ko_app:", "ko_app:wrong", 1), "ko_*")
	o.Expect(t, 1, pgtest.WrongPassword)
	o.ExpectNot(t, pgtest.KeptOutOfAll)
	o = f.as(strings.Replace(uri, "/postgres?", "/ko_hba?", 1), "ko_*") // from where nothing can be listed
	o.Expect(t, 1)
	reportOf(t, o).expect(t, all("failed", "ko_hba *"))
}

// A watch says once that it is kept out, goes on with the others, and takes a database up as soon as it is let in.
func TestFleetWatchKeptOut(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.add("kw_a", "kw_hba", "kw_closed")
	uri := f.addRole("ko_app", "")
	f.give("ko_app", "kw_a", "kw_hba", "kw_closed")
	pgtest.Exec(t, f.admin, "REVOKE CONNECT ON DATABASE kw_closed FROM PUBLIC")
	allow := f.reject("ko_app", "kw_hba")
	f.waitUntilRejected(uri, "kw_hba")
	start := func(databases string) *pgtest.Process {
		return pgtest.Start(t, "DATABASE_CONNECTION_URI="+uri, "PATCH_DATABASES="+databases, "PATCH_WATCH=100ms", inJSON)
	}
	o := start("kw_[hc]*").Wait() // it ends by itself where nothing else is to be done
	o.Expect(t, 1, pgtest.KeptOutOfAll)
	reportOf(t, o).expect(t, all("failed", "postgres *"))
	expectLast(t, o, "done: 1 failed, 2 "+pgtest.SeveralKeptOut)

	p := start("kw_*")
	p.WaitFor(pgtest.LeftOut)
	f.waitUntilPatched(p, "kw_a")
	for range 3 { // rounds
		f.execIn("kw_a", recreateIndex)
		f.waitUntilPatched(p, "kw_a")
	}
	if o := p.Stop(syscall.SIGTERM); strings.Count(o.Stderr, pgtest.LeftOut) != 1 {
		t.Errorf("it is said more than once:\n%s", o.Stderr)
	} else {
		o.Expect(t, 0)
		o.ExpectNot(t, `"level":"ERROR"`, pgtest.KeptOutOfAll)
		reportOf(t, o).expect(t, all("patched", "kw_a"))
		expectLast(t, o, "done: 1 patched (1 changed), 2 "+pgtest.SeveralKeptOut)
	}

	p = start("kw_*")
	p.WaitFor(pgtest.LeftOut)
	allow()
	pgtest.Exec(t, f.admin, "GRANT CONNECT ON DATABASE kw_closed TO PUBLIC")
	f.waitUntilPatched(p, "kw_hba", "kw_closed")
	f.reject("ko_app", "kw_a", "kw_hba", "kw_closed")
	p.WaitFor(pgtest.KeptOutOfAll)
	o = p.Stop(syscall.SIGTERM)
	o.Expect(t, 0)
	o.ExpectNot(t, `"level":"ERROR"`)
	reportOf(t, o).expect(t, all("failed", "postgres *"))
}
