package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"evolution-openai-patch/patch"
)

func TestWatch(t *testing.T) {
	d := newDatabase(t, "public")
	p := start(t, "DATABASE_CONNECTION_URI="+d.uri(), "PATCH_WATCH=100ms", allFixes, "PATCH_KEEP_INDEX_NAMES=true")
	p.says("state=pending every=")
	d.migrate("20251122003044")
	p.says("was=pending is=patched")
	d.patched(t)
	d.exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two')`)

	d.exec(`DROP INDEX "OpenaiCreds_apiKey_key"; CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey"); DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"`)
	d.patched(t)
	for _, instance := range []string{"i1", "i2"} {
		if d.register("2.3", instance, instance, apiKey) != 201 {
			t.Errorf("instance %s cannot have the key", instance)
		}
	}

	// Not while Prisma's lock is held.
	prisma := d.another()
	mustExec(t, prisma, "SELECT pg_advisory_lock(72707369)")
	d.exec(`ALTER TABLE "OpenaiCreds" DISABLE TRIGGER evolution_openai_patch`)
	p.says("a migration of Evolution's is running")
	if d.text(`SELECT tgenabled FROM pg_trigger WHERE tgname = 'evolution_openai_patch'`) != "D" {
		t.Error("it was changed while Prisma's lock was held")
	}
	mustExec(t, prisma, "SELECT pg_advisory_unlock_all()")
	d.patched(t)

	p.stop(syscall.SIGTERM).expect(t, 0, "patched: ", "changed=true")
}

// patched waits until every fix holds, as a health check would.
func (d *database) patched(t *testing.T) {
	t.Helper()
	if err := until(20*time.Second, func() error {
		var out lockedBuffer
		code := patch.Main(context.Background(), []string{"status"}, []string{"DATABASE_CONNECTION_URI=" + d.uri(), allFixes, "PATCH_KEEP_INDEX_NAMES=true", "PATCH_WATCH=1s"}, &out, &out)
		if code != 0 || !strings.Contains(out.String(), "\npatched: ") && !strings.HasPrefix(out.String(), "patched: ") {
			return fmt.Errorf("exit status %d: %s", code, out.String())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// A look costs a round trip on the connection that there is.
func TestWatchIsCheap(t *testing.T) {
	d := evolution(t, "public")
	proxy := newProxy(t, "localhost:"+shared.port)
	p := start(t, "DATABASE_CONNECTION_URI="+uriFor("postgres", proxy.address(), d.name, d.schema), "PATCH_WATCH=100ms")
	p.says("msg=watching")
	before, lines := proxy.trips.Load(), strings.Count(p.stderr.String(), "\n")
	if err := until(20*time.Second, func() error {
		if n := proxy.trips.Load() - before; n < 50 {
			return fmt.Errorf("%d looks", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n := proxy.connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	if n := strings.Count(p.stderr.String(), "\n"); n > lines {
		t.Errorf("%d log lines for looks that found nothing:\n%s", n-lines, p.stderr.String())
	}
	p.stop(syscall.SIGINT).expect(t, 0, "patched: ")
}

func TestWatchSurvivesARestart(t *testing.T) {
	s := stoppedServer(t)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	d := s.newDatabase(t, "public")
	d.migrate("20251122003044")
	p := start(t, "DATABASE_CONNECTION_URI="+d.uri(), "PATCH_WATCH=100ms")
	p.says("state=patched every=")
	for range 4 { // more often than an ordinary run would put up with
		s.stop()
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
		d.conn = s.connect(t, d.name)
		d.exec(`CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`)
		if err := until(20*time.Second, func() error {
			if strings.Contains(d.indexes(), "apiKey") {
				return fmt.Errorf("the index is still there:\n%s", p.stderr.String())
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	p.stop(syscall.SIGTERM).expect(t, 0, "patched: ")
}

func TestWatchStoppedWhileItsServerIsAway(t *testing.T) {
	p := start(t, "DATABASE_CONNECTION_URI="+uriFor("u", "localhost:"+freePort(), "x", ""), "PATCH_WATCH=1s")
	p.says("waiting for PostgreSQL")
	if o := p.stop(syscall.SIGTERM); strings.Contains(o.stdout, "error=") {
		t.Error("an error of a watch that was stopped")
	} else {
		o.expect(t, 0, "pending: ", "changed=false", "apikey-index=pending")
	}
}

// What it had seen when it was stopped at its first look is what it reports.
func TestWatchStoppedWhileItWaitsForALock(t *testing.T) {
	d := evolution(t, "public")
	mustExec(t, d.another(), `BEGIN; SELECT * FROM "OpenaiCreds"`)
	p := start(t, "DATABASE_CONNECTION_URI="+d.uri(), "PATCH_WATCH=1s", "PATCH_LOG_LEVEL=debug")
	p.says("the table is in use")
	p.stop(syscall.SIGTERM).expect(t, 0, "unpatched: ", "changed=false", "apikey-index=unpatched")
}

// It comes back by itself, so it gives no advice to run it again.
func TestWatchGivesNoAdviceToRunItAgain(t *testing.T) {
	d := newDatabase(t, "public")
	d.exec(fmt.Sprintf(`DROP ROLE IF EXISTS %[1]s; CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s'`, d.name+"_app", password))
	for _, environ := range [][]string{
		{"DATABASE_CONNECTION_URI=" + d.uri()},
		{"DATABASE_CONNECTION_URI=" + d.uriAs(d.name+"_app"), guard},
		{"DATABASE_CONNECTION_URI=" + shared.uri("not_created_yet", "")},
		{"DATABASE_CONNECTION_URI=" + shared.uri("not_created_yet", ""), guard},
	} {
		p := start(t, append(environ, "PATCH_WATCH=100ms")...)
		p.says("state=pending every=")
		o := p.stop(syscall.SIGTERM)
		o.expect(t, 0, "pending: ", "does not exist")
		if strings.Contains(o.stderr, "once more") || strings.Contains(o.stderr, "PATCH_WATCH") {
			t.Errorf("advice to somebody who has followed it:\n%s", o.stderr)
		}
	}
}

// A server that ends sessions that are idle for longer than a watch's pauses is no trouble.
func TestWatchOfAServerThatEndsIdleSessions(t *testing.T) {
	d := evolution(t, "public")
	end := "ALTER DATABASE " + d.name + " SET idle_session_timeout = '100ms'"
	if d.text("SELECT current_setting('server_version_num')::int < 140000") == "true" {
		end = "" // that setting came with 14; there, another session ends it
	} else {
		d.exec(end)
	}
	p := start(t, "DATABASE_CONNECTION_URI="+d.uri(), "PATCH_WATCH=400ms")
	p.says("state=patched every=")
	for range 3 {
		before := strings.Count(p.stderr.String(), "msg=connected")
		if end == "" {
			d.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		}
		if err := until(20*time.Second, func() error {
			if strings.Count(p.stderr.String(), "msg=connected") == before {
				return fmt.Errorf("it does not come back:\n%s", p.stderr.String())
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		d.exec(`CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`)
		if err := until(20*time.Second, func() error {
			if strings.Contains(d.indexes(), "apiKey") {
				return fmt.Errorf("the index is still there:\n%s", p.stderr.String())
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(p.stderr.String(), "is=failed") || strings.Contains(p.stderr.String(), "level=ERROR") {
		t.Errorf("it takes that for a failure:\n%s", p.stderr.String())
	}
	p.stop(syscall.SIGTERM).expect(t, 0, "patched: ")
}

func TestWatchStoppedWhileItFails(t *testing.T) {
	d := evolution(t, "public")
	p := start(t, "DATABASE_CONNECTION_URI="+d.uri(), "PATCH_WATCH=100ms")
	p.says("msg=watching")
	d.exec(`CREATE UNIQUE INDEX again ON "OpenaiCreds"("apiKey") WHERE true AND id <> ''`)
	p.says("refused, and nothing was changed")
	p.stop(syscall.SIGTERM).expect(t, 0, "failed: ", "somebody made it on purpose", `(interrupted by terminated)"`)
}

func TestWatchEndsForLastingTroubles(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		code    int
	}{
		"password": {[]string{"DATABASE_CONNECTION_URI=" + strings.Replace(shared.uri("postgres", ""), "Sup3r", "Wrong", 1)}, 1},
		"missing":  {[]string{"DATABASE_CONNECTION_URI=" + shared.uri("postgres", ""), "PATCH_ON_MISSING_TABLE=fail"}, 4},
		"revert":   {[]string{"DATABASE_CONNECTION_URI=" + shared.uri("postgres", ""), "PATCH_ACTION=revert"}, 2},
		"dry run":  {[]string{"DATABASE_CONNECTION_URI=" + shared.uri("postgres", ""), "PATCH_DRY_RUN=true"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			execute(t, context.Background(), append(c.environ, "PATCH_WATCH=1s")...).expect(t, c.code)
		})
	}
}

// The index comes back every second, for as long as WATCH_SOAK says: each time it must be gone within the interval and
// what the change takes, and the program must end with the memory that it began with.
func TestWatchSoak(t *testing.T) {
	t.Parallel() // beside the tests that do the same
	length := 10 * time.Second
	if s := os.Getenv("WATCH_SOAK"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	const interval = 300 * time.Millisecond
	d := evolution(t, "public")
	p := start(t, "DATABASE_CONNECTION_URI="+d.uri(), "PATCH_WATCH="+interval.String())
	p.says("state=patched every=")
	var worst time.Duration
	var began, ended int
	looks := 0
	for end := time.Now().Add(length); time.Now().Before(end); looks++ {
		created := time.Now()
		d.exec(`CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`)
		if err := until(10*time.Second, func() error {
			if strings.Contains(d.indexes(), "apiKey") {
				return fmt.Errorf("the index is still there:\n%s", p.stderr.String())
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(created))
		if ended = resident(t, p.cmd.Process.Pid); looks == 3 {
			began = ended
		}
		<-time.After(time.Until(created.Add(time.Second)))
	}
	t.Logf("in %s the index came back %d times and stayed for %s at the longest (interval %s); resident memory %d kB, then %d kB", length, looks, worst, interval, began, ended)
	if worst > interval+2*time.Second {
		t.Errorf("it took %s", worst)
	}
	if ended > began+4096 {
		t.Errorf("memory grew from %d to %d kB", began, ended)
	}
	p.stop(syscall.SIGTERM).expect(t, 0, "patched: ", "changed=true")
}

// resident is a process' resident memory in kB.
func resident(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(regexp.MustCompile(`VmRSS:\s+(\d+)`).FindStringSubmatch(string(status))[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
