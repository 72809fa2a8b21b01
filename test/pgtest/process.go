package pgtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Binary builds the program once, as the image has it, and returns its path.
var Binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(Shared.Dir, "evolution-openai-patch")
	out, err := RootCommand("scripts/build.sh", path, "test").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return path, err
})

// RootCommand returns a command that runs in the root folder of the repository. Its name may be a path from there.
func RootCommand(name string, args ...string) *exec.Cmd {
	if strings.Contains(name, "/") && !filepath.IsAbs(name) {
		name = Root(name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = Root()
	return cmd
}

// Process is a running program.
type Process struct {
	Cmd            *exec.Cmd
	Stdout, Stderr Buffer
	Done           chan struct{} // closed when the program has ended
	t              testing.TB
}

// Command returns a command that runs the built binary with exactly this environment.
func Command(t testing.TB, environ ...string) *exec.Cmd {
	t.Helper()
	path, err := Binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.Env = environ
	return cmd
}

// Start starts the built binary with an environment, to which long limits are added. It is killed when the test ends.
func Start(t testing.TB, environ ...string) *Process {
	t.Helper()
	return StartCommand(t, Command(t, slices.Concat(Patient, environ)...))
}

// StartCommand starts a command, such as another build of the program. It is killed when the test ends.
func StartCommand(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Cmd: cmd, Done: make(chan struct{}), t: t}
	p.Cmd.Stdout, p.Cmd.Stderr = &p.Stdout, &p.Stderr
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.Cmd.Wait(); close(p.Done) }()
	t.Cleanup(func() { _ = p.Cmd.Process.Kill(); <-p.Done })
	return p
}

// Start starts the built binary against the database.
func (d *Database) Start(environ ...string) *Process {
	d.t.Helper()
	return Start(d.t, append([]string{"DATABASE_CONNECTION_URI=" + d.URI()}, environ...)...)
}

// PatchBeside runs the program while another session is in a transaction of this SQL, and commits that when the program waits
// for its lock.
func (d *Database) PatchBeside(sql string, environ ...string) Outcome {
	d.t.Helper()
	c := d.NewConn()
	Exec(d.t, c, "BEGIN; "+sql)
	p := d.Start(append(environ, "PATCH_LOCK_TIMEOUT=10s")...)
	MustUntil(d.t, func() error {
		if n := d.Text(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'evolution-openai-patch%' AND wait_event_type = 'Lock'`); n != "1" {
			return fmt.Errorf("%s sessions of the program wait for a lock", n)
		}
		return nil
	})
	Exec(d.t, c, "COMMIT")
	return p.Wait()
}

// WaitFor waits until the program has logged something.
func (p *Process) WaitFor(words ...string) {
	p.t.Helper()
	p.waitFor(&p.Stderr, words)
}

// WaitForOutput waits until the program has written something to standard output.
func (p *Process) WaitForOutput(words ...string) {
	p.t.Helper()
	p.waitFor(&p.Stdout, words)
}

func (p *Process) waitFor(output *Buffer, words []string) {
	p.t.Helper()
	MustUntil(p.t, func() error {
		text := output.String()
		for _, w := range words {
			if !strings.Contains(text, w) {
				return fmt.Errorf("the program did not write %q:\n%s%s", w, p.Stdout.String(), p.Stderr.String())
			}
		}
		return nil
	})
}

// Stop sends a signal and waits for the program to end.
func (p *Process) Stop(signal syscall.Signal) Outcome {
	p.t.Helper()
	if err := p.Cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	return p.Wait()
}

// Wait waits for the program to end.
func (p *Process) Wait() Outcome {
	p.t.Helper()
	select {
	case <-p.Done:
	case <-time.After(patience):
		p.t.Fatalf("the program does not end:\n%s", p.Stderr.String())
	}
	o := Outcome{p.Cmd.ProcessState.ExitCode(), p.Stdout.String(), p.Stderr.String()}
	Record(o)
	logOutcome(p.t, o, p.Cmd.Env)
	return o
}

// Resident returns the process's resident memory in kB.
func (p *Process) Resident() int { p.t.Helper(); return p.memory(residentMemory) }

// HighWater returns the process's largest resident memory so far in kB.
func (p *Process) HighWater() int { p.t.Helper(); return p.memory(highWater) }

func (p *Process) memory(line *regexp.Regexp) int {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	found := line.FindStringSubmatch(string(status))
	if found == nil {
		p.t.Fatalf("the program has ended:\n%s", p.Stderr.String())
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

// PeakMemory waits for the program to end, and returns its largest resident memory in kB, as it was last seen before that.
func (p *Process) PeakMemory() (peak int) {
	p.t.Helper()
	for {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
		if m := highWater.FindSubmatch(status); m != nil {
			n, _ := strconv.Atoi(string(m[1]))
			peak = max(peak, n)
		}
		select {
		case <-p.Done:
			return peak
		case <-time.After(2 * time.Millisecond):
		}
	}
}

var (
	residentMemory = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)
	highWater      = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)
)

// Buffer is a bytes.Buffer for concurrent use.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends to the buffer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what has been written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
