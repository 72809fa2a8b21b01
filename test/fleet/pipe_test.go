package fleet

import (
	"os"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Nobody reads the report to its end, as in `… | head -1`: every database is handled all the same, and the exit status tells.
func TestFleetStandardOutputIsClosed(t *testing.T) {
	t.Parallel()
	f := fleetOn(t, pgtest.Shared)
	names := numbered("pi_", 8)
	f.add(names...)
	for _, lines := range []int{0, 1} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr pgtest.Buffer
		cmd := pgtest.Command(t, f.environ("pi_*", "PATCH_CONNECTIONS=1")...)
		cmd.Stdout, cmd.Stderr = w, &stderr
		if lines == 0 {
			r.Close()
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if lines == 1 {
			if _, err := r.Read(make([]byte, 1)); err != nil {
				t.Error(err)
			}
			r.Close()
		}
		_ = cmd.Wait()
		o := pgtest.Outcome{Code: cmd.ProcessState.ExitCode(), Stderr: stderr.String()}
		pgtest.Record(o)
		o.Expect(t, 1, pgtest.StandardOutput, "broken pipe", pgtest.NotWritten+"patched: "+f.Address()+"/pi_007")
		if lines == 0 && strings.Count(o.Stderr, pgtest.NotWritten) != len(names) {
			t.Errorf("not every line that was not written is logged:\n%s", o.Stderr)
		}
		expectLast(t, o, "done: 8 patched")
		for _, name := range names {
			c := f.open(name)
			if hasIndex(t, c) {
				t.Errorf("%s was not patched", name)
			}
			pgtest.Exec(t, c, recreateIndex)
		}
	}
}
