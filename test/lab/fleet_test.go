package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

const (
	dropOnly    = "PATCH_KEEP_INDEX_NAMES=false" // as psql does in the comparison
	dropIndex   = `DROP INDEX IF EXISTS %s."OpenaiCreds_apiKey_key"`
	createIndex = `CREATE UNIQUE INDEX IF NOT EXISTS "OpenaiCreds_apiKey_key" ON %s."OpenaiCreds"("apiKey")`
)

// fleetSizes returns the sizes of the fleets that are measured. The largest takes a quarter of an hour, so BENCH_FLEET may be
// less than 1000.
func fleetSizes() []int {
	most, err := strconv.Atoi(os.Getenv("BENCH_FLEET"))
	return slices.DeleteFunc([]int{10, 100, 1000}, func(n int) bool { return err == nil && n > most })
}

// xargsPsql returns a command that runs psql for each line of input, four at a time.
func xargsPsql(b *testing.B, d *pgtest.Database, lines []string, arguments string) *exec.Cmd {
	b.Helper()
	cmd := clientCommand(b, d, "sh", "-c", "xargs -P 4 -I@ psql -qXw "+arguments)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	return cmd
}

// compareFleet runs the program and xargs with psql in turn, and logs the ratio of their times, which is to be most at most. It returns
// the program's largest resident memory in kB.
func compareFleet(b *testing.B, n int, name string, most float64, prepare func(), program, psql func() *exec.Cmd) (kB int) {
	b.Helper()
	rounds := 5
	if n >= 1000 { // each takes minutes
		rounds = 3
	}
	name = fmt.Sprintf("%d %s", n, name)
	samples := takeTurns(b, rounds, prepare, []contestant{{"the program", program}, {"psql", psql}})
	prepare()
	kB = peak(b, program())
	b.Logf("%s, median of %d: wall %v (psql -P 4: %v, %.2f of it round by round), CPU %v (psql %v, %.2f), peak memory %d kB", name, rounds,
		median(column(samples[0], wall)), median(column(samples[1], wall)), ratio(samples[0], samples[1], wall),
		median(column(samples[0], cpu)), median(column(samples[1], cpu)), ratio(samples[0], samples[1], cpu), kB)
	atMost(b, name+": wall time against psql -P 4", ratio(samples[0], samples[1], wall), most)
	return kB
}

// mostGrowth is the most by which the program's memory may grow from one database to many, in kB.
const mostGrowth = 8 << 10

// BenchmarkFleetOfDatabases compares one run over many databases with a psql for each.
func BenchmarkFleetOfDatabases(b *testing.B) {
	fullLogins(b, pgtest.Shared)
	server := pgtest.Shared
	template := pgtest.NewEvolution(b, "public")
	_ = template.Conn.Close(context.Background())
	program := func() *exec.Cmd {
		return pgtest.Command(b, "DATABASE_CONNECTION_URI="+server.URI("postgres", "public"), "PATCH_DATABASES=fleet_*", "PATCH_FIXES=apikey-index", dropOnly, "PATCH_LOG_LEVEL=error")
	}
	names := []string{"fleet_0000"}
	createDatabases(b, server, template.Name, names)
	memoryOfOne, growth := peak(b, program()), 0
	for _, n := range fleetSizes() {
		more := numbered(n)[len(names):]
		createDatabases(b, server, template.Name, more)
		names = append(names, more...)
		psql := func() *exec.Cmd {
			return xargsPsql(b, template, names, `-d @ -c '`+fmt.Sprintf(dropIndex, "public")+`'`)
		}
		for _, todo := range []bool{true, false} { // the first leaves nothing to do for the second
			prepare := func() {
				for _, name := range names {
					c := server.Connect(b, name)
					pgtest.Exec(b, c, fmt.Sprintf(createIndex, "public"))
					_ = c.Close(context.Background())
				}
			}
			most := map[int]float64{10: 1.1, 100: 0.95, 1000: 1.2}[n] // the server takes longer for each of 1,000, see docs/figures.md
			if todo {
				most = max(most, 1.1)
			} else {
				prepare = func() {}
			}
			growth = compareFleet(b, n, fmt.Sprintf("databases, work %t", todo), most, prepare, program, psql) - memoryOfOne
			atMost(b, "memory of many databases in kB beyond that of one", float64(growth), mostGrowth)
		}
	}
	b.Logf("peak memory %d kB with 1 database, %d kB more with %d", memoryOfOne, growth, len(names))
	most := server.CountSessions(b)
	measure(b, program())
	b.Logf("at most %d sessions at once", most())
	atMost(b, "sessions at once", float64(most()), 4)
}

// numbered returns n names.
func numbered(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("fleet_%04d", i))
	}
	return names
}

// createDatabases creates databases as copies of one that has no sessions.
func createDatabases(b *testing.B, server *pgtest.Server, template string, names []string) {
	b.Helper()
	admin := server.Connect(b, "postgres")
	for _, name := range names {
		pgtest.Exec(b, admin, "CREATE DATABASE "+name+" TEMPLATE "+template)
	}
}

// BenchmarkFleetOfSchemas compares one run over many schemas of a database with a psql for each.
func BenchmarkFleetOfSchemas(b *testing.B) {
	fullLogins(b, pgtest.Shared)
	server := pgtest.Shared
	d := pgtest.NewDatabase(b, "public")
	var names []string
	began := time.Now()
	for _, n := range fleetSizes() {
		for _, name := range numbered(n)[len(names):] {
			names = append(names, name)
			d.Exec(fmt.Sprintf(`CREATE SCHEMA %[1]s; CREATE TABLE %[1]s."OpenaiCreds"("id" text PRIMARY KEY, "name" varchar(255), "apiKey" varchar(255), "createdAt" timestamp, "updatedAt" timestamp NOT NULL, "instanceId" text NOT NULL);
				CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON %[1]s."OpenaiCreds"("name")`, name))
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
				return pgtest.Command(b, "DATABASE_CONNECTION_URI="+server.URI(d.Name, ""), "PATCH_SCHEMAS=*", "PATCH_FIXES=apikey-index", dropOnly, "PATCH_LOG_LEVEL=error")
			}
			psql := func() *exec.Cmd { return xargsPsql(b, d, names, `-c '`+fmt.Sprintf(dropIndex, "@")+`'`) }
			most := map[bool]float64{true: 0.5, false: 0.3}[todo]
			if n == 1000 {
				most = map[bool]float64{true: 0.3, false: 0.15}[todo]
			}
			compareFleet(b, n, fmt.Sprintf("schemas, work %t", todo), most, prepare, program, psql)
		}
	}
	b.Logf("made in %v", time.Since(began))
}
