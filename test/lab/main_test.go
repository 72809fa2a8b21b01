// Package lab tries to break the program, and measures it: its time, its memory, and how long it makes others wait.
//
// Most tests here draw what they do. The seed is in the log of a test that fails; LAB_SEED repeats it. With LAB=10 they do
// ten times as much as by default, and with LAB=full what the nightly workflow does.
package lab

import (
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	out := os.Stdout
	if name := os.Getenv("LAB_COUNTS"); name != "" { // go test hides the standard output of a package that passes
		file, err := os.Create(name)
		if err != nil {
			log.Fatal(err)
		}
		out = file
	}
	counts.print(out)
	os.Exit(code)
}

// amount returns how often something is done: so many times by default, and at most full times.
func amount(short, full int) int {
	if os.Getenv("LAB") == "full" {
		return full
	}
	times, err := strconv.Atoi(os.Getenv("LAB"))
	if err != nil {
		times = 1
	}
	return min(short*times, full)
}

// isolated runs something that may end its goroutine, as t.Fatal does, and returns when it is over.
func isolated(f func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	<-done
}

// draw returns a source of random numbers, and logs its seed.
func draw(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("LAB_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("LAB_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// counter counts what was done, and the violations that were found, by the kind of fault. Main prints it.
type counter struct {
	mu    sync.Mutex
	kinds []string
	done  map[string]int
	bad   map[string]int
}

var counts = counter{done: map[string]int{}, bad: map[string]int{}}

// add counts n faults.
func (c *counter) add(kind string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.kinds, kind) {
		c.kinds = append(c.kinds, kind)
	}
	c.done[kind] += n
}

// violation counts a violation and fails the test.
func (c *counter) violation(t testing.TB, kind, format string, args ...any) {
	t.Helper()
	c.mu.Lock()
	c.bad[kind]++
	c.mu.Unlock()
	t.Errorf(format, args...)
}

func (c *counter) print(out io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kind := range c.kinds {
		fmt.Fprintf(out, "%s: %d, violations: %d\n", kind, c.done[kind], c.bad[kind])
	}
}
