package attack

import (
	"fmt"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Prisma's table is only read, to find out the release. The program avoids its traps and need not refuse anything.
func TestAttackTrapsInTheMigrations(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"type": ownType + `ALTER TABLE "_prisma_migrations" ALTER COLUMN migration_name TYPE evil.zz_trap USING ROW(migration_name)::evil.zz_trap`,
		"type of a stamp": ownType + `ALTER TABLE "_prisma_migrations" ALTER COLUMN started_at DROP DEFAULT, ALTER COLUMN finished_at TYPE evil.zz_trap USING ROW(finished_at)::evil.zz_trap,
			ALTER COLUMN rolled_back_at TYPE evil.zz_trap USING NULL`,
		"index on a constant":         `CREATE INDEX zz_trap ON "_prisma_migrations" ((evil.bait('x')))`,
		"partial index on a constant": `CREATE INDEX zz_trap ON "_prisma_migrations" (id) WHERE evil.bait('x') = 'x'`,
		"child":                       `CREATE TABLE zz_trap () INHERITS ("_prisma_migrations"); CREATE INDEX zz_trap_index ON zz_trap ((evil.bait('x')))`,
		"child's CHECK":               `CREATE TABLE zz_trap (CHECK (evil.bait('x') = 'x')) INHERITS ("_prisma_migrations")`,
		"view":                        `ALTER TABLE "_prisma_migrations" RENAME TO hidden; CREATE VIEW "_prisma_migrations" AS SELECT evil.bait(migration_name)::varchar(255) AS migration_name, finished_at, rolled_back_at FROM hidden`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAttackOnEvolution(t)
			pgtest.Exec(t, a.asEvo, sql)
			a.patchAs("postgres", "PATCH_FIXES=apikey-index", "PATCH_ACTION=status").ExpectCode(t, 3, 5)
			a.patchAs("postgres", "PATCH_FIXES=apikey-index", "PATCH_DRY_RUN=true").Expect(t, 0, "unpatched: ")
			a.patchAs("postgres", "PATCH_FIXES=apikey-index", "PATCH_ON_MISSING_TABLE=wait").ExpectCode(t, 0, 3)
			a.patchAs("postgres", "PATCH_FIXES=apikey-index").Expect(t, 0, "patched: ")
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=status").ExpectCode(t, 3, 5)
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES=true", "PATCH_BACKUP_DIR="+t.TempDir()).ExpectCode(t, 0, 3)
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").ExpectCode(t, 0, 3)
		})
	}
}

// mallory creates tables under Evolution's names in the empty schema, before Evolution's first start.
func TestAttackPlantedTables(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"migrations": ownType + `CREATE TABLE "_prisma_migrations" (migration_name evil.zz_trap, finished_at timestamptz, rolled_back_at timestamptz);
			INSERT INTO "_prisma_migrations" VALUES (ROW('20251122003044_x'), now(), NULL)`,
		"migrations with an index": `CREATE TABLE "_prisma_migrations" (migration_name text, finished_at timestamptz, rolled_back_at timestamptz); CREATE INDEX ON "_prisma_migrations" ((evil.bait('x')))`,
		"credentials": `CREATE TABLE "OpenaiCreds" (id text PRIMARY KEY, "apiKey" varchar(255), name varchar(255), "instanceId" text, "updatedAt" timestamp);
			CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey"); INSERT INTO "OpenaiCreds" VALUES ('c', 'sk-mine', 'n');
			CREATE TRIGGER zz_trap BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring(); CREATE INDEX zz_constant ON "OpenaiCreds" ((evil.bait('x')))`,
	} {
		for _, role := range []string{"postgres", "evo"} {
			t.Run(name+"/"+role, func(t *testing.T) {
				t.Parallel()
				a := newAttack(t, "mallory")
				if role == "evo" {
					role = a.evo
				}
				pgtest.Exec(t, a.asMallory, sql+`; GRANT ALL ON ALL TABLES IN SCHEMA evolution_api TO PUBLIC`)
				for _, fixes := range []string{"PATCH_FIXES=apikey-index", pgtest.AllFixes} {
					a.patchAs(role, fixes, "PATCH_ACTION=status").ExpectCode(t, 0, 3, 5)
					a.patchAs(role, fixes, "PATCH_DRY_RUN=true").ExpectCode(t, 0, 1, 3)
					a.patchAs(role, fixes, pgtest.Guard).ExpectCode(t, 0, 1, 3)
					a.patchAs(role, fixes, "PATCH_KEEP_INDEX_NAMES=true").ExpectCode(t, 0, 1, 3)
					a.patchAs(role, fixes, "PATCH_ACTION=revert").ExpectCode(t, 0, 1, 3)
				}
			})
		}
	}
}

// The program's function and trigger belong to evo, the table's owner, who can change them after the fix was applied. A key
// without the space makes the next run change the table again.
func TestAttackOurOwnTriggerTurned(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"body":      `CREATE OR REPLACE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS 'BEGIN PERFORM evil.strike(); RETURN NEW; END'`,
		"definer":   `ALTER FUNCTION evolution_openai_patch() SECURITY DEFINER`,
		"settings":  `ALTER FUNCTION evolution_openai_patch() SET search_path = evil, pg_catalog; CREATE FUNCTION evil.rtrim(text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN $1; END'`,
		"function":  `DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"; CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evil.spring()`,
		"condition": `DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"; CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW WHEN (evil.bait(NEW."apiKey") IS NOT NULL) EXECUTE FUNCTION evolution_openai_patch()`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAttackOnEvolution(t)
			a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			a.insertUnpadded()
			pgtest.Exec(t, a.asEvo, sql)
			before := a.Catalog()
			for _, action := range []string{"status", "apply", "revert"} {
				a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION="+action).Expect(t, 3, "evolution_openai_patch")
				a.requireUnchanged(before, action)
			}
		})
	}
}

// revert reads and changes rows whose columns have types of evo's since the fix was applied.
func TestAttackTypesOnRevert(t *testing.T) {
	t.Parallel()
	const (
		sameKey  = `; INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") SELECT 'again', "apiKey", now(), 'i2' FROM "OpenaiCreds" WHERE id = 'c1'`
		sameName = `; INSERT INTO "OpenaiCreds"(id, name, "updatedAt", "instanceId") SELECT 'again', name, now(), 'i2' FROM "OpenaiCreds" WHERE id = 'c1'`
	)
	own := func(column string) string {
		return fmt.Sprintf(`ALTER TABLE "OpenaiCreds" ALTER COLUMN %[1]s TYPE evil.zz_trap USING ROW(%[1]s)::evil.zz_trap`, column)
	}
	for name, c := range map[string]struct{ fixes, sql string }{
		"list of keys, with another column": {"apikey-index", `CREATE TYPE evil.zz_trap AS ENUM ('x');
			CREATE FUNCTION evil.tojson(evil.zz_trap) RETURNS json LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN ''{}''::json; END'; CREATE CAST (evil.zz_trap AS json) WITH FUNCTION evil.tojson(evil.zz_trap);
			ALTER TABLE "OpenaiCreds" ADD COLUMN another evil.zz_trap DEFAULT 'x'` + sameKey},
		"list of keys":  {"apikey-index", ownType + own(`"apiKey"`) + sameKey},
		"list of names": {"name-index", ownType + own("name") + sameName},
		"padding":       {"apikey-check", ownType + own(`"apiKey"`)},
		"instance":      {"apikey-check", ownType + `ALTER TABLE "OpenaiCreds" DROP CONSTRAINT "OpenaiCreds_instanceId_fkey"; ` + own(`"instanceId"`) + `; CREATE INDEX zz_trap ON "OpenaiCreds" ((evil.bait('x')))`},
		"domain":        {"apikey-check", `CREATE DOMAIN evil.zz_trap AS varchar(255) CHECK (evil.bait(VALUE) IS NOT NULL); ALTER TABLE "OpenaiCreds" ALTER COLUMN "apiKey" TYPE evil.zz_trap`},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAttackOnEvolution(t)
			a.patchAs("postgres", "PATCH_FIXES="+c.fixes).Expect(t, 0, "patched: ", "changed=true")
			pgtest.Exec(t, a.asEvo, c.sql)
			before := a.Catalog()
			a.patchAs("postgres", "PATCH_FIXES="+c.fixes, "PATCH_ACTION=revert").Expect(t, 3)
			a.requireUnchanged(before, "revert")
			a.patchAs("postgres", "PATCH_FIXES="+c.fixes, "PATCH_ACTION=status").ExpectCode(t, 0, 3, 5)
			a.patchAs("postgres", "PATCH_FIXES="+c.fixes).ExpectCode(t, 0, 3)
		})
	}
}

// The database's search_path names a schema of evo's before pg_catalog, or schema public, in which mallory may create
// operators.
func TestAttackSearchPath(t *testing.T) {
	t.Parallel()
	const body = ` LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN $1; END'; `
	const hides = ` LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN true; END'; `
	const members = `CREATE FUNCTION SCHEMA.member(jsonb, jsonb) RETURNS text` + body + `CREATE OPERATOR SCHEMA.->> (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = SCHEMA.member)`
	const functions = `CREATE FUNCTION SCHEMA.right(text, int) RETURNS text` + body + `CREATE FUNCTION SCHEMA.left(text, int) RETURNS text` + body +
		`CREATE FUNCTION SCHEMA.rtrim(text, text) RETURNS text` + body + `CREATE FUNCTION SCHEMA.format(text, text) RETURNS text` + body +
		`CREATE FUNCTION SCHEMA.length(text) RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); RETURN 100; END'`
	const operators = `CREATE FUNCTION SCHEMA.joined(text, text) RETURNS text` + body + `CREATE OPERATOR SCHEMA.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = SCHEMA.joined);
		CREATE FUNCTION SCHEMA.yes(text, text) RETURNS bool` + hides + `CREATE FUNCTION SCHEMA.yes(int, int) RETURNS bool` + hides + `CREATE FUNCTION SCHEMA.yes(bigint, int) RETURNS bool` + hides + `
		CREATE OPERATOR SCHEMA.~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = SCHEMA.yes); CREATE OPERATOR SCHEMA.= (LEFTARG = text, RIGHTARG = text, FUNCTION = SCHEMA.yes);
		CREATE OPERATOR SCHEMA.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = SCHEMA.yes); CREATE OPERATOR SCHEMA.> (LEFTARG = int, RIGHTARG = int, FUNCTION = SCHEMA.yes);
		CREATE OPERATOR SCHEMA.> (LEFTARG = bigint, RIGHTARG = int, FUNCTION = SCHEMA.yes)`
	for name, c := range map[string]struct{ attacker, path, names string }{
		"functions before pg_catalog": {"evo", `evil, pg_catalog`, functions},
		"operators before pg_catalog": {"evo", `evil, pg_catalog`, operators},
		"operator in public":          {"mallory", `public`, members},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAttack(t, c.attacker)
			a.startEvolution(a.asEvo)
			a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			pgtest.Exec(t, a.asEvo, `INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('d1', 'd', $1, now(), 'i1'), ('d2', 'd', $1, now(), 'i2')`, pgtest.APIKey)
			a.Exec(`GRANT CREATE ON SCHEMA public TO PUBLIC`)
			schema := map[string]string{"evo": "evil", "mallory": "public"}[c.attacker]
			pgtest.Exec(t, a.asAttacker, strings.ReplaceAll(c.names, "SCHEMA", schema))
			a.Exec(fmt.Sprintf(`CREATE SCHEMA later AUTHORIZATION %s; ALTER DATABASE %s SET search_path = %s`, a.evo, a.Name, c.path))

			dir := t.TempDir()
			before := a.Catalog()
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
			o := a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert", "PATCH_BACKUP_DIR="+dir)
			o.Expect(t, 3, pgtest.SharedValue, "…"+pgtest.APIKey[len(pgtest.APIKey)-4:])
			o.ExpectNot(t, pgtest.APIKey)
			a.requireUnchanged(before, "revert")
			a.insertUnpadded()
			a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			a.patchAs("postgres", pgtest.AllFixes, pgtest.Guard, "PATCH_SCHEMAS=later").Expect(t, 0, "guarded: ")
			evo := pgtest.Connect(t, pgtest.URI(a.evo, a.Server.Address(), a.Name, "")) // with the database's search_path
			pgtest.Exec(t, evo, `CREATE TABLE later."OpenaiCreds" (id text PRIMARY KEY, "apiKey" varchar(255), name varchar(255), "instanceId" text);
				CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON later."OpenaiCreds"("apiKey"); CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON later."OpenaiCreds"(name)`)
			a.requireNoStrike("the guard has run")
			a.restoreAll(dir)
			a.requireNoStrike("restored")
		})
	}
}
