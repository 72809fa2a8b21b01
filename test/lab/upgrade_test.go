package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// formerVersions are the commits of versions that are in use.
var formerVersions = []string{"b9b82aa", "04b47bd"}

// formerBinary builds a former version of the program from the history of the repository, and returns its path.
func formerBinary(t *testing.T, commit string) string {
	t.Helper()
	dir := t.TempDir()
	archive := pgtest.RootCommand("git", "-c", "safe.directory=*", "archive", commit, "main.go", "patch", "go.mod", "go.sum")
	unpack := exec.Command("tar", "-x", "-C", dir)
	var err error
	if unpack.Stdin, err = archive.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	var output, says strings.Builder
	archive.Stderr, unpack.Stderr = &says, &output
	if err := unpack.Start(); err != nil {
		t.Fatal(err)
	}
	if err := archive.Run(); err != nil {
		t.Fatalf("commit %s is not in this clone; this test needs the whole history (git fetch --unshallow): %v\n%s", commit, err, says.String())
	}
	if err := unpack.Wait(); err != nil {
		t.Fatalf("tar: %v\n%s", err, output.String())
	}
	build := exec.Command("go", "build", "-o", "former", ".")
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build of %s: %v\n%s", commit, err, out)
	}
	return filepath.Join(dir, "former")
}

// former is a former version of the program.
type former struct {
	t      *testing.T
	binary string
}

// run runs the former version on a database, and requires it to succeed.
func (f former) run(d *pgtest.Database, environ ...string) {
	f.t.Helper()
	cmd := exec.Command(f.binary)
	cmd.Env = append([]string{"DATABASE_CONNECTION_URI=" + d.URI()}, environ...)
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("the former version: %v\n%s", err, out)
	}
}

// What a former version did, this one recognizes, goes on with, and takes back.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	for _, commit := range formerVersions[:amount(1, len(formerVersions))] {
		t.Run(commit, func(t *testing.T) {
			f := former{t, formerBinary(t, commit)}
			t.Run("patched", f.patched)
			t.Run("guarded", f.guarded)
			t.Run("backed up", f.backedUp)
			t.Run("at once", f.atOnce)
		})
	}
}

// newShared creates a database with credentials that two former versions handle alike.
func newShared(t *testing.T) *pgtest.Database {
	t.Helper()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.InsertCredentials(50)
	return d
}

func (f former) patched(t *testing.T) {
	for _, keep := range []string{"PATCH_KEEP_INDEX_NAMES=false", "PATCH_KEEP_INDEX_NAMES=true"} {
		d := newShared(t)
		before := d.SortedDump()
		f.run(d, pgtest.AllFixes, keep)
		d.Patch(pgtest.AllFixes, keep, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
		d.Patch(pgtest.AllFixes, keep).Expect(t, 0, "patched: ", "changed=false")
		if got := d.Register("2.3", "i1", "first", pgtest.APIKey) + d.Register("2.3", "i2", "second", pgtest.APIKey); got != 402 {
			t.Error("a shared key is refused")
		}
		d.Exec(`DELETE FROM "OpenaiCreds" WHERE "instanceId" = 'i2' OR name = 'first'`)
		d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
		d.ExpectSortedDump(before)
	}
}

func (f former) guarded(t *testing.T) {
	for name, environ := range map[string][]string{
		"left":     {pgtest.AllFixes, "PATCH_ACTION=status"},
		"replaced": {pgtest.AllFixes, pgtest.Guard},
		"narrower": {"PATCH_FIXES=apikey-index", pgtest.Guard},
	} {
		d := pgtest.NewDatabase(t, "evolution_api")
		f.run(d, pgtest.AllFixes, pgtest.Guard)
		d.Patch(environ...).Expect(t, 0)
		d.Migrate(pgtest.Last)
		want := "OpenaiCreds_pkey"
		if name == "narrower" {
			want = "OpenaiCreds_name_key OpenaiCreds_pkey"
		}
		if got := d.Indexes(); got != want {
			t.Errorf("%s: the indexes are %s, want %s", name, got, want)
		}
		d.Patch(environ[0]).Expect(t, 0, "patched: ", "changed=false")
		d.ExpectNoGuard()
	}
	d := pgtest.NewDatabase(t, "evolution_api")
	before := d.SortedDump()
	f.run(d, pgtest.AllFixes, pgtest.Guard)
	d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "pending: ", "changed=true")
	d.ExpectSortedDump(before)
}

func (f former) backedUp(t *testing.T) {
	d := newShared(t)
	before := d.SortedDump()
	dir := t.TempDir()
	f.run(d, pgtest.AllFixes, "PATCH_BACKUP_DIR="+dir)
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
	files := pgtest.Glob(t, dir, "*.sql")
	if len(files) != 1 {
		t.Fatalf("the backups are %v, want one", files)
	}
	d.Restore(files[0])
	d.ExpectSortedDump(before)
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
	d.Restore(files[0])
	d.ExpectSortedDump(before)
}

// During an upgrade in a stack both versions run at once, and neither undoes or fails the other.
func (f former) atOnce(t *testing.T) {
	d := newShared(t)
	var group sync.WaitGroup
	for n := range 6 {
		group.Go(func() {
			if n%2 == 0 {
				f.run(d.With(t), pgtest.AllFixes)
			} else {
				d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ")
			}
		})
	}
	group.Wait()
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
}
