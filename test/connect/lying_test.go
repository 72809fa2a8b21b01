package connect

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

// memoryLimit is how much memory a run may use whatever a server sends, in kB.
const memoryLimit = 24 << 10

// Whatever a server sends, the program says so and ends, within its limits.
func TestLyingServers(t *testing.T) {
	t.Parallel()
	lies := loginLies()
	maps.Copy(lies, authenticationLies())
	maps.Copy(lies, answerLies())
	for name, l := range lies {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some of it is waiting
			uri := func(address string) string {
				return strings.Replace(pgtest.URI("u", address, "d", ""), plain, l.parameters, 1)
			}
			limits := []string{"PATCH_CONNECT_TIMEOUT=1s", "PATCH_LOG_LEVEL=debug"}

			// The other target keeps the program until its memory has been read, or both have waited for long enough.
			pgtest.MustUntil(t, func() error {
				release := make(chan struct{})
				holds := pgtest.Listen(t, func(c net.Conn) { <-release; pgtest.AnswerError("SFATAL\x00C28000\x00Mno\x00\x00")(c) })
				uris := uri(l.listen(t, nil)) + " " + pgtest.URI("u", holds, "d", "")
				p := pgtest.Start(t, append(limits, "DATABASE_CONNECTION_URI="+uris, "PATCH_WAIT_TIMEOUT=3s")...)
				peak := highWater(p, func() { close(release) })
				o := p.Wait()
				if o.ExpectCode(t, 1, 3, 4); peak > memoryLimit {
					t.Errorf("the program used %d kB, the limit is %d", peak, memoryLimit)
				}
				expectReadable(t, o)
				if peak == 0 {
					return errors.New("the program ended before its memory was read")
				}
				return nil
			})

			began := make(chan struct{}, 1)
			p := pgtest.Start(t, append(limits, "DATABASE_CONNECTION_URI="+uri(l.listen(t, began)), "PATCH_WAIT_TIMEOUT=0")...)
			<-began
			_ = p.Cmd.Process.Signal(syscall.SIGTERM) // it may have ended
			o := p.Wait()
			o.ExpectCode(t, 1, 143)
			expectReadable(t, o)
		})
	}
}

var highWaterMark = regexp.MustCompile(`VmHWM:\s+(\d+)`)

// highWater returns the largest memory that a program has used until it ended, in kB. It calls release when the program has reported
// something and its memory has been read after that.
func highWater(p *pgtest.Process, release func()) (peak int) {
	for reported := false; ; {
		before := p.Stdout.String() != ""
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
		if m := highWaterMark.FindSubmatch(status); m != nil {
			n, _ := strconv.Atoi(string(m[1]))
			peak = max(peak, n)
		}
		if before && !reported {
			reported = true
			release()
		}
		select {
		case <-p.Done:
			return peak
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// expectReadable checks that nothing panicked, and that no line is longer than 8 KiB.
func expectReadable(t *testing.T, o pgtest.Outcome) {
	t.Helper()
	o.ExpectNot(t, "goroutine ", "panic: ")
	for line := range strings.Lines(o.Stdout + o.Stderr) {
		if len(line) > 8<<10 {
			t.Errorf("a line of %d bytes: %.300s", len(line), line)
		}
	}
}
