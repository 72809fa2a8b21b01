package lab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

// The contestants of BenchmarkAgainstPsql.
const (
	program   = iota
	psql      // which does not wait for a server
	shell     // what people have otherwise, a loop that waits and then psql
	statement // the least that a Go program takes for one statement
	questions // the least that one takes for the questions of a run with nothing to do
)

// The most that a run with nothing to do may take of the wall time of others. It takes 0.99 to 1.10 of psql's, and its questions alone
// 0.87 to 0.93, which is the server's time: one statement in Go takes less than half of psql's. The rest is room for a busy machine.
const (
	mostOfPsql      = 1.2
	mostOfQuestions = 1.35 // of those in Go; it takes 1.14 to 1.20
)

// A bound is the most that the program may take of what another takes.
type bound struct {
	what   string
	of     int // a contestant
	figure func(sample) time.Duration
	most   float64
}

// BenchmarkAgainstPsql runs the binary and others in turn, on the same database.
func BenchmarkAgainstPsql(b *testing.B) {
	fullLogins(b, pgtest.Shared)
	d := pgtest.NewEvolution(b, "evolution_api")
	logBinarySize(b)
	drop := fmt.Sprintf(dropIndex, d.Schema)
	ways := contestants(b, d, drop)
	b.Run("index to drop", func(b *testing.B) { // the program looks at the keys too, under the lock
		compare(b, func() { d.Exec(fmt.Sprintf(createIndex, d.Schema)) }, ways[:questions], []bound{
			{"wall time against psql", psql, wall, 2},
		})
	})
	b.Run("nothing to do", func(b *testing.B) {
		compare(b, func() { d.Exec(drop) }, ways, []bound{
			{"wall time against psql", psql, wall, mostOfPsql},
			{"wall time against the same questions in Go", questions, wall, mostOfQuestions},
			{"wall time against a loop of the shell", shell, wall, 0.7},
			{"CPU time against a loop of the shell", shell, cpu, 0.5},
		})
	})
}

// compare logs what each of the ways takes in the same rounds, each after prepare, and fails where the program exceeds a bound.
func compare(b *testing.B, prepare func(), ways []contestant, bounds []bound) {
	b.Helper()
	const rounds = 60
	samples := takeTurns(b, rounds, prepare, ways)
	for i, c := range ways {
		prepare()
		memory := peak(b, c.command())
		b.Logf("%s, median of %d: wall %v, CPU %v, peak memory %d kB; of psql %.2f and %.2f; the program takes %.2f and %.2f of it",
			c.name, rounds, median(column(samples[i], wall)), median(column(samples[i], cpu)), memory,
			ratio(samples[i], samples[psql], wall), ratio(samples[i], samples[psql], cpu),
			ratio(samples[program], samples[i], wall), ratio(samples[program], samples[i], cpu))
	}
	for _, limit := range bounds {
		atMost(b, limit.what, ratio(samples[program], samples[limit.of], limit.figure), limit.most)
	}
}

// contestants returns the ways to drop the index. The binary, whose questions are recorded, patches the database.
func contestants(b *testing.B, d *pgtest.Database, drop string) []contestant {
	b.Helper()
	measure(b, pgtest.Command(b, "DATABASE_CONNECTION_URI="+d.URI(), dropOnly))
	queries := recordQueries(b, d.Server, func(address string) {
		measure(b, pgtest.Command(b, "DATABASE_CONNECTION_URI="+d.URIThrough(address), dropOnly))
	})
	floor, uri := buildFloor(b), d.Server.URI(d.Name, "")
	return []contestant{
		program: {"the program", func() *exec.Cmd { return pgtest.Command(b, "DATABASE_CONNECTION_URI="+d.URI(), dropOnly) }},
		psql:    {"psql", func() *exec.Cmd { return clientCommand(b, d, "psql", "-qXwc", drop) }},
		shell: {"a loop of the shell", func() *exec.Cmd {
			return clientCommand(b, d, "sh", "-c", `until pg_isready -q; do sleep 1; done; psql -qXwc '`+drop+`'`)
		}},
		statement: {"one statement in Go", func() *exec.Cmd { return exec.Command(floor, uri, drop) }},
		questions: {"the same questions in Go", func() *exec.Cmd { return exec.Command(floor, append([]string{uri}, queries...)...) }},
	}
}

func logBinarySize(b *testing.B) {
	b.Helper()
	path, err := pgtest.Binary()
	if err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	size := float64(info.Size()) / 1e6
	b.Logf("binary: %.2f MB", size)
	atMost(b, "size of the binary in MB", size, 8)
}

// clientCommand returns a command in whose environment PostgreSQL's own programs find each other and the database.
func clientCommand(b *testing.B, d *pgtest.Database, name string, arguments ...string) *exec.Cmd {
	b.Helper()
	dir, err := pgtest.BinDir()
	if err != nil {
		b.Fatal(err)
	}
	if name != "sh" {
		name = filepath.Join(dir, name)
	}
	cmd := exec.Command(name, arguments...)
	cmd.Env = []string{
		"PATH=" + dir + ":/usr/bin:/bin", "LD_LIBRARY_PATH=" + filepath.Join(dir, "../lib"), "PGHOST=localhost", "PGPORT=" + d.Server.Port,
		"PGDATABASE=" + d.Name, "PGUSER=postgres", "PGPASSWORD=" + pgtest.Password, "PGSSLMODE=disable", "PGOPTIONS=-c client_min_messages=warning",
	}
	return cmd
}

// BenchmarkNotice measures the time from the moment that a server accepts connections until the program has ended, with the
// patch applied.
func BenchmarkNotice(b *testing.B) {
	fullLogins(b, pgtest.Shared)
	d := pgtest.NewEvolution(b, "evolution_api")
	var took []time.Duration
	for range 40 {
		d.Exec(`CREATE UNIQUE INDEX IF NOT EXISTS "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`)
		address := "localhost:" + pgtest.FreePort()
		cmd := pgtest.Command(b, "DATABASE_CONNECTION_URI="+d.URIThrough(address), dropOnly)
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		<-time.After(300*time.Millisecond + rand.N(700*time.Millisecond))
		network := new(pgtest.Network)
		network.ListenAt(b, address, pgtest.Shared.Address())
		began := time.Now()
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
		network.Close()
	}
	b.Logf("from a server that accepts connections to the end of the program: median %v, worst %v of %d", median(took), slices.Max(took), len(took))
}

// BenchmarkStall measures how long Evolution's queries wait while the program waits for a lock that an open transaction
// holds.
func BenchmarkStall(b *testing.B) {
	d := pgtest.NewEvolution(b, "evolution_api")
	holder := d.NewConn()
	pgtest.Exec(b, holder, `BEGIN; SELECT * FROM "OpenaiCreds"`)
	cmd := pgtest.Command(b, "DATABASE_CONNECTION_URI="+d.URI(), dropOnly)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	worst, queries := query(b, d, time.Now().Add(10*time.Second), 1)
	pgtest.Exec(b, holder, "COMMIT")
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	b.Logf("behind an open transaction of 10 s: the worst of %d queries waited %v", queries, worst)
	atMost(b, "seconds that a query waited behind an open transaction", worst.Seconds(), 0.5) // PATCH_LOCK_TIMEOUT is 50ms
}

// BenchmarkPadding measures how long Evolution's queries wait while 10,000 keys are padded.
func BenchmarkPadding(b *testing.B) {
	d := pgtest.NewEvolution(b, "evolution_api")
	d.InsertCredentials(10_000)
	update := timeUpdate(b, d)
	worst := make(chan time.Duration)
	go func() {
		w, _ := query(b, d, time.Now().Add(2*time.Second), 2)
		worst <- w
	}()
	<-time.After(500 * time.Millisecond)
	if err := pgtest.Command(b, "DATABASE_CONNECTION_URI="+d.URI(), "PATCH_FIXES=apikey-check", dropOnly).Run(); err != nil {
		b.Fatal(err)
	}
	b.Logf("10,000 keys padded: the worst query waited %v; the UPDATE alone takes %v, PATCH_LOCK_TIMEOUT is 50ms", <-worst, update)
}

// timeUpdate returns how long the UPDATE takes that pads the keys, and rolls it back.
func timeUpdate(b *testing.B, d *pgtest.Database) time.Duration {
	b.Helper()
	tx, err := d.Conn.Begin(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	began := time.Now()
	if _, err := tx.Exec(context.Background(), `UPDATE "OpenaiCreds" SET "apiKey" = rtrim("apiKey", ' ') || ' '`); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}
