package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"evolution-openai-patch/test/pgtest"
)

// traffic is what an Evolution does meanwhile.
type traffic struct {
	statements, refused atomic.Int64
	worst               atomic.Int64 // wait, in ns
}

// run sends statements like Evolution's until ctx ends. None may fail, except those that a unique index itself refuses.
func (f *traffic) run(ctx context.Context, t *testing.T, c *pgx.Conn, worker int, r *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		id, key := fmt.Sprintf("w%d-%d", worker, n%20), fmt.Sprintf("sk-%d", r.IntN(200))
		sql := []string{
			`SELECT id FROM "OpenaiCreds" WHERE "apiKey" = $1 LIMIT 1`,
			`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ($2, $2, $1, now(), 'i2')`,
			`SELECT "apiKey" FROM "OpenaiCreds" WHERE id = $2 AND "apiKey" <> $1`,
			`UPDATE "OpenaiCreds" SET "updatedAt" = now(), name = $2 WHERE id = $2 AND "apiKey" <> $1`,
			`DELETE FROM "OpenaiCreds" WHERE id = $2 AND "apiKey" <> $1 || 'x'`,
		}[n%5]
		began := time.Now()
		_, err := c.Exec(context.Background(), strings.ReplaceAll(strings.ReplaceAll(sql, "$1", "'"+key+"'"), "$2", "'"+id+"'"))
		f.worst.Store(max(f.worst.Load(), int64(time.Since(began))))
		f.statements.Add(1)
		var pgErr *pgconn.PgError
		switch {
		case errors.As(err, &pgErr) && pgErr.Code == "23505":
			f.refused.Add(1)
		case err != nil:
			counts.violation(t, "statements beside fifty runs", "%s: %v", sql, err)
			return
		}
	}
}

// Fifty runs with all kinds of requests at once, beside Evolution's statements and a migration of its: no statement fails but
// for what a unique index refuses, nobody becomes the victim of a deadlock, the migration succeeds, and each run ends with
// one of the answers that are right at some moment.
func TestFiftyMixed(t *testing.T) {
	t.Parallel()
	const kind = "statements beside fifty runs"
	r := draw(t)
	for range amount(1, 20) {
		d := pgtest.NewMigrated(t, "evolution_api", "20250116001415")
		d.Exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two')`)
		d.InsertCredentials(300)
		ctx, stop := context.WithCancel(context.Background())
		var f traffic
		var evolution, runs sync.WaitGroup
		for worker := range 6 {
			c, r := d.NewConn(), rand.New(rand.NewPCG(r.Uint64(), 0))
			evolution.Go(func() { f.run(ctx, t, c, worker, r) })
		}
		prisma := d.NewConn()
		runs.Go(func() {
			if err := pgtest.Migrate(prisma, pgtest.Last); err != nil {
				counts.violation(t, kind, "the migration: %v", err)
			}
		})
		for range 50 {
			environ, codes := drawRun(r)
			runs.Go(func() {
				o := pgtest.RunArgs(context.Background(), nil, slices.Concat(pgtest.Patient, []string{"DATABASE_CONNECTION_URI=" + d.URI()}, environ))
				if !codes[o.Code] {
					counts.violation(t, kind, "%q: exit status %d\n%s%s", environ, o.Code, o.Stderr, o.Stdout)
				}
			})
		}
		runs.Wait()
		stop()
		evolution.Wait()
		if n := d.Text(`SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`); n != "0" {
			counts.violation(t, kind, "%s deadlocks", n)
		}
		d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ")
		counts.add(kind, int(f.statements.Load()))
		t.Logf("%d statements, %d of them refused by an index; the longest took %v", f.statements.Load(), f.refused.Load(), time.Duration(f.worst.Load()))
	}
}

// drawRun draws the environment of a run, and the exit statuses that are right for it.
func drawRun(r *rand.Rand) (environ []string, codes map[int]bool) {
	fixes := []string{"auto", "apikey-index", "apikey-index,apikey-check", "apikey-index,apikey-check,name-index", "name-index"}[r.IntN(5)]
	environ = []string{"PATCH_FIXES=" + fixes, fmt.Sprintf("PATCH_KEEP_INDEX_NAMES=%t", r.IntN(2) > 0)}
	switch r.IntN(5) {
	case 0:
		return append(environ, "PATCH_ACTION=status"), map[int]bool{0: true, 5: true}
	case 1:
		return append(environ, "PATCH_ACTION=revert"), map[int]bool{0: true, 3: true} // credentials may share a key
	case 2:
		return append(environ, pgtest.Guard), map[int]bool{0: true}
	}
	return environ, map[int]bool{0: true}
}
