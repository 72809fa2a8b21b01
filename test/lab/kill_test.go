package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

// instants draws instants of a run that takes so long, and a little after it.
func instants(r *rand.Rand, took time.Duration, n int) (drawn []time.Duration) {
	for range n {
		drawn = append(drawn, time.Duration(r.Int64N(int64(took)*5/4)))
	}
	return drawn
}

// kills makes a number of kills in each of some conversations, with and without a watch, two at a time.
func kills(t *testing.T, n int, names []string, kill func(*bench, time.Duration, ...string)) {
	r := draw(t)
	for _, c := range conversations(t) {
		if !slices.Contains(names, c.name) {
			continue
		}
		b := c.newBench(t)
		b.measure(true)
		began := time.Now()
		b.start(b.environ...).Wait().Expect(t, 0)
		took := time.Since(began)
		b.reset()
		at := make(chan time.Duration)
		var group sync.WaitGroup
		for range 2 {
			b := c.newBench(t)
			group.Go(func() {
				for n := 0; ; n++ {
					instant, more := <-at
					if !more {
						return
					}
					var watch []string
					if n%2 > 0 && c.name == "apply" {
						watch = []string{"PATCH_WATCH=100ms"}
					}
					isolated(func() { kill(b, instant, watch...) })
				}
			})
		}
		for _, instant := range instants(r, took, n/len(names)) {
			at <- instant
		}
		close(at)
		group.Wait()
	}
}

// start starts the built binary on the database.
func (b *bench) start(environ ...string) *pgtest.Process {
	if b.dir != "" {
		environ = append(slices.Clip(environ), "PATCH_BACKUP_DIR="+b.dir)
	}
	return b.databases[0].Start(environ...)
}

// settled waits until no session of the program is left, and returns what the database is like.
func (b *bench) settled() (now string, err error) {
	d := b.databases[0]
	err = pgtest.Until(func() error {
		if n := d.Text(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'evolution-openai-patch%'`); n != "0" {
			return fmt.Errorf("%s sessions of the program are left", n)
		}
		return nil
	})
	now = d.Snapshot()
	if now != b.before && now != b.after {
		err = errors.Join(err, fmt.Errorf("the database is neither as before nor as after:\n%s", pgtest.FirstDifference(b.before, now)))
	}
	return now, err
}

// converge requires that a plain run does what is left to do, and resets the databases.
func (b *bench) converge(kind string, at time.Duration) {
	if o := b.run(pgtest.Shared.Address(), b.environ...); o.Code != 0 || b.databases[0].Snapshot() != b.after {
		counts.violation(b.t, kind, "%s, after %v: the second run: exit status %d\n%s%s", b.name, at, o.Code, o.Stderr, o.Stdout)
	}
	b.reset()
}

// The program is killed at any instant. The database is as before or as after, and a second run does the rest.
func TestProgramIsKilled(t *testing.T) {
	t.Parallel()
	const kind = "kills of the program"
	kills(t, amount(48, 500), []string{"apply", "revert", "guard", "backup"}, func(b *bench, at time.Duration, watch ...string) {
		p := b.start(append(slices.Clip(b.environ), watch...)...)
		<-time.After(at)
		_ = p.Cmd.Process.Kill()
		<-p.Done
		now, err := b.settled()
		if err != nil {
			counts.violation(b.t, kind, "%s, killed after %v: %v", b.name, at, err)
		}
		if strings.Contains(p.Stdout.String(), b.says+": ") && now != b.after {
			counts.violation(b.t, kind, "%s, killed after %v: it reported %s", b.name, at, p.Stdout.String())
		}
		if b.dir != "" {
			for _, file := range pgtest.Glob(b.t, b.dir, ".backup-*") {
				_ = os.Remove(file) // nobody but the program could have, and it has no name that is taken for a backup
			}
			if err := b.checkBackups(); err != nil {
				counts.violation(b.t, kind, "%s, killed after %v: %v", b.name, at, err)
			}
		}
		pgtest.Record(pgtest.Outcome{Stdout: p.Stdout.String(), Stderr: p.Stderr.String()})
		counts.add(kind, 1)
		b.converge(kind, at)
	})
}

// Its session is ended by an administrator at any instant. The program connects again and does its work.
func TestBackendIsKilled(t *testing.T) {
	t.Parallel()
	const kind = "kills of its backend"
	kills(t, amount(21, 100), []string{"apply", "revert", "guard"}, func(b *bench, at time.Duration, watch ...string) {
		p := b.start(append(slices.Clip(b.environ), watch...)...)
		<-time.After(at)
		b.databases[0].Text(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'evolution-openai-patch%'`)
		if watch != nil {
			p.WaitFor("state=" + b.says + " every=")
			_ = p.Cmd.Process.Signal(syscall.SIGTERM)
		}
		o := p.Wait()
		now, err := b.settled()
		if err != nil || o.Code != 0 || now != b.after || !strings.HasPrefix(o.Stdout, b.says+": ") || strings.Contains(o.Stdout, "changed=false") {
			counts.violation(b.t, kind, "%s, ended after %v: exit status %d, %v\n%s%s", b.name, at, o.Code, err, o.Stderr, o.Stdout)
		}
		counts.add(kind, 1)
		b.converge(kind, at)
	})
}

// The server crashes at any instant while the program applies or reverts and another watches. Both go on once it is back.
func TestServerIsKilled(t *testing.T) {
	t.Parallel()
	const kind = "kills of the server"
	r := draw(t)
	s := pgtest.NewServer(t)
	watched, changed := newEvolutionOn(t, s), newEvolutionOn(t, s)
	before := changed.Catalog()
	watch := watched.Start("PATCH_WATCH=100ms")
	watch.WaitFor("state=patched every=")
	says := "patched"
	for _, at := range instants(r, 100*time.Millisecond, amount(5, 50)) {
		watched.Exec(`CREATE UNIQUE INDEX IF NOT EXISTS again ON "OpenaiCreds"("apiKey")`)
		action := map[string]string{"patched": "apply", "unpatched": "revert"}[says]
		p := changed.Start(pgtest.AllFixes, "PATCH_ACTION="+action)
		<-time.After(at)
		s.Kill()
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		watched, changed = s.OpenDatabase(t, watched.Name, "public"), s.OpenDatabase(t, changed.Name, "public")
		o := p.Wait()
		if o.Code != 0 || !strings.HasPrefix(o.Stdout, says+": ") {
			counts.violation(t, kind, "%s, killed after %v: exit status %d\n%s%s", action, at, o.Code, o.Stderr, o.Stdout)
		}
		if now := changed.Catalog(); (pgtest.SortRows(now) == pgtest.SortRows(before)) != (says == "unpatched") {
			counts.violation(t, kind, "%s, killed after %v: the database is as it was: %t", action, at, says == "patched")
		}
		if err := pgtest.Until(func() error {
			if indexes := watched.Indexes(); strings.Contains(indexes, "again") {
				return errors.New(indexes)
			}
			return nil
		}); err != nil {
			counts.violation(t, kind, "the watch does not recover: %v\n%s", err, watch.Stderr.String())
		}
		counts.add(kind, 1)
		says = map[string]string{"patched": "unpatched", "unpatched": "patched"}[says]
	}
	watch.Stop(syscall.SIGTERM).Expect(t, 0, "patched: ", "changed=true")
}

// newEvolutionOn creates a database as Evolution leaves it, with credentials, on a server of the test's own.
func newEvolutionOn(t *testing.T, s *pgtest.Server) *pgtest.Database {
	t.Helper()
	d := s.NewDatabase(t, "public")
	d.Migrate(pgtest.Last)
	d.Exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one')`)
	d.InsertCredentials(200)
	return d
}
