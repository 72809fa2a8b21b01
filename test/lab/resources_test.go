package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"evolution-openai-patch/test/pgtest"
)

// startShell starts a shell command in which "$0" is the built binary, with an environment to which long limits are added.
func startShell(t *testing.T, script string, environ ...string) pgtest.Outcome {
	t.Helper()
	path, err := pgtest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	cmd := exec.Command("/bin/sh", "-c", script, path)
	cmd.Env, cmd.Stdout, cmd.Stderr = slices.Concat(pgtest.Patient, environ), &stdout, &stderr
	_ = cmd.Run() // the exit status is part of the outcome
	o := pgtest.Outcome{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
	pgtest.Record(o)
	return o
}

// The disk is full before the backup is complete: nothing is changed, and no part of the backup stays.
func TestBackupOnAFullDisk(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.InsertCredentials(5000)
	before, dir := d.Dump(), t.TempDir()
	run, says := `{ "$0"; code=$?; ls -A `+dir+`; exit $code; }`, "no space left on device"
	script := `unshare --mount sh -c 'mount -t tmpfs -o size=64k none ` + dir + ` && ` + run + `' "$0"`
	if os.Getuid() != 0 { // who may not mount anything
		script, says = `ulimit -f 8; `+run, "file too large"
	}
	o := startShell(t, script, "DATABASE_CONNECTION_URI="+d.URI(), pgtest.AllFixes, "PATCH_BACKUP_DIR="+dir, "PATH=/usr/bin:/bin")
	o.Expect(t, 1, "failed: ", "changed=false", "PATCH_BACKUP_DIR", says)
	if n := strings.Count(o.Stdout, "\n"); n != 1 {
		t.Errorf("%d lines, want that of the report and no file:\n%s", n, o.Stdout)
	}
	d.ExpectDump(before)
}

// All connections of the server are taken: the program waits until one is free, or says so.
func TestNoConnectionIsFree(t *testing.T) {
	t.Parallel()
	s := pgtest.NewStoppedServer(t)
	if err := s.Start("max_connections=10", "superuser_reserved_connections=1"); err != nil {
		t.Fatal(err)
	}
	d := s.NewDatabase(t, "public")
	d.Migrate(pgtest.Last)
	var taken []*pgx.Conn
	pgtest.MustUntil(t, func() error { // a session that ends still counts
		c, err := pgx.Connect(context.Background(), pgtest.URI("postgres", s.Address(), d.Name, ""))
		if err == nil {
			taken = append(taken, c)
		}
		if n := d.Text(`SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'`); n != "10" {
			return errors.New(n + " connections are taken, want 10")
		}
		return nil
	})
	d.Patch(pgtest.Shortly).Expect(t, 4, "failed: ", "changed=false", "(SQLSTATE 53300)")
	p := d.Start()
	p.WaitFor(pgtest.WaitsForServer)
	_ = taken[0].Close(context.Background())
	p.Wait().Expect(t, 0, "patched: ", "changed=true")
	for _, c := range taken {
		_ = c.Close(context.Background())
	}
}

// Nobody can read the report: that is an error, and the log has the report. Where there is no standard output at all, Go opens
// /dev/null in its place.
func TestStandardOutputIsGone(t *testing.T) {
	t.Parallel()
	for script, code := range map[string]int{`exec "$0" >/dev/full`: 1, `exec "$0" >&-`: 0} {
		d := pgtest.NewEvolution(t, "evolution_api")
		o := startShell(t, script, "DATABASE_CONNECTION_URI="+d.URI(), pgtest.AllFixes)
		if o.Code != code || strings.Contains(o.Stderr, pgtest.NotWritten+"patched: ") != (code == 1) {
			t.Errorf("%s: exit status %d\n%s", script, o.Code, o.Stderr)
		}
		d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
	}
}

// A process that may open but eight files.
func TestEightFiles(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	environ := []string{"DATABASE_CONNECTION_URI=" + d.URI(), pgtest.AllFixes}
	const script = `ulimit -n 8; exec "$0"`
	o := startShell(t, script, environ...)
	o.Expect(t, 0, "patched: ", "changed=true")
	startShell(t, script, append(environ, "PATCH_ACTION=revert")...).Expect(t, 0, "unpatched: ", "changed=true")
	if o = startShell(t, script, append(environ, "PATCH_BACKUP_DIR="+t.TempDir())...); o.Code != 0 { // how many files Go itself opens differs
		o.Expect(t, 1, "failed: ", "changed=false", "too many open files")
	}
	for range 5 {
		environ[0] += " " + pgtest.NewEvolution(t, "evolution_api").URI()
	}
	o = startShell(t, script, environ...)
	if o.ExpectCode(t, 0); strings.Count(o.Stdout, "patched: ") != 6 {
		t.Errorf("not every database is patched:\n%s", o.Stdout)
	}
}

// An environment of a megabyte makes no difference, and what is wrong in it is told in few words.
func TestLargeEnvironment(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	var environ []string
	for n := range 10 {
		environ = append(environ, fmt.Sprintf("LARGE_%d=%s", n, strings.Repeat("x", 100_000)))
	}
	o := startShell(t, `exec "$0"`, append(environ, "DATABASE_CONNECTION_URI="+d.URI())...)
	o.Expect(t, 0, "patched: ", "changed=true")
	for _, v := range []string{"PATCH_FIXES=", "PATCH_SCHEMAS=", "PATCH_LOCK_TIMEOUT=", "DATABASE_CONNECTION_URI="} {
		o = startShell(t, `exec "$0"`, append(environ, "DATABASE_CONNECTION_URI="+d.URI(), v+strings.Repeat("x", 100_000))...)
		if o.Code != 2 || len(o.Stderr) > 2000 {
			t.Errorf("%s: exit status %d, %d bytes: %.300s", v, o.Code, len(o.Stderr), o.Stderr)
		}
	}
}

// The memory that the image has in deploy/ suffices, however many credentials there are.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	const limit = 20 << 10 // kB
	rows := amount(100_000, 1_000_000)
	d := pgtest.NewEvolution(t, "evolution_api")
	d.InsertCredentials(rows)
	for _, environ := range [][]string{{"PATCH_BACKUP_DIR=" + t.TempDir()}, {"PATCH_ACTION=status"}, {"PATCH_ACTION=revert"}} {
		p := d.Start(append(environ, pgtest.AllFixes)...)
		peak := p.PeakMemory()
		p.Wait().ExpectCode(t, 0)
		if t.Logf("%v with %d credentials: %d kB", environ, rows, peak); peak == 0 || peak > limit {
			t.Errorf("%v used %d kB, the limit is %d", environ, peak, limit)
		}
	}
}
