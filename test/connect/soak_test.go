package connect

import (
	"os"
	"syscall"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

// The index is created again every second, for as long as WATCH_SOAK says. Each time it is dropped, and memory does not grow. How
// soon is a matter of the machine, and so only of the soak: within the interval and the time that the change takes.
func TestWatchSoak(t *testing.T) {
	t.Parallel() // with other tests that are mostly waiting
	length, soak := 10*time.Second, os.Getenv("WATCH_SOAK")
	if soak != "" {
		var err error
		if length, err = time.ParseDuration(soak); err != nil {
			t.Fatal(err)
		}
	}
	const interval = 300 * time.Millisecond
	d := pgtest.NewEvolution(t, "public")
	p := d.Start("PATCH_WATCH=" + interval.String())
	p.WaitFor("state=patched every=")
	var worst time.Duration
	var began, ended int
	looks := 0
	for end := time.Now().Add(length); time.Now().Before(end); looks++ {
		created := time.Now()
		createIndex(d)
		waitUntilDropped(t, d, p)
		worst = max(worst, time.Since(created))
		if ended = p.Resident(); looks == 3 {
			began = ended
		}
		<-time.After(time.Until(created.Add(time.Second)))
	}
	t.Logf("in %s the index was created %d times and existed for %s at most (interval %s); resident memory %d kB, then %d kB", length, looks, worst, interval, began, ended)
	if soak != "" && worst > interval+2*time.Second {
		t.Errorf("the index existed for %s", worst)
	}
	if ended > began+4096 {
		t.Errorf("memory grew from %d to %d kB", began, ended)
	}
	p.Stop(syscall.SIGTERM).Expect(t, 0, "patched: ", "changed=true")
}
