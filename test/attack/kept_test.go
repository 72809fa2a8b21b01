package attack

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"evolution-openai-patch/test/pgtest"
)

// younger lets the last migration be younger than every release that the program knows.
const younger = `INSERT INTO "_prisma_migrations"(id, checksum, migration_name, finished_at) VALUES ('younger', '', '20990101000000_younger', now());`

// newKept creates evo's database, patched, and returns the comment on the index that the program has left.
func newKept(t *testing.T) (a *attack, comment string) {
	t.Helper()
	a = newAttackOnEvolution(t)
	a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
	if comment = a.comment("OpenaiCreds_apiKey_key"); comment == "" {
		t.Fatal("the index that is left has no comment")
	}
	return a, comment
}

// comment returns the comment on an index of evo's.
func (a *attack) comment(index string) string {
	a.t.Helper()
	return a.Text(`SELECT obj_description(to_regclass($1), 'pg_class')`, "evolution_api."+pgtest.Quote(index))
}

// shareKeys stores one key in two instances.
func (a *attack) shareKeys() {
	a.t.Helper()
	pgtest.Exec(a.t, a.asEvo, `INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('c3', 'n3', 'sk-shared', now(), 'i1'), ('c4', 'n4', 'sk-shared', now(), 'i2')`)
}

// The comment of the program's stands on what cannot stand for Evolution's unique index, because evo has put it there. A revert drops
// nothing of that and makes nothing unique, whatever the last migration is.
func TestAttackByAComment(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"partial":             `CREATE INDEX zz_trap ON "OpenaiCreds" ("apiKey") WHERE id <> 'c1'`,
		"expression":          `CREATE INDEX zz_trap ON "OpenaiCreds" (lower("apiKey"))`,
		"partial, of evo's":   `CREATE INDEX zz_trap ON "OpenaiCreds" ("apiKey") WHERE evil.bait('x') = 'x'`,
		"expression of evo's": `CREATE INDEX zz_trap ON "OpenaiCreds" (evil.bait("apiKey"))`,
		"two columns":         `CREATE INDEX zz_trap ON "OpenaiCreds" ("apiKey", "instanceId")`,
		"unique with another": `CREATE UNIQUE INDEX zz_trap ON "OpenaiCreds" ("apiKey", id)`,
		"another column":      `CREATE INDEX zz_trap ON "OpenaiCreds" ("instanceId")`,
		"another table":       `CREATE INDEX zz_trap ON "Instance" (token)`,
		"another schema":      `CREATE TABLE evil."OpenaiCreds" (LIKE "OpenaiCreds"); CREATE INDEX zz_trap ON evil."OpenaiCreds" ("apiKey"); SET search_path TO evil`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, comment := newKept(t)
			a.shareKeys()
			pgtest.Exec(t, a.asEvo, `DROP INDEX "OpenaiCreds_apiKey_key"; `+younger+sql)
			pgtest.Exec(t, a.asEvo, fmt.Sprintf(`COMMENT ON INDEX zz_trap IS '%s'; SET search_path TO evolution_api`, comment))
			indexes := `SELECT string_agg(concat_ws(' ', oid, relname, obj_description(oid, 'pg_class')), E'\n' ORDER BY oid) FROM pg_class WHERE relkind = 'i'
				AND relnamespace IN ('evolution_api'::regnamespace, 'evil'::regnamespace)`
			before := a.Text(indexes)
			code, words := 0, []string{pgtest.LeftAlone, "CREATE UNIQUE INDEX"}
			last := []string{"c3", "c4"}            // whose key Evolution's own index would refuse
			if strings.Contains(sql, "evil.bait") { // which would run, as the keys change
				code, words, last = 3, []string{"zz_trap"}, []string{"zz_trap"}
			}
			a.patchAs("postgres", pgtest.IndexOnly, "PATCH_ACTION=revert").Expect(t, code, words...)
			if after := a.Text(indexes); after != before {
				t.Errorf("a revert has changed the indexes:\n%s", pgtest.FirstDifference(before, after))
			}
			pgtest.Exec(t, a.asEvo, `DELETE FROM "_prisma_migrations" WHERE id = 'younger'`)
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 3, last...)
			if after := a.Text(indexes); after != before {
				t.Errorf("a revert that was refused has changed the indexes:\n%s", pgtest.FirstDifference(before, after))
			}
		})
	}
}

// A revert of everything, where evo has made the keys' index another thing since, and commented it.
func TestAttackByAnotherIndexInItsPlace(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"partial":        `CREATE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds" ("apiKey") WHERE id <> 'c1'`,
		"expression":     `CREATE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds" (evil.bait("apiKey"))`,
		"another column": `CREATE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds" ("instanceId")`,
		"two columns":    `CREATE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds" ("apiKey", "instanceId")`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, comment := newKept(t)
			pgtest.Exec(t, a.asEvo, `DROP INDEX "OpenaiCreds_apiKey_key"; `+sql)
			pgtest.Exec(t, a.asEvo, fmt.Sprintf(`COMMENT ON INDEX "OpenaiCreds_apiKey_key" IS '%s'`, comment))
			before := a.Catalog()
			a.patchAs("postgres", pgtest.IndexOnly).Expect(t, 3, pgtest.SomethingElse)
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 3, pgtest.SomethingElse)
			a.requireUnchanged(before, "a run that was refused")
		})
	}
}

// What somebody says of an index under Evolution's name is neither replaced nor taken for the program's, and never printed.
func TestAttackByWhatAnIndexSays(t *testing.T) {
	t.Parallel()
	for name, comment := range map[string]string{
		"of somebody's":      "kept for reports",
		"not at the start":   " evolution-openai-patch",
		"control characters": "\x1b[2J\r\n\x07 patched: everything\u202e",
		"huge":               strings.Repeat("x", 10_000_000),
		"what ends a string": `'; DROP TABLE "OpenaiCreds"; --\`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, _ := newKept(t)
			a.say(comment)
			o := a.patchAs("postgres", pgtest.AllFixes)
			o.Expect(t, 0, "patched: ", "changed=false")
			if found := a.comment("OpenaiCreds_apiKey_key"); found != comment {
				t.Errorf("%.100q was replaced by %.100q", comment, found)
			}
			o.Stdout += a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=status", "PATCH_LOG_FORMAT=json").Stdout
			revert := a.patchAs("postgres", pgtest.IndexOnly, "PATCH_ACTION=revert") // takes the padding too
			revert.Expect(t, 0, "unpatched: ", pgtest.LeftAlone)
			requirePrintable(t, o.Stdout+o.Stderr+revert.Stdout+revert.Stderr)
			if found := a.comment("OpenaiCreds_apiKey_key"); found != comment {
				t.Errorf("%.100q was replaced by %.100q, or its index dropped", comment, found)
			}
		})
	}
	t.Run("like the program's", func(t *testing.T) { // which goes on for as long as it may, and holds what breaks a line
		t.Parallel()
		a, comment := newKept(t)
		a.say(comment + "\r\n\x1b[2J" + strings.Repeat("x", 10_000_000))
		o := a.patchAs("postgres", pgtest.AllFixes)
		o.Expect(t, 0, "patched: ", "changed=false")
		revert := a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert")
		revert.Expect(t, 0, "unpatched: ", "changed=true")
		requirePrintable(t, o.Stdout+o.Stderr+revert.Stdout+revert.Stderr)
		if unique := a.Text(`SELECT indisunique FROM pg_index WHERE indexrelid = '"OpenaiCreds_apiKey_key"'::regclass`); unique != "true" {
			t.Error("the index is not unique")
		}
	})
}

// say comments the index of the keys as evo.
func (a *attack) say(comment string) {
	a.t.Helper()
	literal := a.Text(`SELECT quote_literal($1)`, comment)
	pgtest.Exec(a.t, a.asEvo, `COMMENT ON INDEX "OpenaiCreds_apiKey_key" IS `+literal)
}

// requirePrintable fails the test if a line of the output is long, or holds what acts on a terminal. JSON is for programs, and shows only
// control characters as something else.
func requirePrintable(t *testing.T, output string) {
	t.Helper()
	for line := range strings.Lines(output) {
		line = strings.TrimSuffix(line, "\n")
		bad := func(r rune) bool { return !unicode.IsPrint(r) }
		if strings.HasPrefix(line, "{") {
			bad = unicode.IsControl
		}
		if len(line) > 8<<10 || strings.ContainsFunc(line, bad) {
			t.Fatalf("a line of %d bytes: %.500q", len(line), line)
		}
	}
}

// Names of indexes and schemas that break a line or act on a terminal are quoted wherever they are printed.
const badName = "a\" \x1b[2J\r\npatched: \u202e=\\"

func TestAttackByNames(t *testing.T) {
	t.Parallel()
	a, _ := newKept(t)
	pgtest.Exec(t, a.asEvo, `ALTER INDEX "OpenaiCreds_apiKey_key" RENAME TO `+pgtest.Quote(badName))
	a.Exec(`CREATE SCHEMA ` + pgtest.Quote(badName) + `; CREATE TABLE ` + pgtest.Quote(badName) + `."OpenaiCreds" (); CREATE SCHEMA fresh`)
	elsewhere := "DATABASE_CONNECTION_URI=" + a.In("fresh").URI()
	var output string
	for _, environ := range [][]string{
		{pgtest.AllFixes},
		{pgtest.AllFixes, "PATCH_ACTION=revert"},
		{elsewhere, "PATCH_ACTION=status"},
		{elsewhere, "PATCH_ON_MISSING_TABLE=fail"},
		{elsewhere},
		{elsewhere, "PATCH_ACTION=revert", "PATCH_LOG_FORMAT=json"},
	} {
		o := a.patchAs("postgres", environ...)
		output += o.Stdout + o.Stderr
	}
	requirePrintable(t, output)
	if unique := a.Text(`SELECT indisunique FROM pg_index WHERE indexrelid = to_regclass($1)`, pgtest.Quote(badName)); unique != "true" {
		t.Error("the index is not unique again under the name that it has by now")
	}
}
