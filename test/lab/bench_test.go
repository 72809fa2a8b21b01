package lab

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

// BenchmarkAgainstPsql runs the binary and psql in turn, on the same database.
func BenchmarkAgainstPsql(b *testing.B) {
	const pairs = 60
	fullLogins(b)
	d := pgtest.NewEvolution(b, "evolution_api")
	logBinarySize(b)
	for _, work := range []struct {
		name, before string
		most         float64 // times psql's wall time
	}{
		{"index to drop", `CREATE UNIQUE INDEX IF NOT EXISTS "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`, 2}, // it looks at the keys too, under the lock
		{"nothing to do", `DROP INDEX IF EXISTS "OpenaiCreds_apiKey_key"`, 1.5},
	} {
		program := func() *exec.Cmd {
			d.Exec(work.before)
			return pgtest.Command(b, "DATABASE_CONNECTION_URI="+d.URI())
		}
		psql := func() *exec.Cmd {
			d.Exec(work.before)
			return dropWithPsql(b, d)
		}
		var ours, psqls []sample
		for range pairs {
			ours, psqls = append(ours, measure(b, program())), append(psqls, measure(b, psql()))
		}
		var ratios []int64
		for i := range ours {
			ratios = append(ratios, int64(1000*ours[i].wall/psqls[i].wall))
		}
		ratio := float64(median(ratios)) / 1000
		b.Logf("%s, median of %d pairs: wall %v (psql %v, %.2f of it pair by pair), CPU %v (psql %v), peak memory %s kB (psql %s)",
			work.name, pairs, median(column(ours, wall)), median(column(psqls, wall)), ratio,
			median(column(ours, cpu)), median(column(psqls, cpu)),
			peak(b, program()), peak(b, psql()))
		atMost(b, work.name+": wall time against psql", ratio, work.most)
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

// dropWithPsql returns a psql command that drops the index.
func dropWithPsql(b *testing.B, d *pgtest.Database) *exec.Cmd {
	b.Helper()
	dir, err := pgtest.BinDir()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "psql"), "-qXw", "-h", "localhost", "-p", d.Server.Port, "-U", "postgres", d.Name,
		"-c", `DROP INDEX IF EXISTS evolution_api."OpenaiCreds_apiKey_key"`)
	cmd.Env = []string{"PGPASSWORD=" + pgtest.Password, "PGSSLMODE=disable", "LD_LIBRARY_PATH=" + filepath.Join(dir, "../lib")}
	return cmd
}

// BenchmarkNotice measures the time from the moment that a server accepts connections until the program has ended, with the
// patch applied.
func BenchmarkNotice(b *testing.B) {
	fullLogins(b)
	d := pgtest.NewEvolution(b, "evolution_api")
	var took []time.Duration
	for range 40 {
		d.Exec(`CREATE UNIQUE INDEX IF NOT EXISTS "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`)
		address := "localhost:" + pgtest.FreePort()
		cmd := pgtest.Command(b, "DATABASE_CONNECTION_URI="+d.URIThrough(address))
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
	cmd := pgtest.Command(b, "DATABASE_CONNECTION_URI="+d.URI())
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
	if err := pgtest.Command(b, "DATABASE_CONNECTION_URI="+d.URI(), "PATCH_FIXES=apikey-check").Run(); err != nil {
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
