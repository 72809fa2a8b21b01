package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// sample is one run of a whole process.
type sample struct {
	wall, cpu time.Duration
}

func measure(b *testing.B, cmd *exec.Cmd) sample {
	b.Helper()
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	s := cmd.ProcessState
	return sample{time.Since(began), s.UserTime() + s.SystemTime()}
}

// peak is a command's largest resident memory in kB, by GNU time: a child of this process would start with ours.
func peak(b *testing.B, cmd *exec.Cmd) string {
	b.Helper()
	timed := exec.Command("/usr/bin/time", append([]string{"-q", "-f", "%M", "--"}, append([]string{cmd.Path}, cmd.Args[1:]...)...)...)
	timed.Env = cmd.Env
	var stderr bytes.Buffer
	timed.Stderr = &stderr
	if err := timed.Run(); err != nil {
		b.Fatalf("%v: %s", err, stderr.String())
	}
	lines := strings.Fields(stderr.String())
	return lines[len(lines)-1]
}

func median[T ~int64](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

// column takes one figure out of all samples.
func column[T ~int64](samples []sample, figure func(sample) T) []T {
	var values []T
	for _, s := range samples {
		values = append(values, figure(s))
	}
	return values
}

func wall(s sample) time.Duration { return s.wall }
func cpu(s sample) time.Duration  { return s.cpu }

// BenchmarkAgainstPsql runs the binary and the real psql in turn, on the same database.
func BenchmarkAgainstPsql(b *testing.B) {
	const pairs = 60
	t := &testing.T{}
	d := evolution(t, "evolution_api")
	path, err := program()
	if err != nil {
		b.Fatal(err)
	}
	dir, err := bindir()
	if err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("binary: %.2f MB", float64(info.Size())/1e6)
	for _, work := range []struct{ name, before string }{
		{"index to drop", `CREATE UNIQUE INDEX IF NOT EXISTS "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`},
		{"nothing to do", `DROP INDEX IF EXISTS "OpenaiCreds_apiKey_key"`},
	} {
		us := func() *exec.Cmd {
			d.exec(work.before)
			cmd := exec.Command(path)
			cmd.Env = []string{"DATABASE_CONNECTION_URI=" + d.uri()}
			return cmd
		}
		psql := func() *exec.Cmd {
			d.exec(work.before)
			cmd := exec.Command(filepath.Join(dir, "psql"), "-qXw", "-h", "localhost", "-p", shared.port, "-U", "postgres", d.name,
				"-c", `DROP INDEX IF EXISTS evolution_api."OpenaiCreds_apiKey_key"`)
			cmd.Env = []string{"PGPASSWORD=" + password, "PGSSLMODE=disable", "LD_LIBRARY_PATH=" + filepath.Join(dir, "../lib")}
			return cmd
		}
		var ours, psqls []sample
		for range pairs {
			ours, psqls = append(ours, measure(b, us())), append(psqls, measure(b, psql()))
		}
		var ratios []int64
		for i := range ours {
			ratios = append(ratios, int64(1000*ours[i].wall/psqls[i].wall))
		}
		b.Logf("%s, median of %d pairs: wall %v (psql %v, %.2f of it pair by pair), CPU %v (psql %v), peak memory %s kB (psql %s)",
			work.name, pairs, median(column(ours, wall)), median(column(psqls, wall)), float64(median(ratios))/1000,
			median(column(ours, cpu)), median(column(psqls, cpu)),
			peak(b, us()), peak(b, psql()))
	}
}

// BenchmarkNotice measures from the moment that a server begins to accept until the program has ended, with the patch
// applied.
func BenchmarkNotice(b *testing.B) {
	d := evolution(&testing.T{}, "evolution_api")
	path, err := program()
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for range 40 {
		d.exec(`CREATE UNIQUE INDEX IF NOT EXISTS "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`)
		address := "localhost:" + freePort()
		cmd := exec.Command(path)
		cmd.Env = []string{"DATABASE_CONNECTION_URI=" + uriFor("postgres", address, d.name, d.schema)}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		<-time.After(300*time.Millisecond + rand.N(700*time.Millisecond))
		l, err := net.Listen("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		p := &proxy{}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go p.forward(c, "localhost:"+shared.port)
			}
		}()
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
		l.Close()
	}
	b.Logf("from a server that begins to accept to the end of the program: median %v, worst %v of %d", median(took), slices.Max(took), len(took))
}

// BenchmarkStall measures how long Evolution's queries wait while the program wants the lock that an open transaction
// keeps from it.
func BenchmarkStall(b *testing.B) {
	t := &testing.T{}
	d := evolution(t, "evolution_api")
	path, err := program()
	if err != nil {
		b.Fatal(err)
	}
	holder := d.another()
	mustExec(t, holder, `BEGIN; SELECT * FROM "OpenaiCreds"`)
	cmd := exec.Command(path)
	cmd.Env = []string{"DATABASE_CONNECTION_URI=" + d.uri()}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	worst, queries := stall(b, d, time.Now().Add(10*time.Second), 1)
	mustExec(t, holder, "COMMIT")
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	b.Logf("behind an open transaction of 10 s: the worst of %d queries waited %v", queries, worst)
}

// BenchmarkPadding measures how long Evolution's queries wait while 10,000 keys are padded.
func BenchmarkPadding(b *testing.B) {
	d := evolution(&testing.T{}, "evolution_api")
	d.rows(10_000)
	path, err := program()
	if err != nil {
		b.Fatal(err)
	}
	pad := []string{"DATABASE_CONNECTION_URI=" + d.uri(), "PATCH_FIXES=apikey-check"}
	update := func() time.Duration {
		tx, err := d.conn.Begin(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		defer tx.Rollback(context.Background())
		began := time.Now()
		if _, err := tx.Exec(context.Background(), `UPDATE "OpenaiCreds" SET "apiKey" = rtrim("apiKey", ' ') || ' '`); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}()
	cmd := exec.Command(path)
	cmd.Env = pad
	ended := make(chan error)
	worst := make(chan time.Duration)
	go func() {
		w, _ := stall(b, d, time.Now().Add(2*time.Second), 2)
		worst <- w
	}()
	<-time.After(500 * time.Millisecond)
	go func() { ended <- cmd.Run() }()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	b.Logf("10,000 keys padded: the worst query waited %v; the UPDATE alone takes %v, PATCH_LOCK_TIMEOUT is 50ms", <-worst, update)
}

// stall sends queries, one after the other on each connection, until the time is up, and tells the slowest.
func stall(b *testing.B, d *database, end time.Time, connections int) (worst time.Duration, queries int) {
	b.Helper()
	type result struct {
		worst   time.Duration
		queries int
	}
	results := make(chan result)
	for range connections {
		c, err := pgx.Connect(context.Background(), d.server.uri(d.name, ""))
		if err == nil {
			_, err = c.Exec(context.Background(), "SET search_path TO "+d.schema)
		}
		if err != nil {
			b.Fatal(fmt.Errorf("connect: %w", err))
		}
		go func() {
			defer c.Close(context.Background())
			var r result
			for time.Now().Before(end) {
				began := time.Now()
				if _, err := c.Exec(context.Background(), `SELECT id FROM "OpenaiCreds" WHERE "apiKey" = 'none' LIMIT 1`); err != nil {
					b.Error(err)
					break
				}
				r.worst = max(r.worst, time.Since(began))
				r.queries++
			}
			results <- r
		}()
	}
	for range connections {
		r := <-results
		worst, queries = max(worst, r.worst), queries+r.queries
	}
	return worst, queries
}
