package lab

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

// jumpingBinary builds the program with another time.Now: the wall clock jumps by a year or more about fifteen times a second,
// back and forth. As on a machine whose clock is set, the monotonic clock does not.
func jumpingBinary(t *testing.T) (path string) {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	const reads = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if !strings.Contains(string(source), reads) {
		t.Fatalf("%s does not read the clock as in Go 1.26", original)
	}
	jumps := strings.Replace(string(source), reads, reads+"\tsec += (mono>>26&3 - 1) * 365 * 24 * 60 * 60\n", 1)
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	for file, content := range map[string]string{changed: jumps, overlay: fmt.Sprintf(`{"Replace": {%q: %q}}`, original, changed)} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(dir, "jumping")
	build := pgtest.RootCommand("scripts/build.sh", path, "test")
	build.Env = append(os.Environ(), "GOFLAGS=-overlay="+overlay)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// jumping is the program with that clock.
type jumping struct{ path string }

// start starts it with exactly this environment.
func (j jumping) start(t *testing.T, uri string, environ ...string) *pgtest.Process {
	t.Helper()
	cmd := exec.Command(j.path)
	cmd.Env = append(environ, "DATABASE_CONNECTION_URI="+uri)
	return pgtest.StartCommand(t, cmd)
}

// The clock jumps by years: nothing is given up early, nothing lasts, and a watch looks as often as it should.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	j := jumping{jumpingBinary(t)}
	t.Run("server that is not there", j.serverIsAbsent)
	t.Run("server that does not answer", j.serverIsSilent)
	t.Run("table in use", j.tableIsInUse)
	t.Run("watch", j.watch)
}

func (j jumping) serverIsAbsent(t *testing.T) {
	s := pgtest.NewStoppedServer(t)
	both := s.URI("postgres", "") + " " + s.URI("template1", "")
	late := j.start(t, both)
	expectPatience(t, func() {
		j.start(t, both, "PATCH_WAIT_TIMEOUT=2s").Wait().Expect(t, 4, pgtest.GaveUp+"2s: ")
	})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	late.Wait().Expect(t, 0, "guarded: ")
}

func (j jumping) serverIsSilent(t *testing.T) {
	address := pgtest.Listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	uri := pgtest.URI("postgres", address, "postgres", "")
	expectPatience(t, func() {
		j.start(t, uri, "PATCH_CONNECT_TIMEOUT=1s", "PATCH_WAIT_TIMEOUT=2s").Wait().Expect(t, 4, pgtest.NoAnswer)
	})
}

func (j jumping) tableIsInUse(t *testing.T) {
	d := pgtest.NewEvolution(t, "public")
	transaction := d.NewConn()
	pgtest.Exec(t, transaction, `BEGIN; LOCK TABLE "OpenaiCreds" IN ACCESS SHARE MODE`)
	late := j.start(t, d.URI())
	expectPatience(t, func() {
		j.start(t, d.URI(), "PATCH_LOCK_RETRY=2s").Wait().Expect(t, 1, pgtest.StayedInUse+"2s")
	})
	pgtest.Exec(t, transaction, "ROLLBACK")
	late.Wait().Expect(t, 0, "patched: ", "changed=true")
}

// expectPatience requires that a run that is given two seconds does not give up within one. It need not use up both, as it does
// not begin a delay that would end too late.
func expectPatience(t *testing.T, run func()) {
	t.Helper()
	began := time.Now()
	if run(); time.Since(began) < time.Second {
		t.Errorf("gave up after %v", time.Since(began))
	}
}

func (j jumping) watch(t *testing.T) {
	const createIndex = `CREATE UNIQUE INDEX again ON "OpenaiCreds"("apiKey")`
	often, seldom := pgtest.NewEvolution(t, "public"), pgtest.NewEvolution(t, "public")
	p, hourly := j.start(t, often.URI(), "PATCH_WATCH=100ms"), j.start(t, seldom.URI(), "PATCH_WATCH=1h")
	hourly.WaitFor("state=patched every=")
	seldom.Exec(createIndex)
	for range 10 {
		mustDrop(t, often)
		often.Exec(createIndex)
	}
	mustDrop(t, often)
	if !isUnique(seldom) {
		t.Error("a watch of every hour looked again within seconds")
	}
	hourly.Stop(syscall.SIGTERM).Expect(t, 0, "patched: ", "changed=true")
	o := p.Stop(syscall.SIGTERM)
	o.Expect(t, 0, "patched: ", "changed=true")
	if regexp.MustCompile(`took=\S*h`).MatchString(o.Stderr) {
		t.Error("a round took hours")
	}
	years := regexp.MustCompile(`time=\d{4}`).FindAllString(o.Stderr, -1)
	slices.Sort(years)
	if len(slices.Compact(years)) < 2 {
		t.Errorf("the clock did not jump:\n%s", o.Stderr)
	}
}
