package test

import (
	"fmt"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestRevertLeavesTheDatabaseAsItWas(t *testing.T) {
	t.Parallel()
	for _, fixes := range []string{
		"apikey-index", "apikey-check", "name-index", "apikey-index,apikey-check", "apikey-index,name-index", "apikey-check,name-index",
		"apikey-index,apikey-check,name-index",
	} {
		for _, keep := range []string{"true", "false"} {
			revertedIsAsBefore(t, fixes, keep, 1)
		}
	}
	for _, rows := range []int{0, 10_000} {
		revertedIsAsBefore(t, "apikey-check", "false", rows)
		revertedIsAsBefore(t, "apikey-index,apikey-check,name-index", "true", rows)
	}
}

// revertedIsAsBefore applies fixes to so many credentials, and reverts them.
func revertedIsAsBefore(t *testing.T, fixes, keep string, rows int) {
	t.Run(fmt.Sprintf("%s/%d/keep=%s", fixes, rows, keep), func(t *testing.T) {
		t.Parallel()
		d := pgtest.NewEvolution(t, "evolution_api")
		d.InsertCredentials(rows)
		before := d.SortedDump()
		d.Patch("PATCH_FIXES="+fixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=false")
		o := d.Patch("PATCH_FIXES="+fixes, "PATCH_KEEP_INDEX_NAMES="+keep)
		o.Expect(t, 0, "patched: ", "changed=true")
		if rows == 10_000 {
			o.Expect(t, 0, "level=WARN", "keys=1000")
			if got := d.Text(`SELECT count(*) FROM "OpenaiCreds" WHERE "apiKey" LIKE '% '`); got != "8000" {
				t.Errorf("%s keys end in a space, want 8000", got)
			}
		}
		d.Patch("PATCH_FIXES="+fixes, "PATCH_KEEP_INDEX_NAMES="+keep).Expect(t, 0, "patched: ", "changed=false")
		reverted := strings.Replace("PATCH_FIXES="+fixes, "=apikey-check", "=apikey-index,apikey-check", 1) // as apply completed them
		d.Patch(reverted, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
		d.ExpectSortedDump(before)
		d.Patch("PATCH_FIXES="+fixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=false")
	})
}

// Keys that end in spaces before the program runs are padded to one space, and revert gives them back without any.
func TestKeysThatEndInSpaces(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	insertKeysWithSpaces(d)
	before, bare, dir := d.SortedDump(), withoutSpaces(d), t.TempDir()
	d.Patch("PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true")
	d.Patch("PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
	if after := keys(d); after != bare {
		t.Errorf("the keys are %s\nwant %s", after, bare)
	}
	d.Restore(oneBackup(t, dir))
	d.ExpectSortedDump(before)
	for _, fixes := range []string{"auto", "apikey-check", "apikey-index,apikey-check,name-index"} {
		d.Patch("PATCH_FIXES="+fixes).Expect(t, 0, "patched: ", "changed=true")
		if got := d.Text(`SELECT count(*) FROM "OpenaiCreds" WHERE "apiKey" = rtrim("apiKey") || ' '`); got != "7" {
			t.Errorf("%s keys end in one space, want 7", got)
		}
		if comment := d.Text(`SELECT obj_description(oid, 'pg_proc') FROM pg_proc WHERE proname = 'evolution_openai_patch'`); comment != "" {
			t.Errorf("the function has the comment %q", comment)
		}
		d.Exec(`COMMENT ON FUNCTION evolution_openai_patch() IS '{"spaces":{"two":2}}'`) // as an older build wrote it
		d.Exec(`ALTER TABLE "OpenaiCreds" DISABLE TRIGGER USER`)
		d.Patch("PATCH_FIXES="+fixes).Expect(t, 0, "patched: ", "changed=true")
		d.Patch("PATCH_FIXES="+fixes).Expect(t, 0, "patched: ", "changed=false")
		d.Patch("PATCH_FIXES="+fixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
		if after := keys(d); after != bare {
			t.Errorf("the keys are %s\nwant %s", after, bare)
		}
	}
}
