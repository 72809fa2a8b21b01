package lab

import (
	"bytes"
	"cmp"
	"context"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"evolution-openai-patch/test/pgtest"
)

// A sample is the time of one run of a process.
type sample struct {
	wall, cpu time.Duration
}

// fullLogins makes a login take the 4096 iterations of SCRAM that it takes elsewhere, as most of a short session is its login. Tests
// do with one.
func fullLogins(b *testing.B, server *pgtest.Server) {
	b.Helper()
	c := server.Connect(b, "postgres")
	defer c.Close(context.Background())
	pgtest.Exec(b, c, "SET password_encryption = 'scram-sha-256'") // not the default of PostgreSQL 13
	pgtest.Exec(b, c, "ALTER ROLE postgres PASSWORD '"+pgtest.Password+"'")
}

// A contestant does some work in its way.
type contestant struct {
	name    string
	command func() *exec.Cmd
}

// takeTurns runs each contestant's command once in each round, after prepare, and returns the samples of each. Another begins in each
// round, so that none always follows the same one.
func takeTurns(b *testing.B, rounds int, prepare func(), contestants []contestant) [][]sample {
	b.Helper()
	samples := make([][]sample, len(contestants))
	for round := range rounds {
		for i := range contestants {
			turn := (round + i) % len(contestants)
			prepare()
			samples[turn] = append(samples[turn], measure(b, contestants[turn].command()))
		}
	}
	return samples
}

// measure runs a command. The CPU time is that of the process and of its children.
func measure(b *testing.B, cmd *exec.Cmd) sample {
	b.Helper()
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	s := cmd.ProcessState
	return sample{time.Since(began), s.UserTime() + s.SystemTime()}
}

// peak returns a command's largest resident memory in kB. GNU time runs the command, because a child of this process would
// start with the memory of this process.
func peak(b *testing.B, cmd *exec.Cmd) int {
	b.Helper()
	timed := exec.Command("/usr/bin/time", append([]string{"-q", "-f", "%M", "--"}, append([]string{cmd.Path}, cmd.Args[1:]...)...)...)
	timed.Env = cmd.Env
	var stderr bytes.Buffer
	timed.Stderr = &stderr
	if err := timed.Run(); err != nil {
		b.Fatalf("%v: %s", err, stderr.String())
	}
	fields := strings.Fields(stderr.String())
	kB, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil {
		b.Fatal(err)
	}
	return kB
}

func median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

// atMost fails the benchmark if a figure exceeds its bound. The bounds are of ratios and of sizes, and leave room for a machine that
// is busy with other things.
func atMost(b *testing.B, what string, got, most float64) {
	b.Helper()
	if got > most {
		b.Errorf("%s: %.2f, which is to be %.2f at most", what, got, most)
	}
}

// ratio returns the median of what was measured in each round, divided by what another took in the same round.
func ratio(samples, others []sample, figure func(sample) time.Duration) float64 {
	var ratios []float64
	for i := range samples {
		ratios = append(ratios, float64(figure(samples[i]))/float64(figure(others[i])))
	}
	return median(ratios)
}

// column returns one figure of all samples.
func column(samples []sample, figure func(sample) time.Duration) (values []time.Duration) {
	for _, s := range samples {
		values = append(values, figure(s))
	}
	return values
}

func wall(s sample) time.Duration { return s.wall }
func cpu(s sample) time.Duration  { return s.cpu }

// query sends queries until a time, one after the other on each of several connections. It returns the longest time that
// one took, and their number.
func query(b *testing.B, d *pgtest.Database, end time.Time, connections int) (worst time.Duration, queries int) {
	b.Helper()
	type result struct {
		worst   time.Duration
		queries int
	}
	results := make(chan result)
	for range connections {
		go func(c *pgx.Conn) {
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
		}(d.NewConn())
	}
	for range connections {
		r := <-results
		worst, queries = max(worst, r.worst), queries+r.queries
	}
	return worst, queries
}
