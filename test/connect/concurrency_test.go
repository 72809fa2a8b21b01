package connect

import (
	"fmt"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestFiftyAtOnceWithAllFixes(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.InsertCredentials(500)
	d.PatchFiftyAtOnce("patched: ", pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES=true")
}

func TestFiftyAtOnce(t *testing.T) {
	t.Parallel()
	pgtest.NewEvolution(t, "evolution_api").PatchFiftyAtOnce("patched: ")
}

// Another session may change the padding's function just then: PostgreSQL takes no lock on the function for that.
func TestFunctionChangesWhileItIsDropped(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{`GRANT EXECUTE ON FUNCTION evolution_openai_patch() TO pg_monitor`, `ALTER FUNCTION evolution_openai_patch() COST 5`} {
		t.Run(sql, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "public")
			d.Patch().Expect(t, 0, "patched: ")
			d.PatchBeside(sql, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
		})
	}
}

// A credential may be stored after the keys were counted and before the table is locked. Every key is changed all the same.
func TestCredentialIsStoredBeforeTheLock(t *testing.T) {
	t.Parallel()
	const (
		insert = `INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('%[1]s', '%[1]s', '%[2]s', now(), 'i1')`
		stored = `SELECT "apiKey" FROM "OpenaiCreds" WHERE id = 'late'`
	)
	revert := []string{pgtest.AllFixes, "PATCH_ACTION=revert"}
	for key, others := range map[string][]string{
		"sk-1":    nil,
		"sk-1 ":   nil,
		"sk-1  ":  nil,
		"sk-1   ": {"sk-2", "sk-3 "},
	} {
		t.Run(fmt.Sprintf("%q beside %q", key, others), func(t *testing.T) {
			d := pgtest.NewEvolution(t, "public")
			for _, other := range others {
				d.Exec(fmt.Sprintf(insert, other, other))
			}
			d.PatchBeside(fmt.Sprintf(insert, "late", key), pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			if got := d.Text(stored); got != "sk-1 " {
				t.Errorf("the key is %q with the padding", got)
			}
			d.Patch(revert...).Expect(t, 0, "unpatched: ")
			if got := d.Text(stored); got != "sk-1" {
				t.Errorf("the key is %q after revert", got)
			}
		})
	}
	t.Run("revert", func(t *testing.T) {
		d := pgtest.NewEvolution(t, "public")
		d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ")
		d.PatchBeside(fmt.Sprintf(insert, "late", "sk-1"), revert...).Expect(t, 0, "unpatched: ", "changed=true")
		if got := d.Text(stored); got != "sk-1" {
			t.Errorf("the key is %q after revert", got)
		}
	})
}
