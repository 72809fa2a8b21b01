package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// exitCodes are the exit statuses of a run, by what becomes of its later connections. One that was done before the network broke
// succeeds. Status 4 would mean that a run waited until PATCH_WAIT_TIMEOUT, which one whose connections are denied must not.
var exitCodes = map[pgtest.Later][]int{pgtest.Served: {0}, pgtest.Refused: {0, 1, 4}, pgtest.Denied: {0, 1}}

// limits returns the limits of a run whose network breaks. Silence only ends at a limit, and so does waiting for a server that
// is gone. Every other limit is too long to be reached, and the former is long enough for an undisturbed run on a slow machine.
func limits(n *pgtest.Network) (environ []string) {
	if n.End == pgtest.Silence {
		environ = append(environ, "PATCH_CONNECT_TIMEOUT=4s")
	}
	if n.Later == pgtest.Refused {
		environ = append(environ, "PATCH_WAIT_TIMEOUT=1s")
	}
	return environ
}

// conversation is something that the program says to a server, on databases that are all in one state before and all in
// another after it.
type conversation struct {
	name    string
	from    *pgtest.Database // copied
	size    int              // the number of databases
	environ []string
	undo    []string // brings the databases back to where they were
	says    string   // the state in the report
	changes bool
	backup  bool

	before, after string // what a database of it is like
}

// conversations returns those that are interrupted.
func conversations(t *testing.T) []*conversation {
	t.Helper()
	unpatched := pgtest.NewEvolution(t, "evolution_api")
	unpatched.InsertCredentials(20)
	unpatched.Register("2.2", "i1", "one", pgtest.APIKey)
	patched := pgtest.NewEvolution(t, "evolution_api")
	patched.InsertCredentials(20)
	patched.Register("2.2", "i1", "one", pgtest.APIKey)
	patched.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ")
	empty := pgtest.NewDatabase(t, "evolution_api")
	for _, d := range []*pgtest.Database{unpatched, patched, empty} {
		_ = d.Conn.Close(context.Background()) // Clone requires that there are no sessions
	}
	revert := []string{pgtest.AllFixes, "PATCH_ACTION=revert"}
	return []*conversation{
		{name: "status", from: patched, size: 1, environ: []string{pgtest.AllFixes, "PATCH_ACTION=status"}, says: "patched"},
		{name: "nothing to do", from: patched, size: 1, environ: []string{pgtest.AllFixes}, says: "patched"},
		{name: "apply", from: unpatched, size: 1, environ: []string{pgtest.AllFixes}, undo: revert, says: "patched", changes: true},
		{name: "revert", from: patched, size: 1, environ: revert, undo: []string{pgtest.AllFixes}, says: "unpatched", changes: true},
		{name: "guard", from: empty, size: 1, environ: []string{pgtest.AllFixes, pgtest.Guard}, undo: revert, says: "guarded", changes: true},
		{name: "backup", from: unpatched, size: 1, environ: []string{pgtest.AllFixes}, undo: revert, says: "patched", changes: true, backup: true},
		{name: "fleet", from: unpatched, size: 3, environ: []string{pgtest.AllFixes}, undo: revert, says: "patched", changes: true},
	}
}

// bench is one set of databases for a conversation. One run at a time uses it.
type bench struct {
	*conversation
	t         *testing.T
	databases []*pgtest.Database
	dir       string // of backups, "" for none
}

// newBench copies the databases.
func (c *conversation) newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{conversation: c, t: t}
	if c.backup {
		b.dir = t.TempDir()
	}
	for range c.size {
		b.databases = append(b.databases, b.copy())
	}
	return b
}

func (b *bench) copy() *pgtest.Database {
	d := b.from.Clone(b.t)
	return pgtest.Shared.OpenDatabase(b.t, d.Name, d.Schema)
}

// run runs the program on the databases through an address, with long limits unless others are given. It writes backups where
// the conversation has them.
func (b *bench) run(address string, environ ...string) pgtest.Outcome {
	var uris []string
	for _, d := range b.databases {
		uris = append(uris, d.URIThrough(address))
	}
	all := slices.Concat(pgtest.Patient, []string{"PATCH_LOG_LEVEL=debug", "DATABASE_CONNECTION_URI=" + strings.Join(uris, " ")}, environ)
	if b.dir != "" {
		all = append(all, "PATCH_BACKUP_DIR="+b.dir)
	}
	return pgtest.RunArgs(context.Background(), nil, all)
}

// measure runs the conversation undisturbed, keeps what it changes, and returns how much one side sends in it.
func (b *bench) measure(client bool) (messages, bytes int) {
	b.t.Helper()
	b.before = b.databases[0].Snapshot()
	n := &pgtest.Network{Client: client}
	defer n.Close()
	o := b.run(n.Listen(b.t, pgtest.Shared.Address()), b.environ...)
	b.after = b.databases[0].Snapshot()
	if o.Code != 0 || strings.Count(o.Stdout, b.says+": ") != b.size || (b.after != b.before) != b.changes {
		b.t.Fatalf("exit status %d, the databases changed: %t\n%s%s", o.Code, b.after != b.before, o.Stderr, o.Stdout)
	}
	if err := b.checkBackups(); err != nil {
		b.t.Fatal(err)
	}
	b.reset()
	return int(n.Messages.Load()), int(n.Bytes.Load())
}

// reset brings the databases back to where they were before, by undoing what was done to them.
func (b *bench) reset() {
	if b.undo != nil {
		dir := b.dir
		b.dir = ""
		if o := b.run(pgtest.Shared.Address(), b.undo...); o.Code != 0 || strings.Count(o.Stdout, "changed=true") != b.size {
			b.t.Errorf("to undo it did not succeed: exit status %d\n%s%s", o.Code, o.Stderr, o.Stdout)
		}
		b.dir = dir
	}
	for _, file := range pgtest.Glob(b.t, b.dir, "*_evolution_api_*.sql") {
		_ = os.Remove(file)
	}
	for i, d := range b.databases {
		if now := d.Snapshot(); now != b.before {
			// A session that ends may keep the function of a guard, but there is no event trigger any more that would call it.
			if b.says != "guarded" || strings.Contains(now, "\nevent trigger ") {
				b.t.Errorf("undone, %s differs:\n%s", d.Name, pgtest.FirstDifference(b.before, now))
			}
			d.Drop()
			b.databases[i] = b.copy()
		}
	}
}

// reportLine matches a line of the report.
var reportLine = regexp.MustCompile(`^(patched|pending|guarded|unpatched|failed): 127\.0\.0\.1:\d+/\w+ schema=evolution_api changed=(true|false|unknown)(?: (?:apikey-index|apikey-check|name-index)=[a-z]+)*(?: evolution=\S+)?(?: error="((?:[^"\\]|\\.)+)")?$`)

// check returns what is wrong about a run whose network broke.
func (b *bench) check(n *pgtest.Network, o pgtest.Outcome) error {
	switch codes := exitCodes[n.Later]; {
	case !slices.Contains(codes, o.Code):
		return fmt.Errorf("exit status %d, want one of %v", o.Code, codes)
	case strings.Contains(o.Stderr, "%!") || strings.Contains(o.Stderr, "goroutine"):
		return errors.New("the log is not readable")
	}
	for _, secret := range []string{pgtest.Password, pgtest.APIKey} {
		if strings.Contains(o.Stdout+o.Stderr, secret) {
			return errors.New("the output has a secret")
		}
	}
	lines := strings.Split(strings.TrimSuffix(o.Stdout, "\n"), "\n")
	if len(lines) != b.size {
		return fmt.Errorf("%d lines, want %d", len(lines), b.size)
	}
	for _, d := range b.databases {
		i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "/"+d.Name+" ") })
		if i < 0 {
			return fmt.Errorf("no line about %s", d.Name)
		}
		if err := b.checkLine(n, d, lines[i], o.Code); err != nil {
			return fmt.Errorf("%w: %s", err, lines[i])
		}
	}
	return b.checkBackups()
}

// checkLine holds the line of one database against what is there.
func (b *bench) checkLine(n *pgtest.Network, d *pgtest.Database, line string, code int) error {
	m := reportLine.FindStringSubmatch(line)
	if m == nil || strings.Contains(line, "%!") {
		return errors.New("the line is not readable")
	}
	state, changed, message := m[1], m[2], m[3]
	now := d.Snapshot()
	switch {
	case now != b.before && now != b.after:
		return fmt.Errorf("the database is neither as before nor as after:\n%s", pgtest.FirstDifference(b.before, now))
	case state != b.says && state != "failed", code == 0 && state == "failed":
		return fmt.Errorf("exit status %d", code)
	case (state == "failed") != (message != ""):
		return errors.New("an error belongs to a failure, and only to one")
	case state == b.says && now != b.after:
		return errors.New("the database is not as reported")
	case changed == "true" && (now != b.after || !b.changes), changed == "false" && now != b.before:
		return fmt.Errorf("the database changed: %t", now != b.before)
	}
	want := "false"
	switch sent, answered := n.Committed(d.Name); {
	case answered && n.End == pgtest.RST && changed == "unknown": // the reset may have overtaken the answer
		return nil
	case answered:
		want = "true"
	case sent:
		want = "unknown"
	}
	if changed != want {
		return fmt.Errorf("want changed=%s", want)
	}
	return nil
}

// checkBackups requires that every backup is complete, and that a database that was changed has one.
func (b *bench) checkBackups() error {
	if b.dir == "" {
		return nil
	}
	entries, err := os.ReadDir(b.dir)
	for _, e := range entries {
		file := filepath.Join(b.dir, e.Name())
		if content, _ := os.ReadFile(file); !strings.HasSuffix(file, ".sql") || !strings.HasSuffix(string(content), "COMMIT;\n") {
			return fmt.Errorf("the backup %s is not complete", e.Name())
		}
		_ = os.Remove(file)
	}
	if len(entries) == 0 && b.databases[0].Snapshot() == b.after {
		return errors.New("the database was changed without a backup")
	}
	return err
}

// checkLocks waits until the program's sessions hold nothing.
func (b *bench) checkLocks() error {
	return pgtest.Until(func() error {
		for _, d := range b.databases {
			if held := d.HeldLocks(); held != "" {
				return fmt.Errorf("sessions of the program hold %s", held)
			}
		}
		return nil
	})
}
