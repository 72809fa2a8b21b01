package guard

import (
	"fmt"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// request is what the program is asked for.
type request struct {
	fixes string // PATCH_FIXES
	keep  bool   // PATCH_KEEP_INDEX_NAMES
}

// String returns the request as the log says it.
func (r request) String() string {
	return fmt.Sprintf("%s (PATCH_KEEP_INDEX_NAMES=%t)", r.fixes, r.keep)
}

// with returns the variables of the request and others.
func (r request) with(more ...string) []string {
	return append([]string{"PATCH_FIXES=" + r.fixes, fmt.Sprintf("PATCH_KEEP_INDEX_NAMES=%t", r.keep)}, more...)
}

// pair is a guard for one request that meets another request. What is in place is as inPlace says it.
type pair struct {
	installed, requested request
	status               []string // what status says before Evolution's first migrations
	replaced             string   // what is in place after them if the guard was replaced before
	added                string   // what is in place if the guard ran as it was, and the program after it
	changed              string   // whether that run of the program changes anything
}

const allFixes = "apikey-index,apikey-check,name-index"

var pairs = map[string]pair{
	"narrower": {
		request{allFixes, false},
		request{"apikey-index", false},
		[]string{"guarded: ", "apikey-index=guarded"},
		"unique OpenaiCreds_name_key", "padding", "changed=false",
	},
	"wider": {
		request{"apikey-index", false},
		request{allFixes, false},
		[]string{"pending: ", "apikey-index=guarded apikey-check=pending name-index=pending"},
		"padding", "padding", "changed=true",
	},
	"none in common": {
		request{"name-index", false},
		request{"apikey-index,apikey-check", false},
		[]string{"pending: ", "apikey-index=pending apikey-check=pending"},
		"unique OpenaiCreds_name_key, padding", "padding", "changed=true",
	},
	"names to be kept": {
		request{allFixes, false},
		request{allFixes, true},
		[]string{"guarded: "},
		"plain OpenaiCreds_apiKey_key, plain OpenaiCreds_name_key, padding",
		"plain OpenaiCreds_apiKey_key, plain OpenaiCreds_name_key, padding", "changed=true",
	},
	"names no longer to be kept": {
		request{allFixes, true},
		request{allFixes, false},
		[]string{"guarded: "},
		"padding", "plain OpenaiCreds_apiKey_key, plain OpenaiCreds_name_key, padding", "changed=false",
	},
	"wider, names no longer to be kept": {
		request{"apikey-index", true},
		request{"apikey-index,name-index", false},
		[]string{"pending: ", "apikey-index=guarded name-index=pending"},
		"", "plain OpenaiCreds_apiKey_key", "changed=true",
	},
}

// inPlace returns the indexes of Evolution's table and whether keys are padded.
func inPlace(d *pgtest.Database) string {
	return d.Text(`concat_ws(', ',
		(SELECT string_agg(CASE WHEN indisunique THEN 'unique ' ELSE 'plain ' END || relname, ', ' ORDER BY relname)
			FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = '"OpenaiCreds"'::regclass AND NOT indisprimary),
		(SELECT 'padding' FROM pg_trigger WHERE tgrelid = '"OpenaiCreds"'::regclass AND tgname = 'evolution_openai_patch'))`)
}

// expectInPlace runs the program, which removes what is left of the guard, and requires that nothing else is left to do.
func (p pair) expectInPlace(t *testing.T, d *pgtest.Database, want, changed string) {
	t.Helper()
	d.Patch(p.requested.with()...).Expect(t, 0, "patched: ", changed)
	if got := inPlace(d); got != want {
		t.Errorf("in place is %q, want %q", got, want)
	}
	d.Patch(p.requested.with("PATCH_ACTION=status")...).Expect(t, 0, "patched: ")
	d.Patch(p.requested.with()...).Expect(t, 0, "patched: ", "changed=false")
	d.ExpectNoGuard(p.requested.with()...)
}

// A guard that was installed for other fixes, or to keep other names, is the program's own. It is replaced by another guard only,
// removed by revert and once the table is there, and cleared away after it has run.
func TestGuardForOtherFixes(t *testing.T) {
	t.Parallel()
	for name, p := range pairs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("left", func(t *testing.T) { p.left(t, p.install(t, pgtest.NewDatabase(t, "public"))) })
			t.Run("replaced", func(t *testing.T) { p.replace(t, p.install(t, pgtest.NewDatabase(t, "public"))) })
			t.Run("reverted", func(t *testing.T) {
				d := p.install(t, pgtest.NewDatabase(t, "public"))
				d.Patch(p.requested.with("PATCH_ACTION=revert")...).Expect(t, 0, "pending: ", "changed=true")
				d.ExpectNoGuard(p.requested.with("PATCH_ACTION=revert")...)
			})
			t.Run("table exists", func(t *testing.T) {
				d := pgtest.NewEvolution(t, "public")
				d.Exec(`ALTER TABLE "OpenaiCreds" RENAME TO hidden`)
				p.install(t, d)
				d.Exec(`ALTER TABLE hidden RENAME TO "OpenaiCreds"`)
				p.expectInPlace(t, d, p.replaced, "changed=true")
			})
		})
	}
}

// install installs the guard in a database without the table.
func (p pair) install(t *testing.T, d *pgtest.Database) *pgtest.Database {
	t.Helper()
	d.Patch(p.installed.with()...).Expect(t, 0, "guarded: ", "changed=true")
	return d
}

// left runs the program without another guard being requested, and then the first migrations.
func (p pair) left(t *testing.T, d *pgtest.Database) {
	before := d.Dump()
	d.Patch(p.requested.with("PATCH_ACTION=status")...).Expect(t, 0, p.status...)
	without := d.Patch(p.requested.with("PATCH_ON_MISSING_TABLE=continue")...)
	without.Expect(t, 0, p.status...)
	without.Expect(t, 0, "changed=false")
	d.ExpectDump(before)
	d.Migrate(pgtest.Last)
	p.expectInPlace(t, d, p.added, p.changed)
}

// replace requests another guard, and then runs the first migrations.
func (p pair) replace(t *testing.T, d *pgtest.Database) {
	d.Patch(p.requested.with()...).
		Expect(t, 0, "guarded: ", "changed=true", "level=WARN", fmt.Sprintf("%s → %s", p.installed, p.requested))
	d.Patch(p.requested.with()...).Expect(t, 0, "guarded: ", "changed=false")
	d.Migrate(pgtest.Last)
	p.expectInPlace(t, d, p.replaced, "changed=false")
}

// A guard that was installed while the default privileges named other roles does not close what it creates to those of now. It is
// replaced, which is no change of fixes.
func TestGuardBeforeTheDefaultPrivileges(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true")
	d.Exec(`ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO pg_monitor`)
	d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "guarded: ")
	replaced := d.Patch(pgtest.AllFixes)
	replaced.Expect(t, 0, "guarded: ", "changed=true")
	replaced.ExpectNot(t, "other fixes")
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=false")
	d.Migrate(pgtest.Last)
	if d.Text(`has_function_privilege('pg_monitor', 'evolution_openai_patch()', 'EXECUTE')`) != "false" {
		t.Error("the function that the guard has created is open to a role that the default privileges name")
	}
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
	d.ExpectNoGuard(pgtest.AllFixes)
}
