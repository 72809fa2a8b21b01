package guard

import (
	"fmt"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The names that a guard leaves carry the program's comment, so that revert restores what Evolution's migrations have made, also where
// nothing is known of these any more.
func TestGuardLeavesNames(t *testing.T) {
	t.Parallel()
	for _, list := range []string{"known", "gone"} {
		t.Run(list, func(t *testing.T) {
			t.Parallel()
			d, never := pgtest.NewDatabase(t, "public"), pgtest.NewDatabase(t, "public")
			role := d.Name + "_evo"
			evolution := createOwner(t, d, role)
			never.Exec(fmt.Sprintf(`ALTER SCHEMA public OWNER TO %s`, role))
			plain := pgtest.Connect(t, pgtest.URI(role, never.Server.Address(), never.Name, ""))
			d.Patch("PATCH_FIXES=auto,name-index").Expect(t, 0, "guarded: ", "changed=true")
			pgtest.MustMigrate(t, evolution, pgtest.Last)
			pgtest.MustMigrate(t, plain, pgtest.Last)
			for _, one := range []*pgtest.Database{d, never} { // the lists differ in their times
				if one.Exec(`UPDATE "_prisma_migrations" SET started_at = '2026-01-01', finished_at = '2026-01-01'`); list == "gone" {
					one.Exec(`DROP TABLE "_prisma_migrations"`)
				}
			}
			for _, index := range []string{"OpenaiCreds_apiKey_key", "OpenaiCreds_name_key"} {
				if comment := d.Text(`SELECT obj_description(indexrelid, 'pg_class') FROM pg_index WHERE indexrelid = $1::text::regclass AND NOT indisunique`, pgtest.Quote(index)); !strings.HasPrefix(comment, "evolution-openai-patch") {
					t.Errorf("the comment on %s is %q", index, comment)
				}
			}
			d.Patch("PATCH_FIXES=auto,name-index").Expect(t, 0, "patched: ", "changed=false")
			d.ExpectNoGuard("PATCH_FIXES=auto,name-index")
			d.Patch("PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
			d.ExpectSortedDump(never.SortedDump())
		})
	}
}
