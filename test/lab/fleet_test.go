package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"evolution-openai-patch/test/pgtest"
)

const (
	dropIndex   = `DROP INDEX IF EXISTS %s."OpenaiCreds_apiKey_key"`
	createIndex = `CREATE UNIQUE INDEX IF NOT EXISTS "OpenaiCreds_apiKey_key" ON %s."OpenaiCreds"("apiKey")`
)

// fleetSizes returns the sizes of the fleets that are measured. The largest takes a quarter of an hour, so BENCH_FLEET may be
// less than 1000.
func fleetSizes() []int {
	most, err := strconv.Atoi(os.Getenv("BENCH_FLEET"))
	return slices.DeleteFunc([]int{10, 100, 1000}, func(n int) bool { return err == nil && n > most })
}

// xargsPsql returns a shell command that runs psql for each line of input, four at a time.
func xargsPsql(b *testing.B, s *pgtest.Server, lines []string, arguments string) *exec.Cmd {
	b.Helper()
	dir, err := pgtest.BinDir()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", fmt.Sprintf(`xargs -P 4 -I@ %s -qXw -h localhost -p %s -U postgres %s`, filepath.Join(dir, "psql"), s.Port, arguments))
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	cmd.Env = []string{"PATH=/usr/bin:/bin", "PGPASSWORD=" + pgtest.Password, "PGSSLMODE=disable", "PGOPTIONS=-c client_min_messages=warning", "LD_LIBRARY_PATH=" + filepath.Join(dir, "../lib")}
	return cmd
}

// compareFleet runs the program and xargs with psql in turn, and logs the ratio of their times, which is to be most at most.
func compareFleet(b *testing.B, name string, most float64, prepare func(), program, psql func() *exec.Cmd) {
	b.Helper()
	var ratios []int64
	var ours, theirs []sample
	for range 3 {
		prepare()
		ours = append(ours, measure(b, program()))
		prepare()
		theirs = append(theirs, measure(b, psql()))
		ratios = append(ratios, int64(1000*ours[len(ours)-1].wall/theirs[len(theirs)-1].wall))
	}
	ratio := float64(median(ratios)) / 1000
	b.Logf("%s: wall %v (psql -P 4: %v, %.2f of it pair by pair), CPU %v (psql %v), peak memory %s kB", name,
		median(column(ours, wall)), median(column(theirs, wall)), ratio,
		median(column(ours, cpu)), median(column(theirs, cpu)), peak(b, program()))
	atMost(b, name+": wall time against psql -P 4", ratio, most)
}

// BenchmarkFleetOfDatabases compares one run over many databases with a psql for each.
func BenchmarkFleetOfDatabases(b *testing.B) {
	fullLogins(b)
	server := pgtest.Shared
	template := pgtest.NewEvolution(b, "public")
	_ = template.Conn.Close(context.Background())
	admin := server.Connect(b, "postgres")
	var names []string
	for _, n := range fleetSizes() {
		for i := len(names); i < n; i++ {
			names = append(names, fmt.Sprintf("fleet_%04d", i))
			pgtest.Exec(b, admin, "CREATE DATABASE "+names[i]+" TEMPLATE "+template.Name)
		}
		for _, todo := range []bool{true, false} { // the first leaves nothing to do for the second
			prepare := func() {
				for _, name := range names {
					c := server.Connect(b, name)
					pgtest.Exec(b, c, fmt.Sprintf(createIndex, "public"))
					_ = c.Close(context.Background())
				}
			}
			if !todo {
				prepare = func() {}
			}
			program := func() *exec.Cmd {
				return pgtest.Command(b, "DATABASE_CONNECTION_URI="+server.URI("postgres", "public"), "PATCH_DATABASES=fleet_*", "PATCH_FIXES=apikey-index", "PATCH_LOG_LEVEL=error")
			}
			psql := func() *exec.Cmd { return xargsPsql(b, server, names, `-d @ -c '`+fmt.Sprintf(dropIndex, "public")+`'`) }
			most := 1.1
			if n > 100 { // the server takes longer for each, see docs/figures.md
				most = 1.2
			}
			compareFleet(b, fmt.Sprintf("%d databases, work %t", n, todo), most, prepare, program, psql)
		}
	}
	b.Logf("at most %d connections at once", mostConnections(b, server, func() {
		measure(b, pgtest.Command(b, "DATABASE_CONNECTION_URI="+server.URI("postgres", "public"), "PATCH_DATABASES=fleet_*"))
	}))
}

// mostConnections returns the largest number of connections of the program that the server counts while f runs.
func mostConnections(b *testing.B, s *pgtest.Server, f func()) (most int) {
	b.Helper()
	c := s.Connect(b, "postgres")
	var ended atomic.Bool
	counted := make(chan int)
	go func() {
		most := 0
		for !ended.Load() {
			most = max(most, countConnections(c))
		}
		counted <- most
	}()
	f()
	ended.Store(true)
	return <-counted
}

func countConnections(c *pgx.Conn) (n int) {
	_ = c.QueryRow(context.Background(), `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'evolution-openai-patch'`).Scan(&n)
	return n
}

// BenchmarkFleetOfSchemas compares one run over many schemas of a database with a psql for each.
func BenchmarkFleetOfSchemas(b *testing.B) {
	fullLogins(b)
	server := pgtest.Shared
	d := pgtest.NewDatabase(b, "public")
	var names []string
	began := time.Now()
	for _, n := range fleetSizes() {
		for i := len(names); i < n; i++ {
			names = append(names, fmt.Sprintf("fleet_%04d", i))
			d.Exec(fmt.Sprintf(`CREATE SCHEMA %[1]s; CREATE TABLE %[1]s."OpenaiCreds"("id" text PRIMARY KEY, "name" varchar(255), "apiKey" varchar(255), "createdAt" timestamp, "updatedAt" timestamp NOT NULL, "instanceId" text NOT NULL);
				CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON %[1]s."OpenaiCreds"("name")`, names[i]))
		}
		for _, todo := range []bool{true, false} { // the first leaves nothing to do for the second
			prepare := func() {
				for _, name := range names {
					d.Exec(fmt.Sprintf(createIndex, name))
				}
			}
			if !todo {
				prepare = func() {}
			}
			program := func() *exec.Cmd {
				return pgtest.Command(b, "DATABASE_CONNECTION_URI="+server.URI(d.Name, ""), "PATCH_SCHEMAS=*", "PATCH_FIXES=apikey-index", "PATCH_LOG_LEVEL=error")
			}
			psql := func() *exec.Cmd {
				return xargsPsql(b, server, names, `-d `+d.Name+` -c '`+fmt.Sprintf(dropIndex, "@")+`'`)
			}
			compareFleet(b, fmt.Sprintf("%d schemas, work %t", n, todo), map[bool]float64{true: 0.5, false: 0.3}[todo], prepare, program, psql)
		}
	}
	b.Logf("made in %v", time.Since(began))
}
