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
		"not at the start":   " evolution-openai-patch left this index",
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

// For the sake of a name nothing is risked: no trap is sprung, nobody is waited for, and nothing fails where the role may only read.
func TestAttackOnAKeptName(t *testing.T) {
	t.Parallel()
	without := func(t *testing.T) *attack { // the name that should be kept
		t.Helper()
		a := newAttackOnEvolution(t)
		a.patchAs("postgres", pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES=false").Expect(t, 0, "patched: ")
		return a
	}
	for _, tag := range []string{"COMMENT", "CREATE INDEX", "DROP INDEX"} {
		t.Run("event trigger for "+tag, func(t *testing.T) {
			t.Parallel()
			a := without(t)
			pgtest.Exec(t, a.asEvo, `CREATE FUNCTION evil.fired() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); END'`)
			a.Exec(fmt.Sprintf(`CREATE EVENT TRIGGER zz_trap ON ddl_command_end WHEN TAG IN ('%s') EXECUTE FUNCTION evil.fired()`, tag))
			before := a.Catalog()
			a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false", pgtest.NotKept)
			a.requireUnchanged(before, "a run that does not need the name")
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 3, "zz_trap", a.evo)
		})
	}
	t.Run("lock", func(t *testing.T) {
		t.Parallel()
		a := without(t)
		pgtest.Exec(t, a.asEvo, `BEGIN; LOCK TABLE "OpenaiCreds" IN ACCESS SHARE MODE`)
		a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false", pgtest.NotKept) // while evo holds it
		pgtest.Exec(t, a.asEvo, `COMMIT`)
		a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true", pgtest.LeftPlain)
	})
	t.Run("reader", func(t *testing.T) {
		t.Parallel()
		a := without(t)
		a.Exec(fmt.Sprintf(`GRANT SELECT ON ALL TABLES IN SCHEMA evolution_api TO %s`, a.mallory))
		a.patchAs(a.mallory, pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false", pgtest.NotKept)
	})
	t.Run("owner who may create nothing in the schema", func(t *testing.T) {
		t.Parallel()
		a := newAttackOnEvolution(t)
		a.Exec(`ALTER SCHEMA evolution_api OWNER TO postgres; GRANT USAGE ON SCHEMA evolution_api TO ` + a.evo)
		a.patchAs(a.evo, pgtest.IndexOnly).Expect(t, 0, "patched: ", "changed=true", pgtest.NotKept)
		a.patchAs(a.evo, pgtest.IndexOnly).Expect(t, 0, "patched: ", "changed=false", pgtest.NotKept)
		a.patchAs("postgres", pgtest.IndexOnly).Expect(t, 0, "patched: ", "changed=true", pgtest.LeftPlain)
	})
	t.Run("key that fits into no index", func(t *testing.T) {
		t.Parallel()
		a := newAttackOnEvolution(t)
		pgtest.Exec(t, a.asEvo, `ALTER TABLE "OpenaiCreds" ALTER "apiKey" TYPE text; DROP INDEX "OpenaiCreds_apiKey_key"`)
		pgtest.Exec(t, a.asEvo, `INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId")
			SELECT 'c3', 'n3', string_agg(md5(i::text), ''), now(), 'i1' FROM generate_series(1, 1000) AS i`)
		a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true", pgtest.NotKept)
		a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false", pgtest.NotKept)
	})
	t.Run("name that is taken", func(t *testing.T) {
		t.Parallel()
		a := newAttackOnEvolution(t)
		a.patchAs("postgres", pgtest.IndexOnly, "PATCH_KEEP_INDEX_NAMES=false").Expect(t, 0, "patched: ")
		pgtest.Exec(t, a.asMallory, `CREATE TABLE "OpenaiCreds_apiKey_key" ()`) // mallory may, and does so before Evolution is patched or after
		before := a.Catalog()
		a.patchAs("postgres", pgtest.IndexOnly).Expect(t, 3, pgtest.DifferentThing)
		a.requireUnchanged(before, "a run that was refused")
	})
}

// mallory holds Evolution's table in many schemas. The advice names a few of them, whatever they are called.
func TestAttackBySchemasElsewhere(t *testing.T) {
	t.Parallel()
	a := newAttack(t, "mallory")
	a.Exec(fmt.Sprintf(`GRANT CREATE ON DATABASE %s TO %s`, a.Name, a.mallory))
	pgtest.Exec(t, a.asMallory, `DO $$ BEGIN FOR i IN 1..1000 LOOP
		EXECUTE format('CREATE SCHEMA %1$I; CREATE TABLE %1$I."OpenaiCreds" ()', format(E'trap %s\r\n\x1b[2J" patched: ', i)); END LOOP; END $$`)
	for _, environ := range [][]string{{"PATCH_ACTION=status"}, {"PATCH_ON_MISSING_TABLE=continue"}, {}, {"PATCH_ACTION=revert", "PATCH_LOG_FORMAT=json"}} {
		o := a.patchAs("postgres", environ...)
		o.Expect(t, 0, pgtest.IsElsewhere)
		if named := strings.Count(o.Stderr, "trap "); named == 0 || named > 20 {
			t.Errorf("%v: %d schemas are named, want 20 at most", environ, named)
		}
		requirePrintable(t, o.Stdout+o.Stderr)
	}
}

// mallory creates a further one between the look and the change. A message names it; it does not hold up the guard.
func TestAttackOnAGuardByASchemaElsewhere(t *testing.T) {
	t.Parallel()
	a := newAttack(t, "mallory")
	a.Exec(fmt.Sprintf(`GRANT CREATE ON DATABASE %s TO %s`, a.Name, a.mallory))
	a.patchAs("postgres", pgtest.IndexOnly).Expect(t, 0, "guarded: ")
	second := a.NewConn()
	pgtest.Exec(t, second, `BEGIN; DO $$ BEGIN EXECUTE (SELECT format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', evtname) FROM pg_event_trigger); END $$`)
	r := a.startBlocked("postgres", pgtest.AllFixes) // the guard is to be another one
	r.waitUntilBlockedBy(second)
	pgtest.Exec(t, a.asMallory, `CREATE SCHEMA trap_api; CREATE TABLE trap_api."OpenaiCreds" ()`)
	pgtest.Exec(t, second, `ROLLBACK`)
	o := r.wait("mallory created a schema")
	o.Expect(t, 0, "guarded: ", "changed=true")
	o.ExpectNot(t, pgtest.WaitsForServer)
}

// A revert of all schemas looks for guards. What somebody wrote into a schema under the name of a guard's is not taken for one.
func TestAttackOnTheSearchForGuards(t *testing.T) {
	t.Parallel()
	const function = `CREATE FUNCTION %s.f%d() RETURNS int LANGUAGE plpgsql AS $f$-- evolution-openai-patch {"schema": "trap %[2]d\r\u001b[2J%[3]s", "fixes": ["apikey-index"]}
		BEGIN END $f$;`
	a := newAttack(t, "evo")
	a.startEvolution(a.asEvo)
	a.Exec(fmt.Sprintf(`CREATE SCHEMA evolution_openai_patch_00000000 AUTHORIZATION %s; CREATE SCHEMA evolution_openai_patch_00000001; GRANT ALL ON SCHEMA evolution_openai_patch_00000001 TO %[1]s`, a.evo))
	for i := range 200 {
		for _, schema := range []string{"evolution_openai_patch_00000000", "evolution_openai_patch_00000001"} {
			pgtest.Exec(t, a.asEvo, fmt.Sprintf(function, schema, i, strings.Repeat("x", 10_000)))
		}
	}
	o := a.patchAs("postgres", "PATCH_SCHEMAS=*", "PATCH_ACTION=revert")
	o.ExpectCode(t, 0)
	requirePrintable(t, o.Stdout+o.Stderr)
	if strings.Contains(o.Stdout, "trap ") || strings.Count(o.Stdout, "\n") != 1 {
		t.Errorf("evo's functions are taken for guards:\n%.500s", o.Stdout)
	}
	if left := a.Text(`SELECT count(*) FROM pg_proc WHERE prosrc LIKE '-- evolution-openai-patch {"schema": "trap%'`); left != "400" {
		t.Errorf("%s of evo's 400 functions are left", left)
	}
}
