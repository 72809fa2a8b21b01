package lab

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"evolution-openai-patch/test/pgtest"
)

const (
	watchInterval = 30 * time.Second
	watchGrowth   = 512 // kB by which the memory of the last third of a watch may exceed that of the second
)

// watchTime returns how long a watch is measured: 10 minutes, or BENCH_WATCH, and at least six intervals.
func watchTime() time.Duration {
	d, err := time.ParseDuration(os.Getenv("BENCH_WATCH"))
	if err != nil {
		d = 10 * time.Minute
	}
	return max(d, 6*watchInterval)
}

// watchedFleet is a server with 200 databases, of which the last 20 stall later.
type watchedFleet struct {
	*pgtest.Server
	names   []string
	healthy []*pgx.Conn // to the first 180
}

func newWatchedFleet(b *testing.B) *watchedFleet {
	b.Helper()
	f := &watchedFleet{Server: pgtest.NewServer(b), names: numbered(200)}
	fullLogins(b, f.Server)
	createDatabases(b, f.Server, f.Template(b, "public", pgtest.Last), f.names)
	for _, name := range f.names[:180] {
		f.healthy = append(f.healthy, f.Connect(b, name))
	}
	return f
}

// watch starts the program with its own limits.
func (f *watchedFleet) watch(b *testing.B, connections int) *pgtest.Process {
	b.Helper()
	return pgtest.StartCommand(b, pgtest.Command(b,
		"DATABASE_CONNECTION_URI="+f.URI("postgres", "public"), "PATCH_DATABASES=fleet_*", pgtest.IndexOnly,
		fmt.Sprintf("PATCH_WATCH=%v", watchInterval), fmt.Sprintf("PATCH_CONNECTIONS=%d", connections)))
}

// handle creates the index in the healthy databases, and returns how long the watch takes to drop it in all of them. After the limit
// it gives up: left says in how many it still is.
func (f *watchedFleet) handle(b *testing.B, limit time.Duration) (took time.Duration, left int) {
	b.Helper()
	for _, c := range f.healthy {
		pgtest.Exec(b, c, fmt.Sprintf(createIndex, "public"))
	}
	unhandled, began := slices.Clone(f.healthy), time.Now()
	for len(unhandled) > 0 && time.Since(began) < limit {
		<-time.After(200 * time.Millisecond)
		unhandled = slices.DeleteFunc(unhandled, func(c *pgx.Conn) bool {
			return pgtest.Text(b, c, `to_regclass('public."OpenaiCreds_apiKey_key"')`) == ""
		})
	}
	return time.Since(began), len(unhandled)
}

// BenchmarkWatch measures the memory and the sessions of a watch over 200 databases.
func BenchmarkWatch(b *testing.B) {
	f := newWatchedFleet(b)
	sessions := f.CountSessions(b)
	p := f.watch(b, 4)
	began := time.Now()
	took, left := f.handle(b, watchTime()/3)
	b.Logf("a watch over 200 databases: the index is dropped in 180 of them in %v, left in %d", took, left)
	var thirds [3][]int // of the time, the resident memory
	for elapsed := time.Since(began); elapsed < watchTime(); elapsed = time.Since(began) {
		third := &thirds[3*elapsed/watchTime()]
		*third = append(*third, p.Resident())
		<-time.After(500 * time.Millisecond)
	}
	b.Logf("%v of a watch over 200 databases: memory %d, %d, %d kB in the thirds of the time, peak %d kB; %d sessions at once",
		watchTime(), median(thirds[0]), median(thirds[1]), median(thirds[2]), p.HighWater(), sessions())
	atMost(b, "memory of the last third of a watch in kB", float64(median(thirds[2])), float64(median(thirds[1])+watchGrowth))
	atMost(b, "sessions of a watch", float64(sessions()), 4)
}

// BenchmarkWatchStalled measures how many sessions a watch has while 20 of its databases stall, and how soon it handles the others.
func BenchmarkWatchStalled(b *testing.B) {
	f := newWatchedFleet(b)
	for _, connections := range []int{4, 1} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) { f.stalled(b, connections) })
	}
}

func (f *watchedFleet) stalled(b *testing.B, connections int) {
	const limit = 6 * watchInterval
	p := f.watch(b, connections)
	sessions := f.CountSessions(b)
	p.WaitFor("msg=" + pgtest.Watching)
	alone, _ := f.handle(b, limit)
	unstalled := sessions()
	release := f.Stall(b, f.names[180:]...)
	sessions = f.CountSessions(b)
	began := time.Now()
	var worst time.Duration
	for time.Since(began) < limit {
		took, left := f.handle(b, limit)
		b.Logf("20 of 200 databases stall: the index is dropped in the others in %v, left in %d", took, left)
		worst = max(worst, took)
	}
	most := sessions()
	release()
	b.Logf("PATCH_CONNECTIONS=%d: 180 databases in %v, %d sessions at once; while 20 others stall, %v at worst, %d sessions in %v",
		connections, alone, unstalled, worst, most, time.Since(began))
	_ = p.Cmd.Process.Signal(os.Interrupt)
	<-p.Done
	atMost(b, "sessions of a watch", float64(unstalled), float64(connections))
	atMost(b, "sessions of a watch while databases stall", float64(most), float64(2*connections))
	// Two intervals, or what as few connections take without those that stall.
	atMost(b, "seconds until the others are handled", worst.Seconds(), max(2*watchInterval, alone+watchInterval/2).Seconds())
}
