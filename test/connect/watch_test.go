package connect

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

func TestWatch(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	p := d.Start("PATCH_WATCH=100ms", pgtest.AllFixes)
	p.WaitFor("state=guarded every=")
	d.Migrate(pgtest.Last)
	p.WaitFor("before=guarded now=patched")
	waitUntilPatched(t, d)
	d.Exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two')`)

	d.Exec(`DROP INDEX "OpenaiCreds_apiKey_key"; CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey"); DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"`)
	waitUntilPatched(t, d)
	for _, instance := range []string{"i1", "i2"} {
		if d.Register("2.3", instance, instance, pgtest.APIKey) != 201 {
			t.Errorf("instance %s is refused the shared key", instance)
		}
	}

	// Nothing is changed while Prisma's lock is held.
	prisma := d.NewConn()
	pgtest.Exec(t, prisma, "SELECT pg_advisory_lock(72707369)")
	d.Exec(`ALTER TABLE "OpenaiCreds" DISABLE TRIGGER evolution_openai_patch`)
	p.WaitFor(pgtest.MigrationRuns)
	if d.Text(`SELECT tgenabled FROM pg_trigger WHERE tgname = 'evolution_openai_patch'`) != "D" {
		t.Error("the trigger was changed while Prisma's lock was held")
	}
	pgtest.Exec(t, prisma, "SELECT pg_advisory_unlock_all()")
	waitUntilPatched(t, d)

	p.Stop(syscall.SIGTERM).Expect(t, 0, "patched: ", "changed=true")
}

// waitUntilPatched waits until status reports that every fix is applied, as a health check does.
func waitUntilPatched(t *testing.T, d *pgtest.Database) {
	t.Helper()
	environ := []string{"DATABASE_CONNECTION_URI=" + d.URI(), pgtest.AllFixes, "PATCH_WATCH=1s"}
	pgtest.MustUntil(t, func() error {
		if o := pgtest.RunArgs(context.Background(), []string{"status"}, environ); o.Code != 0 || !strings.HasPrefix(o.Stdout, "patched: ") {
			return fmt.Errorf("exit status %d: %s%s", o.Code, o.Stderr, o.Stdout)
		}
		return nil
	})
}

// createIndex creates a unique index of the keys, beside the plain one that was left.
func createIndex(d *pgtest.Database) {
	d.Exec(`CREATE UNIQUE INDEX again ON "OpenaiCreds"("apiKey")`)
}

// waitUntilDropped waits until a watching program has dropped that index.
func waitUntilDropped(t *testing.T, d *pgtest.Database, p *pgtest.Process) {
	t.Helper()
	pgtest.MustUntil(t, func() error {
		if strings.Contains(d.Indexes(), "again") {
			return fmt.Errorf("the index was not dropped:\n%s", p.Stderr.String())
		}
		return nil
	})
}

// An inspection takes one round trip on the existing connection.
func TestWatchIsCheap(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	network := new(pgtest.Network)
	p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+d.URIThrough(network.Listen(t, pgtest.Shared.Address())), "PATCH_WATCH=100ms")
	p.WaitFor("msg=" + pgtest.Watching)
	lines := func() int { // but for one that only a slow machine has
		log := p.Stderr.String()
		return strings.Count(log, "\n") - strings.Count(log, "takes longer")
	}
	tripsBefore, linesBefore := network.RoundTrips.Load(), lines()
	pgtest.MustUntil(t, func() error {
		if n := network.RoundTrips.Load() - tripsBefore; n < 50 {
			return fmt.Errorf("%d inspections, want 50", n)
		}
		return nil
	})
	if n := network.Connections.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	if n := lines() - linesBefore; n > 0 {
		t.Errorf("%d log lines although nothing changed:\n%s", n, p.Stderr.String())
	}
	p.Stop(syscall.SIGINT).Expect(t, 0, "patched: ")
}

func TestWatchSurvivesARestart(t *testing.T) {
	t.Parallel()
	s := pgtest.NewServer(t)
	d := s.NewDatabase(t, "public")
	d.Migrate(pgtest.Last)
	p := d.Start("PATCH_WATCH=100ms")
	p.WaitFor("state=patched every=")
	for range 4 { // more often than a run without PATCH_WATCH tolerates
		s.Kill()
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		d.Conn = s.Connect(t, d.Name)
		createIndex(d)
		waitUntilDropped(t, d, p)
	}
	p.Stop(syscall.SIGTERM).Expect(t, 0, "patched: ")
}

// Of what a watch has not seen it says so, and why, although to be stopped is no failure.
func TestWatchStoppedWhileItsServerIsAway(t *testing.T) {
	t.Parallel()
	p := pgtest.Start(t, "DATABASE_CONNECTION_URI="+pgtest.URI("u", "localhost:"+pgtest.FreePort(), "x", ""), "PATCH_WATCH=1s")
	p.WaitFor(pgtest.WaitsForServer)
	p.Stop(syscall.SIGTERM).Expect(t, 0, "failed: ", "changed=false", "apikey-index=failed", "connection refused", "; "+pgtest.InterruptedBy+`SIGTERM)"`)
}

// A program that is stopped during its first run reports what it has found so far.
func TestWatchStoppedWhileItWaitsForALock(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	pgtest.Exec(t, d.NewConn(), `BEGIN; SELECT * FROM "OpenaiCreds"`)
	p := d.Start("PATCH_WATCH=1s", "PATCH_LOG_LEVEL=debug")
	p.WaitFor(pgtest.TableInUse)
	p.Stop(syscall.SIGTERM).Expect(t, 0, "unpatched: ", "changed=false", "apikey-index=unpatched")
}

// A watching program inspects the schema again by itself, so the log does not advise to run it again.
func TestWatchGivesNoAdviceToRunItAgain(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Exec(fmt.Sprintf(`DROP ROLE IF EXISTS %[1]s; CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s'`, d.Name+"_app", pgtest.Password))
	for _, environ := range [][]string{
		{"DATABASE_CONNECTION_URI=" + d.URI(), "PATCH_ON_MISSING_TABLE=continue"},
		{"DATABASE_CONNECTION_URI=" + d.URIAs(d.Name+"_app")},
		{"DATABASE_CONNECTION_URI=" + pgtest.Shared.URI("not_created_yet", ""), "PATCH_ON_MISSING_TABLE=continue"},
		{"DATABASE_CONNECTION_URI=" + pgtest.Shared.URI("not_created_yet", "")},
	} {
		p := pgtest.Start(t, append(environ, "PATCH_WATCH=1h")...)
		p.WaitFor("state=pending every=")
		o := p.Stop(syscall.SIGTERM)
		o.Expect(t, 0, "pending: ", pgtest.NotThere)
		if strings.Contains(o.Stderr, pgtest.OnceMore) || strings.Contains(o.Stderr, "PATCH_WATCH") {
			t.Errorf("the log advises what is done already:\n%s", o.Stderr)
		}
	}
}

// A server may end sessions that are idle for less than PATCH_WATCH: the program connects again, without an error.
func TestWatchOfAServerThatEndsIdleSessions(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	end := "ALTER DATABASE " + d.Name + " SET idle_session_timeout = '1s'"
	if d.Text("SELECT current_setting('server_version_num')::int < 140000") == "true" {
		end = "" // the setting exists since 14; before, another session ends the program's
	} else {
		d.Exec(end)
	}
	p := d.Start("PATCH_WATCH=6s") // so long that there is a pause between rounds on a slow machine, too
	p.WaitFor("state=patched every=")
	for range 3 {
		before := strings.Count(p.Stderr.String(), "msg="+pgtest.Connected)
		if end == "" {
			d.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		}
		pgtest.MustUntil(t, func() error {
			if strings.Count(p.Stderr.String(), "msg="+pgtest.Connected) == before {
				return fmt.Errorf("the program does not connect again:\n%s", p.Stderr.String())
			}
			return nil
		})
		createIndex(d)
		waitUntilDropped(t, d, p)
	}
	if strings.Contains(p.Stderr.String(), "now=failed") || strings.Contains(p.Stderr.String(), "level=ERROR") {
		t.Errorf("the program reports a failure:\n%s", p.Stderr.String())
	}
	p.Stop(syscall.SIGTERM).Expect(t, 0, "patched: ")
}

func TestWatchStoppedWhileItFails(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	p := d.Start("PATCH_WATCH=100ms")
	p.WaitFor("msg=" + pgtest.Watching)
	d.Exec(`CREATE UNIQUE INDEX again ON "OpenaiCreds"("apiKey") WHERE true AND id <> ''`)
	p.WaitFor(pgtest.IsRefused)
	p.Stop(syscall.SIGTERM).Expect(t, 0, "failed: ", pgtest.OnPurpose, "; "+pgtest.InterruptedBy+`SIGTERM)"`)
}

func TestWatchEndsForLastingTroubles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		environ []string
		code    int
	}{
		"password": {[]string{"DATABASE_CONNECTION_URI=" + strings.Replace(pgtest.Shared.URI("postgres", ""), "Sup3r", "Wrong", 1)}, 1},
		"continue": {[]string{"DATABASE_CONNECTION_URI=" + strings.Replace(pgtest.Shared.URI("postgres", ""), "Sup3r", "Wrong", 1), "PATCH_ON_ERROR=continue"}, 0},
		"missing":  {[]string{"DATABASE_CONNECTION_URI=" + pgtest.Shared.URI("postgres", ""), "PATCH_ON_MISSING_TABLE=fail"}, 4},
		"revert":   {[]string{"DATABASE_CONNECTION_URI=" + pgtest.Shared.URI("postgres", ""), "PATCH_ACTION=revert"}, 2},
		"dry run":  {[]string{"DATABASE_CONNECTION_URI=" + pgtest.Shared.URI("postgres", ""), "PATCH_DRY_RUN=true"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			pgtest.Run(t, append(c.environ, "PATCH_WATCH=1s")...).Expect(t, c.code)
		})
	}
}

// A watch pads the keys of a dump that is restored while a guard is installed, which the guard leaves as they are.
func TestWatchMeetsARestoredDump(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Patch(pgtest.Guard).Expect(t, 0, "guarded: ")
	d.Exec(pgtest.SmallDump)
	d.Patch("PATCH_ACTION=status").Expect(t, 5, "unpatched: ", "apikey-index=patched apikey-check=unpatched", pgtest.UnpaddedKeys+"1")
	p := d.Start("PATCH_WATCH=100ms", pgtest.Guard)
	p.WaitFor("state=patched every=")
	expectPaddedByWatch(t, d)

	// The dump comes again while the watch has a guard of its own installed.
	d.Exec(`DROP SCHEMA public CASCADE; CREATE SCHEMA public`)
	p.WaitFor("before=patched now=guarded")
	d.Exec(pgtest.SmallDump)
	expectPaddedByWatch(t, d)
	p.WaitFor("before=guarded now=patched")
	p.Stop(syscall.SIGTERM).Expect(t, 0, "patched: ", "changed=true")
}

// expectPaddedByWatch waits until status reports patched, and registers the key of the first instance in the second.
func expectPaddedByWatch(t *testing.T, d *pgtest.Database) {
	t.Helper()
	pgtest.MustUntil(t, func() error {
		if o := d.Patch("PATCH_ACTION=status"); o.Code != 0 {
			return fmt.Errorf("exit status %d: %s", o.Code, o.Stdout)
		}
		return nil
	})
	if d.Register("2.3", "i2", "two", pgtest.APIKey) != 201 {
		t.Error("the second instance is refused the shared key")
	}
}

// A round does not take longer because one database waits for a lock.
func TestWatchWaitsForALock(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	const interval = 10 * time.Second // so long that a slow machine looks within it, too
	p := d.Start("PATCH_WATCH="+interval.String(), "PATCH_LOG_LEVEL=debug")
	p.WaitFor("msg=" + pgtest.Watching)
	user := d.NewConn()
	pgtest.Exec(t, user, `BEGIN; LOCK TABLE "OpenaiCreds" IN ACCESS SHARE MODE`)
	createIndex(d) // which needs no lock that the other excludes
	p.WaitFor(pgtest.TableInUse)
	<-time.After(interval + interval/2) // the lock is held for longer than a round may take
	pgtest.Exec(t, user, "COMMIT")
	waitUntilDropped(t, d, p)
	o := p.Stop(syscall.SIGTERM)
	o.Expect(t, 0)
	o.ExpectNot(t, pgtest.TooSlow, pgtest.StateChanged)
}
