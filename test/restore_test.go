package test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

// insertKeysWithSpaces inserts seven keys, six of which end in spaces.
func insertKeysWithSpaces(d *pgtest.Database) {
	for id, key := range map[string]string{"plain": "sk-plain", "one": "sk-one ", "two": "sk-two  ", "same": "sk-plain   ", "blank": "   ", `odd'"\n`: "sk-odd\t ", "full": strings.Repeat("f", 250) + "     "} {
		d.Exec(`INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") VALUES ($1, $2, now(), 'i1')`, id, key)
	}
}

// keys returns every key by its credential's id, to the byte.
func keys(d *pgtest.Database) string {
	return d.Text(`SELECT string_agg(id || '=' || coalesce(quote_literal("apiKey"), 'NULL'), ' ' ORDER BY id COLLATE "C") FROM "OpenaiCreds"`)
}

// The spaces that keys ended in before they were padded survive a backup of the padded table.
func TestBackupKeepsSpaces(t *testing.T) {
	d := pgtest.NewEvolution(t, "evolution_api")
	insertKeysWithSpaces(d)
	before := d.SortedDump()
	d.Patch("PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "patched: ", "changed=true")
	padded, dir := d.SortedDump(), t.TempDir()
	d.Patch("PATCH_ACTION=revert", "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "unpatched: ", "changed=true", "backed up")
	d.ExpectSortedDump(before)
	files := pgtest.Glob(t, dir, "*.sql")
	if len(files) != 1 {
		t.Fatalf("the backups are %v, want one", files)
	}
	d.Restore(files[0])
	d.ExpectSortedDump(padded)
	d.Patch("PATCH_ACTION=status").Expect(t, 0, "patched: ")
	d.Patch("PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
	d.ExpectSortedDump(before)
}

// So does the padding itself where what is changed has nothing to do with it.
func TestBackupKeepsPaddingThatIsNotRequested(t *testing.T) {
	d, dir := pgtest.NewEvolution(t, "evolution_api"), t.TempDir()
	insertKeysWithSpaces(d)
	before := keys(d)
	d.Patch().Expect(t, 0, "patched: ", "changed=true")
	padded := d.SortedDump()
	d.Patch("PATCH_FIXES=name-index", "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true", "backed up")
	d.Restore(oneBackup(t, dir))
	d.ExpectSortedDump(padded)
	d.Patch("PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
	if after := keys(d); after != before {
		t.Errorf("the keys are %s\nwant %s", after, before)
	}
}

// The spaces also survive a dump of the whole database that is restored into another one.
func TestDumpKeepsSpaces(t *testing.T) {
	d := pgtest.NewEvolution(t, "public")
	insertKeysWithSpaces(d)
	before := keys(d)
	d.Patch().Expect(t, 0, "patched: ", "changed=true")
	restored := d.RestoreElsewhere(t)
	restored.Patch().Expect(t, 0, "patched: ", "changed=false")
	restored.Patch("PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
	if after := keys(restored); after != before {
		t.Errorf("the keys are %s\nwant %s", after, before)
	}
}

// A watch pads the keys of a dump that is restored while a guard is installed, which the guard leaves as they are.
func TestWatchMeetsARestoredDump(t *testing.T) {
	d := pgtest.NewDatabase(t, "public")
	d.Patch(guard).Expect(t, 0, "guarded: ")
	d.Exec(smallDump)
	d.Patch("PATCH_ACTION=status").Expect(t, 5, "unpatched: ", "apikey-index=patched apikey-check=unpatched", "keys without the space: 1")
	p := d.Start("PATCH_WATCH=100ms", guard)
	p.WaitFor("state=patched every=")
	expectPaddedByWatch(t, d)

	// The dump comes again while the watch has a guard of its own installed.
	d.Exec(`DROP SCHEMA public CASCADE; CREATE SCHEMA public`)
	p.WaitFor("before=patched now=guarded")
	d.Exec(smallDump)
	expectPaddedByWatch(t, d)
	p.WaitFor("before=guarded now=patched")
	p.Stop(syscall.SIGTERM).Expect(t, 0, "patched: ", "changed=true")
}

// expectPaddedByWatch waits until status reports patched, and registers the key of the first instance in the second.
func expectPaddedByWatch(t *testing.T, d *pgtest.Database) {
	t.Helper()
	pgtest.MustUntil(t, 20*time.Second, func() error {
		if o := d.Patch("PATCH_ACTION=status"); o.Code != 0 {
			return fmt.Errorf("exit status %d: %s", o.Code, o.Stdout)
		}
		return nil
	})
	if d.Register("2.3", "i2", "two", pgtest.APIKey) != 201 {
		t.Error("the second instance is refused the shared key")
	}
}
