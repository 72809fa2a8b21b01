package test

import (
	"fmt"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The HTTP statuses that Evolution returns when three instances register one key depend on its release and on the fixes. The
// reference has the same table.
func TestWhatEvolutionSends(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fixes            string
		old, now         int // for the second and third instance in Evolution 2.2 and 2.3, with different names
		sameOld, sameNow int // with the same name
	}{
		{"", 500, 400, 500, 400},
		{"apikey-index", 201, 400, 500, 400},
		{"name-index", 500, 400, 500, 400},
		{"apikey-index,name-index", 201, 400, 201, 400},
		{"apikey-check", 201, 201, 500, 500},
		{"apikey-index,apikey-check", 201, 201, 500, 500},
		{"apikey-index,apikey-check,name-index", 201, 201, 201, 201},
	} {
		for _, before := range []bool{true, false} { // whether the first key is registered before the program runs
			keep := !before
			t.Run(fmt.Sprintf("%s/first=%t/keep=%t", c.fixes, before, keep), func(t *testing.T) {
				t.Parallel()
				environ := []string{"PATCH_FIXES=" + c.fixes, fmt.Sprintf("PATCH_KEEP_INDEX_NAMES=%t", keep)}
				if c.fixes == "" {
					environ = nil
				}
				different, same := []string{"one", "two", "three"}, []string{"one", "one", "one"}
				registerThree(t, "2.2", different, environ, before, c.old)
				registerThree(t, "2.2", same, environ, before, c.sameOld)
				registerThree(t, "2.3", different, environ, before, c.now)
				registerThree(t, "2.3", same, environ, before, c.sameNow)
			})
		}
	}
}

// registerThree registers one key in three instances, under these names, and runs the program after or before the first.
// The first must succeed, and the others must return the status want. Without an environment the program is not run.
func registerThree(t *testing.T, release string, names, environ []string, firstBefore bool, want int) {
	t.Helper()
	d := pgtest.NewEvolution(t, "evolution_api")
	if firstBefore && d.Register(release, "i1", names[0], pgtest.APIKey) != 201 {
		t.Fatal("the first key is refused")
	}
	if environ != nil {
		d.Patch(environ...).Expect(t, 0, "patched: ", "changed=true")
		d.Patch(environ...).Expect(t, 0, "patched: ", "changed=false")
	}
	if !firstBefore && d.Register(release, "i1", names[0], pgtest.APIKey) != 201 {
		t.Fatal("the first key is refused")
	}
	for n, instance := range []string{"i2", "i3"} {
		if got := d.Register(release, instance, names[n+1], pgtest.APIKey); got != want {
			t.Errorf("Evolution %s, %s, names %v: status %d, want %d", release, instance, names, got, want)
		}
	}
}

// auto applies the fixes that several instances with one key need, and reverts all that are applied.
func TestAuto(t *testing.T) {
	t.Parallel()
	for last, fixes := range map[string]string{"20250116001415": "apikey-index=patched apikey-check=patched evolution=2.2", "20250613143000": "apikey-index=patched apikey-check=patched evolution=2.3"} {
		d := pgtest.NewMigrated(t, "public", last)
		d.Exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two')`)
		release := "2.2"
		if last >= "20250613143000" {
			release = "2.3"
		}
		d.Register(release, "i1", "one", pgtest.APIKey)
		before := d.SortedDump()
		d.Patch("PATCH_ACTION=status").Expect(t, 5, "unpatched: ")
		d.Patch().Expect(t, 0, "patched: ", "changed=true", fixes, "PATCH_FIXES=auto,name-index")
		d.Patch("PATCH_ACTION=status").Expect(t, 0, "patched: ", fixes)
		if d.Register(release, "i2", "two", pgtest.APIKey) != 201 {
			t.Error("the second instance is refused the shared key")
		}
		d.Exec(`DELETE FROM "OpenaiCreds" WHERE "instanceId" = 'i2'`)
		d.Patch("PATCH_FIXES=auto,name-index").Expect(t, 0, "patched: ", "changed=true", "name-index=patched")
		d.Patch("PATCH_ACTION=status").Expect(t, 0, "patched: ", "name-index=patched")
		d.Patch("PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true", "name-index=unpatched")
		d.ExpectSortedDump(before)
	}
	d := pgtest.NewDatabase(t, "public")
	d.Patch(pgtest.Guard).Expect(t, 0, "guarded: ", "apikey-index=guarded apikey-check=guarded")
	d.Migrate(pgtest.Last)
	d.Patch().Expect(t, 0, "patched: ", "changed=false", "apikey-check=patched")
	d.Patch(pgtest.IndexOnly).Expect(t, 0, "patched: ", "changed=false")
	if o := d.Patch(pgtest.IndexOnly, "PATCH_ACTION=status"); strings.Contains(o.Stderr, pgtest.NotEnough) {
		t.Error("a warning although the trigger exists")
	}
}

// A later run repairs what has been undone since: a trigger dropped or disabled, an index created, a key without the space.
func TestRepairs(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"trigger dropped":  `DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"`,
		"trigger disabled": `ALTER TABLE "OpenaiCreds" DISABLE TRIGGER evolution_openai_patch`,
		"index is back":    `CREATE UNIQUE INDEX "OpenaiCreds_name_key2" ON "OpenaiCreds"(name)`,
		"key slipped past": `ALTER TABLE "OpenaiCreds" DISABLE TRIGGER USER; INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") VALUES ('slip', 'slipped', now(), 'i3'); ALTER TABLE "OpenaiCreds" ENABLE TRIGGER USER`,
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "evolution_api")
			d.Register("2.3", "i1", "one", pgtest.APIKey)
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			d.Exec(sql)
			d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 5, "unpatched: ")
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
			if d.Register("2.3", "i2", "one", pgtest.APIKey) != 201 {
				t.Error("the shared key is refused")
			}
		})
	}
}
